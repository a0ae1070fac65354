// Pooling on the device. Pointers are of the device; tensors of a call have one type. Errors of CUDA are
// thrown as std::runtime_error, arguments that make no sense as std::invalid_argument.
#pragma once

#include <cuda_runtime_api.h>

#include "pool_windows.h"

namespace octavo::kernels::cuda {

/// where: s32 of the outputs' shape, the pixel of each maximum; null where no gradient is wanted.
void run_max_pool(const PoolShape& shape, const FloatSource& x, const FloatTarget& y, std::int32_t* where,
                  cudaStream_t stream);
void run_max_pool_gradient(const PoolShape& shape, const FloatSource& dy, const std::int32_t* where,
                           const FloatTarget& dx, cudaStream_t stream);
void run_avg_pool(const PoolShape& shape, const float* x, float* y, cudaStream_t stream);
void run_avg_pool_gradient(const PoolShape& shape, const float* dy, float* dx, cudaStream_t stream);

/// The whole image is one window: [n, pixels, c] and [n, c].
struct GlobalPool {
  int n = 1, c = 1;
  std::int64_t pixels = 1;
};
void run_global_mean(const GlobalPool& shape, const FloatSource& x, const FloatTarget& y,
                     cudaStream_t stream);
void run_global_mean_gradient(const GlobalPool& shape, const FloatSource& dy, const FloatTarget& dx,
                              cudaStream_t stream);

}  // namespace octavo::kernels::cuda
