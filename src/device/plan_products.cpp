// Which kernel or library runs each product of a plan, and how it is cut.
#include <cstdlib>

#include "core/check.h"
#include "core/log.h"
#include "cuda/conv_chain.h"
#include "device/plan_memory.h"

namespace octavo::device {

using kernels::Product;
using kernels::cuda::ConvOptions;

namespace {

/// What `plan` returns; a refusal or an error of a library names the node.
template <class Make>
auto planned(const Node& node, const Make& plan) {
  try {
    return plan();
  } catch (const std::invalid_argument& refused) {
    throw Error(Errc::config, label(node) + refused.what());
  } catch (const Error&) {
    throw;
  } catch (const std::runtime_error& failure) {
    throw Error(Errc::resource, label(node) + failure.what());
  }
}

/// How results of a product are scaled, where the plan knows it and nothing else is done to them: as
/// set_scales() of product_ops.cpp will say. A weight gradient that accumulates is found out when it runs.
std::optional<kernels::cuda::CudnnScales> known_scales(const Program& program, const Graph& graph,
                                                       const Node& node, Product kind) {
  const ProductPlan& product = node.products[static_cast<std::size_t>(kind)];
  const SlotFormat &a = program.slots[static_cast<std::size_t>(product.a_slot)].format,
                   &b = program.slots[static_cast<std::size_t>(product.b_slot)].format;
  const bool folded_away = product.fold != Fold::none && a.granularity == ScaleGranularity::channel;
  kernels::cuda::CudnnScales scales{.a_vector = a.granularity != ScaleGranularity::tensor && !folded_away,
                                    .b_vector = b.granularity != ScaleGranularity::tensor};
  if (kind == Product::grad_weight) return scales;
  if (kind == Product::forward ? node.parameters.size() > 1 : node.accumulate) return std::nullopt;
  const ValueId to = kind == Product::forward ? node.outputs[0] : node.grad_inputs[0];
  if (to == no_value) return std::nullopt;
  scales.type = kernel_type(graph.value(to).type.dtype);
  return scales;
}

void plan_cudnn(const ConvOptions& options, const std::optional<kernels::cuda::CudnnScales>& scales,
                const ProductPlan& product, Product kind, ProductMemory& to) {
  using namespace kernels::cuda;
  if (refuse_conv_cudnn_matmul(product.shape, kind, options).empty()) {
    std::string why;
    to.cudnn_matmul = plan_conv_cudnn_matmul(product.shape, kind, options, scales, why);
    if (!why.empty())
      logger(LogArea::dispatch)
          .warn("{}; {}", why, to.cudnn_matmul ? "its scales are a pass of their own" : "others are asked");
  }
  if (!to.cudnn_matmul) to.cudnn = plan_conv_cudnn(product.shape, kind, options);
}

// False where nobody asks for a library, or it does not take the product.
bool plan_library(const Program& program, const Graph& graph, Node& node, Product kind,
                  const ConvOptions& options, ProductMemory& to) {
  using namespace kernels::cuda;
  ProductPlan& product = node.products[static_cast<std::size_t>(kind)];
  const Library library = active_library();
  require(library != Library::cublaslt || has_cublaslt(), Errc::config,
          "OCTAVO_CUDA_KERNELS=cublaslt: this build has no cuBLASLt; install it and configure again");
  require(library != Library::cudnn || has_cudnn(), Errc::config,
          "OCTAVO_CUDA_KERNELS=cudnn: this build has no cuDNN; install it and configure again");
  if (library == Library::cublaslt) to.lt = plan_conv_lt(product.shape, kind, options);
  if (library == Library::cudnn)
    plan_cudnn(options, known_scales(program, graph, node, kind), product, kind, to);
  if (!to.lt && !to.cudnn && !to.cudnn_matmul) return false;
  product.kernel = to.lt ? lt_kernel_name : to.cudnn ? cudnn_kernel_name : cudnn_matmul_name;
  return true;
}

void plan_float(Node& node, Product kind, Phase phase, const ProductChoice& choice, ProductMemory& to) {
  ProductPlan& product = node.products[static_cast<std::size_t>(kind)];
  const bool bias = kind == Product::forward && node.parameters.size() > 1;
  if (choice.library_f32 && phase != Phase::eval)
    to.library_f32 = planned(node, [&] {
      return kernels::cuda::plan_library_f32(product.shape, kind, *choice.library_f32, bias);
    });
  if (to.library_f32) {
    product.kernel = to.library_f32->kernel();
    return;
  }
  to.f32 = planned(node, [&] {
    return kernels::cuda::plan_conv_f32(
        product.shape, kind,
        {.phase = phase == Phase::eval ? kernels::ConvPhase::evaluation : kernels::ConvPhase::training,
         .processors = choice.processors});
  });
  product.kernel = "cuda/conv_f32";
}

bool switched_off(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && std::string(value) == "0";
}

// Of the results, where the epilogue takes them for less than a pass over what it stores would cost.
void plan_result_sums(const Graph& graph, const Node& node, ProductMemory& to) {
  using namespace kernels::cuda;
  if (!node.tells_sums || !to.conv || switched_off("OCTAVO_CUDA_EPILOGUE_SUMS")) return;
  const ImageLayout y = layout_of(geometry(node.signature->outputs[0].shape));
  if (!refuse_sums(*to.conv, y).empty()) return;
  const SumsPlan sums = kernels::cuda::plan_sums(*to.conv, y);
  if (sums_pay(sums, kernel_type(graph.value(node.outputs[0]).type.dtype))) to.sums = {.plan = sums};
}

}  // namespace

void PlanMemory::plan_products(const Program& program, Plan& plan, const ProductChoice& choice) {
  each_product(plan.graph, [&](std::size_t i, Node& node, std::size_t which) {
    ProductPlan& product = node.products[which];
    ProductMemory& to = products_[i][which];
    const auto kind = static_cast<Product>(which);
    if (!product.integer) return plan_float(node, kind, plan.graph.phase, choice, to);
    ConvOptions options{.a_planes = product.a_planes,
                        .b_planes = product.b_planes,
                        .a_unsigned = program.slots[product.a_slot].format.unsigned_ok,
                        .processors = choice.processors};
    if (kind == Product::grad_weight &&
        program.slots[product.b_slot].format.granularity == ScaleGranularity::sample_class)
      options.sample_classes = kernels::most_halves_below + 1;
    if (planned(node, [&] { return plan_library(program, plan.graph, node, kind, options, to); }))
      return kernels::cuda::prepare_join(to.plan());
    const kernels::cuda::Family family = kernels::cuda::active_family();
    options = kernels::cuda::options_for(family, options);
    if (product.shape.depthwise())
      to.depthwise =
          planned(node, [&] { return kernels::cuda::plan_depthwise(product.shape, kind, options); });
    else
      to.conv = planned(node, [&] {
        auto conv = kernels::cuda::plan_conv(product.shape, kind, options);
        // What the device refuses is told when the product runs.
        if (kernels::cuda::refuse_family(family).empty()) kernels::cuda::prepare_conv(conv, family);
        return conv;
      });
    if (kind == Product::forward) plan_result_sums(plan.graph, node, to);
  });
}

// Products whose chain may run in their epilogue are launched by it, alone or together.
void PlanMemory::find_waiting(const Graph& graph) {
  if (switched_off("OCTAVO_CUDA_EPILOGUE_CHAINS")) return;
  for (const Node& node : graph.nodes) {
    if (node.follows < 0) continue;
    ProductMemory& to =
        products_[static_cast<std::size_t>(node.follows)][static_cast<std::size_t>(LayerProduct::forward)];
    to.waits = to.conv && kernels::cuda::refuse_chain(*to.conv, kernels::cuda::active_family()).empty();
  }
}

}  // namespace octavo::device
