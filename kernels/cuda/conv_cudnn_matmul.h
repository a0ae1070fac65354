// Linear layers and 1x1 convolutions in INT8 by cuDNN's runtime-fused matrix product, in all three products.
// Where a plan knows how results are scaled, one kernel stores them as floats; all else (integers, bias,
// accumulation, planes, parts) takes its s32 sums, which our join makes results of. Either way results have
// the bits of run_conv().
#pragma once

#include "conv_plan.h"
#include "cudnn_matmul.h"

namespace octavo::kernels::cuda {

inline constexpr const char* cudnn_matmul_name = "cudnn/matmul_s8";

struct ConvCudnnMatmulPlan {
  ConvPlan conv;  // layouts, and the parts that are joined; its tile runs nowhere
  std::shared_ptr<const CudnnMatmul> whole, rest;  // s32 sums of a part of the contraction, and of the last
  std::shared_ptr<const CudnnMatmul> scaled;       // results with `scales`; null: none is planned
  CudnnScales scales;
  std::int64_t part_bytes = 0;  // of the contraction in a whole part
  std::int64_t library_bytes() const;
  /// Sums of all parts, behind what the library needs.
  std::int64_t workspace_bytes() const { return library_bytes() + conv.parts() * conv.gemm.results * 4; }
};

/// Empty, or why cuDNN's matrix product does not take it.
std::string refuse_conv_cudnn_matmul(const ConvShape& shape, Product product, const ConvOptions& options);
/// None where it is refused, or the library cannot make it: `why` is then told. `scales`: as run_conv() would
/// get them of ConvArgs, for results without bias and accumulation. `options.tile` says nothing here.
std::optional<ConvCudnnMatmulPlan> plan_conv_cudnn_matmul(const ConvShape& shape, Product product,
                                                          const ConvOptions& options,
                                                          const std::optional<CudnnScales>& scales,
                                                          std::string& why);
/// As run_conv(), with scratch of plan.workspace_bytes().
void run_conv_cudnn_matmul(const ConvCudnnMatmulPlan& plan, const ConvArgs& args, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
