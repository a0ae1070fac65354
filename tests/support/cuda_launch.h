// Launches of kernel sources on fibers.
#pragma once

#include "support/cuda_fibers.h"

namespace octavo::kernels::test {

/// What a launch does: every block, each with its own drawn order of warps.
template <class Body>
void launch(Dim3 grid, int threads, unsigned seed, const Body& body) {
  FiberBlock block(threads, seed, seed % 2 == 0, seed / 2 % 2 == 0);
  gridDim = grid;
  for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
    for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x) block.run(body);
}

}  // namespace octavo::kernels::test
