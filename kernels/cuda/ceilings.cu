#include "ceilings.h"

#include "conv_math.cuh"
#include "conv_s8.h"
#include "launch.h"
#include "pointers.h"

namespace octavo::kernels::cuda {
namespace {

__global__ void __launch_bounds__(mma_threads) mma_ceiling_kernel(int rounds, int* out) {
  const std::uint32_t seed = threadIdx.x * 0x01010101u;
  const std::uint32_t a[4] = {seed, seed ^ 0x11111111u, seed ^ 0x22222222u, seed ^ 0x33333333u};
  int sums[8][4] = {};
  if constexpr (MatrixMath::compiled)
    for (int round = 0; round < rounds; ++round)
#pragma unroll
      for (int i = 0; i < 8; ++i) multiply<false>(sums[i], a, seed + i, seed - i);
  int sum = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) sum += sums[i][j];
  out[blockIdx.x * mma_threads + threadIdx.x] = sum;
}

}  // namespace

void run_mma_ceiling(int blocks, int rounds, int* out, cudaStream_t stream) {
  const std::string what = "cuda/mma_ceiling of " + std::to_string(blocks) + " blocks: ";
  if (blocks < 1 || rounds < 1) throw std::invalid_argument(what + "sizes start at 1");
  check_pointer(out, "out", what, alignof(int));
  const std::string refused = refuse_family(Family::mma);
  if (!refused.empty()) throw std::invalid_argument(what + refused);
  launch(mma_ceiling_kernel, {static_cast<unsigned>(blocks), mma_threads, stream}, what, rounds, out);
}

}  // namespace octavo::kernels::cuda
