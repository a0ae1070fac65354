// The steps of an integer convolution by warpgroups (sm_90a): products read shared memory by themselves while
// the threads compute addresses and copy ahead.
#pragma once

#include "conv_math.cuh"

namespace octavo::kernels::cuda {

/// wgmma: a warpgroup multiplies 64 rows by all columns of the tile.
struct WarpgroupMath {
  static constexpr bool compiled = OCTAVO_WGMMA == 1, by_warpgroup = true, spares_registers = true;

#if OCTAVO_WGMMA
  template <bool a_unsigned, class Shape>
  __device__ static void start_step(std::uint32_t stage, WarpSums<Shape>& sums) {
    const int group = threadIdx.x / WgmmaM64K32::threads;
    const std::uint64_t a =
        matrix_descriptor(stage + group * WgmmaM64K32::m * Shape::k_bytes, Shape::k_bytes);
    const std::uint64_t b = matrix_descriptor(stage + Shape::a_bytes, Shape::k_bytes);
#pragma unroll
    for (int k = 0; k < Shape::k_steps; ++k)
      start_product<a_unsigned>(sums.value[0], at_step(a, k), at_step(b, k));
    commit_products();
  }

  /// So many steps through the stages of `shared`. The products of a step run on while the next one begins,
  /// so that a stage is free two steps after its own.
  template <bool a_unsigned, class Shape, class Copies, class Octaves>
  __device__ static void run_steps(const ImplicitGemm& g, Copies& copies, std::int8_t* shared, int steps,
                                   Octaves& octave, WarpSums<Shape>& sums) {
    constexpr int ahead = warpgroup_stages - 2;
    const std::uint32_t first = shared_address(shared);
    const auto copy_step = [&](int stage) {
      const auto copy = [&](int, int at, const std::int8_t* from, bool inside) {
        copy_async(first + stage * Shape::stage_bytes + at, from, inside);
      };
      copies.next_step(g, octave.order);
      copies.copy_a(g, copy);
      copies.copy_b(g, copy);
    };
#pragma unroll
    for (int stage = 0; stage < ahead; ++stage) {
      if (stage < steps) copy_step(stage);
      commit_copies();
    }
    int read = 0, write = ahead;
    for (int step = 0; step < steps;) {
      const int end = step + octave.before_steps(steps - step, sums);
      do {  // a loop that might not run would keep ptxas from letting products run on
        wait_copies<ahead - 1>();
        show_to_products();
        __syncthreads();  // this step has arrived, and the products of the last but one are done everywhere
        begin_products(sums.value[0]);
        start_step<a_unsigned>(first + read * Shape::stage_bytes, sums);
        if (step + ahead < steps) copy_step(write);
        commit_copies();
        wait_products<1>(sums.value[0]);
        read = read + 1 == warpgroup_stages ? 0 : read + 1;
        write = write + 1 == warpgroup_stages ? 0 : write + 1;
      } while (++step < end);
      wait_products<0>(sums.value[0]);
    }
  }
#endif
};

}  // namespace octavo::kernels::cuda
