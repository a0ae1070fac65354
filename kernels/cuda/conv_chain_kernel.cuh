// The integer convolution with a chain as its epilogue, by mma.
#pragma once

#include "conv_s8_kernel.cuh"
#include "store_chain.cuh"

namespace octavo::kernels::cuda {

/// As conv_s8_kernel. Without a number of blocks the compiler spills on sm_120, for one block more.
template <class Shape, bool a_unsigned>
__global__ void __launch_bounds__(Shape::threads, 2)
    conv_chain_kernel(const __grid_constant__ ImplicitGemm g, const __grid_constant__ TileGrid grid,
                      const __grid_constant__ ConvChainRun run) {
  if constexpr (MatrixMath::compiled) run_block<Shape, MatrixMath, a_unsigned, false>(g, grid, run);
}

}  // namespace octavo::kernels::cuda
