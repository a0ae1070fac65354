// Launches of kernel sources on fibers.
#pragma once

#include "support/cuda_fibers.h"

namespace octavo::kernels::test {

/// What a launch does: every block or cluster, each with its own drawn order of warps.
template <class Body>
void launch(Dim3 grid, int threads, unsigned seed, const Body& body, int cluster = 1) {
  FiberBlock block(threads, seed, seed % 2 == 0, seed / 2 % 2 == 0, cluster);
  gridDim = grid;
  for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
    for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x += static_cast<unsigned>(cluster)) block.run(body);
}

/// Blocks of a kernel without asynchronous copies.
template <class Body>
void launch(unsigned blocks, int threads, const Body& body) {
  launch(Dim3{blocks}, threads, 3, body);
}

/// So many threads, and those that fill up the last block.
template <class Body>
void launch_threads(std::int64_t work, int threads, const Body& body) {
  launch(static_cast<unsigned>((work + threads - 1) / threads), threads, body);
}

}  // namespace octavo::kernels::test
