// The FP32 products of a convolution on the device.
#pragma once

#include <cuda_runtime_api.h>

#include "conv_f32_plan.h"

namespace octavo::kernels::cuda {

/// Dense tensors as in ConvShape; pointers of the device. `out` overlaps neither operand.
struct ConvF32Args {
  const float* a = nullptr;     // forward and grad_weight: X, grad_input: G
  const float* b = nullptr;     // forward and grad_input: W, grad_weight: G
  const float* bias = nullptr;  // forward, per filter; or null
  float* out = nullptr;         // Y, dX or dW
  bool accumulate = false;      // out = (sum [+ bias]) + out
  void* scratch = nullptr;      // plan.workspace_bytes()
};

/// Runs the product on `stream`. Bits depend on the plan alone. Throws std::invalid_argument for arguments
/// that make no sense, std::runtime_error for errors of CUDA.
void run_conv_f32(const ConvF32Plan& plan, const ConvF32Args& args, cudaStream_t stream);

/// `results` sums, of `channels` filters side by side, to args.out, with its bias and accumulation.
void store_sums_f32(const float* sums, const ConvF32Args& args, std::int64_t results, std::int64_t channels,
                    const std::string& what, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
