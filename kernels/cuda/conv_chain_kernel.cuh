// The integer convolution with a chain as its epilogue, by mma.
#pragma once

#include "conv_s8_kernel.cuh"
#include "store_chain.cuh"

namespace octavo::kernels::cuda {

/// As conv_s8_kernel.
template <class Shape, bool a_unsigned>
__global__ void OCTAVO_CONV_BOUNDS(Shape::threads)
    conv_chain_kernel(const __grid_constant__ ImplicitGemm g, const __grid_constant__ TileGrid grid,
                      const __grid_constant__ ConvChainRun run) {
  if constexpr (MatrixMath::compiled) run_block<Shape, MatrixMath, a_unsigned, false>(g, grid, run);
}

}  // namespace octavo::kernels::cuda
