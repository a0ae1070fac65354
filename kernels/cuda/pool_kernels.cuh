// The kernels of pooling: an element of the result a thread, channels next to each other.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif  // else a test that runs this source on the host brings its own
#include "pool_windows.h"

namespace octavo::kernels::cuda {

constexpr int pool_threads = 256;
/// Blocks of a multiprocessor: registers for the borders of a window.
constexpr int pool_blocks_each = 4;

/// body(element) for the elements of this thread.
template <class Body>
__device__ inline void each_element(std::int64_t count, const Body& body) {
  for (std::int64_t i = blockIdx.x * std::int64_t{pool_threads} + threadIdx.x; i < count;
       i += std::int64_t{gridDim.x} * pool_threads)
    body(i);
}

template <class T>
__global__ void __launch_bounds__(pool_threads, pool_blocks_each)
    max_pool_kernel(const __grid_constant__ PoolShape s, const T* x, T* y, std::int32_t* where) {
  each_element(s.outputs(), [&](std::int64_t i) { max_pool(s, x, i, y, where); });
}
template <class T>
__global__ void __launch_bounds__(pool_threads, pool_blocks_each)
    max_pool_gradient_kernel(const __grid_constant__ PoolShape s, const T* dy, const std::int32_t* where,
                             T* dx) {
  each_element(s.inputs(), [&](std::int64_t i) { max_pool_gradient(s, dy, where, i, dx); });
}
static __global__ void __launch_bounds__(pool_threads, pool_blocks_each)
    avg_pool_kernel(const __grid_constant__ PoolShape s, const float* x, float* y) {
  each_element(s.outputs(), [&](std::int64_t i) { avg_pool(s, x, i, y); });
}
static __global__ void __launch_bounds__(pool_threads, pool_blocks_each)
    avg_pool_gradient_kernel(const __grid_constant__ PoolShape s, const float* dy, float* dx) {
  each_element(s.inputs(), [&](std::int64_t i) { avg_pool_gradient(s, dy, i, dx); });
}
template <class T>
__global__ void __launch_bounds__(pool_threads)
    global_mean_kernel(const T* x, int n, std::int64_t pixels, int c, T* y) {
  each_element(std::int64_t{n} * c, [&](std::int64_t i) { global_mean(x, pixels, c, i, y); });
}
template <class T>
__global__ void __launch_bounds__(pool_threads)
    global_mean_gradient_kernel(const T* dy, int n, std::int64_t pixels, int c, T* dx) {
  each_element(n * pixels * c, [&](std::int64_t i) { global_mean_gradient(dy, pixels, c, i, dx); });
}

}  // namespace octavo::kernels::cuda
