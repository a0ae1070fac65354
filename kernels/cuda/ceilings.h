// What a device can do at most, measured: the rates that kernels are held against.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace octavo::kernels::cuda {

/// Every warp multiplies `rounds` times 8 independent fragments of 16 x 8 x 32 INT8 products in registers;
/// sums go to `out`, one for each of blocks * mma_threads threads, so that nothing is left out.
constexpr int mma_threads = 256;
void run_mma_ceiling(int blocks, int rounds, int* out, cudaStream_t stream);
/// Multiply-adds of such a run.
constexpr std::int64_t mma_ceiling_macs(int blocks, int rounds) {
  return std::int64_t{blocks} * (mma_threads / 32) * rounds * 8 * 16 * 8 * 32;
}

}  // namespace octavo::kernels::cuda
