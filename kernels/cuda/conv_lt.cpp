// One matrix product for each pair of planes and each part of the contraction, then the join.
#include "conv_lt.h"

#include <algorithm>

#include "arguments.h"
#include "conv_s8.h"

namespace octavo::kernels::cuda {
namespace {

constexpr int part_step = 64;  // parts begin at multiples, as tiles of the library do

/// Both operands as rows of `contraction` bytes; results are stored a row of B after the other.
struct Matrices {
  std::int64_t a_rows, b_rows, contraction;
};

Matrices matrices_of(const ConvShape& s, Product product) {
  const std::int64_t pixels = s.n * s.ho * s.wo;
  if (product == Product::forward) return {s.k, pixels, whole_segments(s.c)};
  if (product == Product::grad_input) return {s.c, pixels, whole_segments(s.k)};
  return {s.c, s.k, s.h * s.w * whole_segments(s.n)};
}

/// Parts that int32 sums need, or the caller asks for.
void cut(ConvLtPlan& plan, std::int64_t contraction) {
  const std::int64_t steps = ceil_div(contraction, part_step);
  const std::int64_t needed = ceil_div(steps, longest_signed_sum / part_step);
  const std::int64_t parts = std::min(steps, std::max<std::int64_t>(needed, plan.conv.options.least_splits));
  plan.part_bytes = ceil_div(steps, parts) * part_step;
  plan.conv.gemm.splits = plan.conv.gemm.sums = static_cast<int>(ceil_div(contraction, plan.part_bytes));
}

}  // namespace

std::int64_t ConvLtPlan::matmul_bytes() const {
  return plane_bytes(std::max(whole->workspace_bytes(), rest->workspace_bytes()));
}

std::string refuse_conv_lt(const ConvShape& caller, Product product, const ConvOptions& options) {
  const ConvShape s = rows_as_batch(caller);
  const auto because = [&](const char* reason) {
    return describe_conv(caller, product, lt_kernel_name) + reason;
  };
  if (!is_matrix_product(s))
    return because(
        "a matrix product is a linear layer or a 1x1 convolution without stride, padding and groups");
  if (options.a_unsigned) return because("its INT8 operands are signed, and this X is unsigned");
  if (options.sample_classes > 0) return because("it has no sums by sample class");
  if (matrices_of(s, product).a_rows % 4 != 0)
    return because(product == Product::forward ? "filters are no multiple of 4"
                                               : "channels are no multiple of 4");
  return refuse_conv(caller, product, options);
}

std::optional<ConvLtPlan> plan_conv_lt(const ConvShape& shape, Product product, const ConvOptions& options) {
  if (!refuse_conv_lt(shape, product, options).empty()) return std::nullopt;
  ConvLtPlan plan{.conv = plan_conv(shape, product, options_for(Family::mma, options))};
  plan.conv.name = describe_conv(shape, product, lt_kernel_name);
  const Matrices matrices = matrices_of(plan.conv.shape, product);
  cut(plan, matrices.contraction);
  const auto product_of = [&](std::int64_t bytes) {
    return LtMatmul::plan({.m = matrices.a_rows,
                           .n = matrices.b_rows,
                           .k = bytes,
                           .lda = matrices.contraction,
                           .ldb = matrices.contraction,
                           .ldd = matrices.a_rows,
                           .transpose_a = true},
                          LibraryMath::s8, plan.conv.name);
  };
  const std::int64_t rest = matrices.contraction - (plan.conv.gemm.splits - 1) * plan.part_bytes;
  plan.rest = product_of(rest);
  plan.whole =
      plan.conv.gemm.splits == 1 || rest == plan.part_bytes ? plan.rest : product_of(plan.part_bytes);
  if (plan.whole == nullptr || plan.rest == nullptr) return std::nullopt;
  return plan;
}

void run_conv_lt(const ConvLtPlan& plan, const ConvArgs& args, cudaStream_t stream) {
  const ConvPlan& conv = plan.conv;
  check_arguments(conv, args, nullptr);
  check_pointer(args.scratch, "scratch", conv.name, LtMatmul::alignment);
  auto* const sums =
      reinterpret_cast<std::int32_t*>(static_cast<std::byte*>(args.scratch) + plan.matmul_bytes());
  const ConvRun run{.b_planes = args.b_planes, .parts = sums, .epilogue = epilogue_of(conv, args)};
  // The library calls A what has the innermost index of results: filters or, of gradients, input channels.
  const bool weights_first = conv.product != Product::grad_weight;
  for (int part = 0; part < conv.parts(); ++part) {
    const PartAt at = part_at(conv.gemm, args.b_planes, part);
    const std::int64_t first = at.split * plan.part_bytes;
    const auto* a =
        static_cast<const std::int8_t*>(args.a) + at.a_plane * plane_bytes(conv.a_bytes()) + first;
    const auto* b =
        static_cast<const std::int8_t*>(args.b) + at.b_plane * plane_bytes(conv.b_bytes()) + first;
    const LtMatmul& matmul = at.split + 1 == conv.gemm.splits ? *plan.rest : *plan.whole;
    matmul.run({.a = weights_first ? b : a,
                .b = weights_first ? a : b,
                .d = sums + part * conv.gemm.results,
                .workspace = args.scratch},
               stream);
  }
  join_parts(conv, run, stream);
}

}  // namespace octavo::kernels::cuda
