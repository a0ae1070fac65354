// One fused product where its scales are those of the plan, else one for each part, then the join.
#include "conv_cudnn_matmul.h"

#include "arguments.h"
#include "conv_s8.h"
#include "matrix_parts.h"

namespace octavo::kernels::cuda {
namespace {

/// Rows of results have their own scales, or those of an image share one: then images are batches.
CudnnMatmulProblem scaled_problem(const ConvPlan& plan, const Matrices& matrices, CudnnScales scales) {
  const bool by_image = plan.product != Product::grad_weight && scales.a_vector;
  const std::int64_t batch = by_image && matrices.rows > plan.shape.n ? plan.shape.n : 1;
  return {.batch = batch,
          .rows = matrices.rows / batch,
          .columns = matrices.columns,
          .contraction = matrices.contraction,
          .row_bytes = matrices.contraction,
          .scales = scales};
}

/// Scales as an epilogue has them, by rows and columns of the matrices: of a weight gradient those of G are
/// the rows'.
CudnnScales scales_of(const ConvPlan& plan, bool a_vector, bool b_vector, FloatType type) {
  const bool turned = plan.product == Product::grad_weight;
  return {turned ? b_vector : a_vector, turned ? a_vector : b_vector, type};
}

bool takes(const ConvCudnnMatmulPlan& plan, const Epilogue& e) {
  return plan.scaled != nullptr && e.integers == nullptr && e.bias == nullptr && !e.accumulate &&
         plan.scales == scales_of(plan.conv, e.a_scale_vector, e.b_scale_vector, e.type) &&
         reinterpret_cast<std::uintptr_t>(e.out) % CudnnMatmul::alignment == 0;
}

}  // namespace

std::int64_t ConvCudnnMatmulPlan::library_bytes() const {
  const std::int64_t sums = std::max(whole->workspace_bytes(), rest->workspace_bytes());
  return plane_bytes(std::max(sums, scaled != nullptr ? scaled->workspace_bytes() : 0));
}

std::string refuse_conv_cudnn_matmul(const ConvShape& caller, Product product, const ConvOptions& options) {
  const auto because = [&](const char* reason) {
    return describe_conv(caller, product, cudnn_matmul_name) + reason;
  };
  if (!is_matrix_product(rows_as_batch(caller)))
    return because(
        "a matrix product is a linear layer or a 1x1 convolution without stride, padding and groups");
  if (options.a_unsigned) return because("its INT8 operands are signed, and this X is unsigned");
  if (options.sample_classes > 0) return because("it has no sums by sample class");
  return refuse_conv(caller, product, options);
}

std::optional<ConvCudnnMatmulPlan> plan_conv_cudnn_matmul(const ConvShape& shape, Product product,
                                                          const ConvOptions& options,
                                                          const std::optional<CudnnScales>& scales,
                                                          std::string& why) {
  why = refuse_conv_cudnn_matmul(shape, product, options);
  if (!why.empty()) return std::nullopt;
  ConvCudnnMatmulPlan plan;
  plan.conv = plan_conv(shape, product, options_for(Family::mma, options));
  plan.conv.name = describe_conv(shape, product, cudnn_matmul_name);
  const Matrices matrices = matrices_of(plan.conv.shape, product);
  plan.part_bytes = cut_contraction(plan.conv, matrices.contraction);
  const auto planned = [&](const CudnnMatmulProblem& problem) {
    auto matmul = CudnnMatmul::plan(problem, plan.conv.name, why);
    if (matmul == nullptr) why = plan.conv.name + why;
    return matmul;
  };
  const auto sums_of = [&](std::int64_t bytes) {
    return planned({.rows = matrices.rows,
                    .columns = matrices.columns,
                    .contraction = bytes,
                    .row_bytes = matrices.contraction});
  };
  const std::int64_t rest = matrices.contraction - (plan.conv.gemm.splits - 1) * plan.part_bytes;
  if ((plan.rest = sums_of(rest)) == nullptr) return std::nullopt;
  const bool one = plan.conv.gemm.splits == 1 || rest == plan.part_bytes;
  if ((plan.whole = one ? plan.rest : sums_of(plan.part_bytes)) == nullptr) return std::nullopt;
  if (!scales || plan.conv.parts() > 1) return plan;
  const bool one_row_scale = plan.conv.one_sample && product != Product::grad_weight;
  plan.scales = scales_of(plan.conv, scales->a_vector && !one_row_scale, scales->b_vector, scales->type);
  plan.scaled = planned(scaled_problem(plan.conv, matrices, plan.scales));
  return plan;
}

void run_conv_cudnn_matmul(const ConvCudnnMatmulPlan& plan, const ConvArgs& args, cudaStream_t stream) {
  const ConvPlan& conv = plan.conv;
  check_arguments(conv, args, nullptr);
  check_pointer(args.scratch, "scratch", conv.name, CudnnMatmul::alignment);
  const Epilogue epilogue = epilogue_of(conv, args);
  if (takes(plan, epilogue)) {
    const PartOperands operands = part_operands(conv, args, 0, plan.part_bytes);
    const bool turned = conv.product == Product::grad_weight;
    return plan.scaled->run({.a = operands.rows,
                             .b = operands.columns,
                             .c = epilogue.out,
                             .a_scale = turned ? epilogue.b_scale : epilogue.a_scale,
                             .b_scale = turned ? epilogue.a_scale : epilogue.b_scale,
                             .workspace = args.scratch},
                            stream);
  }
  auto* const sums =
      reinterpret_cast<std::int32_t*>(static_cast<std::byte*>(args.scratch) + plan.library_bytes());
  for (int part = 0; part < conv.parts(); ++part) {
    const PartOperands operands = part_operands(conv, args, part, plan.part_bytes);
    const bool last = part_at(conv.gemm, args.b_planes, part).split + 1 == conv.gemm.splits;
    const CudnnMatmul& matmul = last ? *plan.rest : *plan.whole;
    matmul.run({.a = operands.rows,
                .b = operands.columns,
                .c = sums + part * conv.gemm.results,
                .workspace = args.scratch},
               stream);
  }
  join_parts(conv, {.b_planes = args.b_planes, .parts = sums, .epilogue = epilogue}, stream);
}

}  // namespace octavo::kernels::cuda
