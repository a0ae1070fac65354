// Forward convolutions by cuDNN in INT8: its s32 sums are the parts that our join makes results of, so that
// these have the bits of run_conv(). The library has no INT8 gradients.
#pragma once

#include <optional>

#include "conv_plan.h"
#include "cudnn_conv.h"

namespace octavo::kernels::cuda {

inline constexpr const char* cudnn_kernel_name = "cudnn/conv_s8";

struct ConvCudnnPlan {
  ConvPlan conv;  // layouts, and the parts that are joined; its tile runs nowhere
  std::shared_ptr<const CudnnConv> product;
  std::int64_t library_bytes() const { return plane_bytes(product->workspace_bytes()); }
  /// Sums of all parts, behind what the library needs.
  std::int64_t workspace_bytes() const { return library_bytes() + conv.parts() * conv.gemm.results * 4; }
};

/// Empty, or why cuDNN does not take the product.
std::string refuse_conv_cudnn(const ConvShape& shape, Product product, const ConvOptions& options);
/// None where it is refused, or where the library has no engine. `options.tile` and `least_splits` say
/// nothing here.
std::optional<ConvCudnnPlan> plan_conv_cudnn(const ConvShape& shape, Product product,
                                             const ConvOptions& options);
/// As run_conv(), with scratch of plan.workspace_bytes().
void run_conv_cudnn(const ConvCudnnPlan& plan, const ConvArgs& args, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
