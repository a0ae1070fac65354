// One matrix product for each pair of planes and each part of the contraction, then the join.
#include "conv_lt.h"

#include <algorithm>

#include "arguments.h"
#include "conv_s8.h"
#include "matrix_parts.h"

namespace octavo::kernels::cuda {
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
  if (matrices_of(s, product).columns % 4 != 0)
    return because(product == Product::forward ? "filters are no multiple of 4"
                                               : "channels are no multiple of 4");
  return refuse_conv(caller, product, options);
}

std::optional<ConvLtPlan> plan_conv_lt(const ConvShape& shape, Product product, const ConvOptions& options) {
  if (!refuse_conv_lt(shape, product, options).empty()) return std::nullopt;
  ConvLtPlan plan{.conv = plan_conv(shape, product, options_for(Family::mma, options))};
  plan.conv.name = describe_conv(shape, product, lt_kernel_name);
  const Matrices matrices = matrices_of(plan.conv.shape, product);
  plan.part_bytes = cut_contraction(plan.conv, matrices.contraction);
  const auto product_of = [&](std::int64_t bytes) {
    return LtMatmul::plan({.m = matrices.columns,
                           .n = matrices.rows,
                           .k = bytes,
                           .lda = matrices.contraction,
                           .ldb = matrices.contraction,
                           .ldd = matrices.columns,
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
  for (int part = 0; part < conv.parts(); ++part) {
    const PartOperands operands = part_operands(conv, args, part, plan.part_bytes);
    const bool last = part_at(conv.gemm, args.b_planes, part).split + 1 == conv.gemm.splits;
    const LtMatmul& matmul = last ? *plan.rest : *plan.whole;
    matmul.run({.a = operands.columns,
                .b = operands.rows,
                .d = sums + part * conv.gemm.results,
                .workspace = args.scratch},
               stream);
  }
  join_parts(conv, run, stream);
}

}  // namespace octavo::kernels::cuda
