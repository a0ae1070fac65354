// Which chains a product's epilogue runs.
#include <algorithm>

#include "chain_checks.h"
#include "conv_chain.h"

namespace octavo::kernels::cuda {
namespace {

/// Steps that look at more than one value, or read what the product would store.
std::string refuse_step(const ChainStep& step, const ImageLayout& layout, const void* y) {
  if (step.kind == StepKind::sums || step.kind == StepKind::look) return "steps that sum or look";
  if (step.kind == StepKind::store_bits && shared_bit_words(layout) > 0)
    return "bits of channels that are no multiple of 8";
  return y != nullptr && step.x.data == y ? "steps that read the product's results again" : "";
}

}  // namespace

std::string refuse_chain(const ConvPlan& plan, Family family) {
  if (family != Family::mma) return "kernels of another family than mma";
  if (plan.product == Product::grad_weight) return "weight gradients";
  if (!plan.direct()) return "results whose contraction is cut into parts";
  if (plan.gemm.groups > 1) return "products of several groups";
  return plan.gemm.classes() > 1 ? "a data gradient of several classes of pixels" : "";
}

std::string refuse_chain(const ConvPlan& plan, Family family, const ChainPass& pass) {
  const std::string product = refuse_chain(plan, family);
  if (!product.empty()) return product;
  const ImageLayout& layout = pass.layout;
  if (layout.groups > 1) return "integers for several groups";
  if (layout.c != plan.gemm.filters || pixels_of(layout) != plan.gemm.class_rows)
    return "a chain over a tensor of other sizes";
  if (pass.pixel_copy == nullptr || pass.batch_copy != nullptr) return "other copies than that of pixels";
  if (pass.max_bits != nullptr) return "maxima beside those of the integers";
  for (int i = 0; i < pass.step_count; ++i)
    if (const std::string step = refuse_step(pass.steps[i], layout, pass.x.data); !step.empty()) return step;
  return {};
}

}  // namespace octavo::kernels::cuda
