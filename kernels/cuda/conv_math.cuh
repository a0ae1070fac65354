// What a warp of the integer convolution does with a step that lies in shared memory.
#pragma once

#ifdef __CUDACC__
#include "device_ops.cuh"
#endif  // else a test that runs this source on the host brings its own
#include "shared_tile.h"

namespace octavo::kernels::cuda {

/// Sums of a warp, in the registers of its fragments.
template <class Shape>
struct WarpSums {
  int value[Shape::m_fragments][Shape::n_fragments][4] = {};

  __device__ void shift(int octaves) {
    if (octaves == 0) return;
#pragma unroll
    for (int i = 0; i < Shape::m_fragments; ++i)
#pragma unroll
      for (int j = 0; j < Shape::n_fragments; ++j)
#pragma unroll
        for (int r = 0; r < 4; ++r) value[i][j][r] *= 1 << octaves;
  }
};

/// c += A B of one fragment.
template <bool a_unsigned>
__device__ inline void multiply(int (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                std::uint32_t b1) {
#if OCTAVO_ARCH >= 800
  mma_m16n8k32<a_unsigned>(c, a, b0, b1);
#else
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const QuarterStep step = quarter_step(i);
    mma_m8n8k16<a_unsigned>(c[step.c], c[step.c + 1], a[step.a], step.b == 0 ? b0 : b1);
  }
#endif
}

/// Tensor cores: half a step, 32 bytes of the contraction. Their products of bytes came with sm_75.
struct MatrixMath {
  static constexpr bool compiled = OCTAVO_ARCH == 0 || OCTAVO_ARCH >= 750, by_warpgroup = false,
                        spares_registers = true;
  template <bool a_unsigned, class Shape>
  __device__ static void multiply_half(const std::int8_t* stage, int half, WarpSums<Shape>& sums) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const std::uint32_t base = shared_address(stage);
    std::uint32_t a[Shape::m_fragments][4], b[Shape::n_fragments / 2][4];
    const TilePlace a_place = a_matrix_place(lane, warp_row<Shape>(warp), half);
    const TilePlace b_place = b_matrix_place(lane, warp_column<Shape>(warp), half);
    const std::uint32_t a_first = base + swizzled(a_place.row, a_place.segment);
    const std::uint32_t b_first = base + Shape::a_bytes + swizzled(b_place.row, b_place.segment);
#pragma unroll
    for (int i = 0; i < Shape::m_fragments; ++i) load_matrices(a[i], a_first + i * 16 * row_bytes);
#pragma unroll
    for (int j = 0; j < Shape::n_fragments / 2; ++j) load_matrices(b[j], b_first + j * 16 * row_bytes);
#pragma unroll
    for (int i = 0; i < Shape::m_fragments; ++i)
#pragma unroll
      for (int j = 0; j < Shape::n_fragments; ++j)
        multiply<a_unsigned>(sums.value[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
  }
};

/// Dot products of four bytes: for cards before sm_75, and a check of MatrixMath by other instructions on the
/// same tiles.
struct DotMath {
  static constexpr bool compiled = true, by_warpgroup = false, spares_registers = false;
  template <bool a_unsigned, class Shape>
  __device__ static void multiply_half(const std::int8_t* stage, int half, WarpSums<Shape>& sums) {
#pragma unroll
    for (int segment = half * 2; segment < half * 2 + 2; ++segment)
      multiply_segment<a_unsigned>(stage, segment, sums);
  }

  template <bool a_unsigned, class Shape>
  __device__ static void multiply_segment(const std::int8_t* stage, int segment, WarpSums<Shape>& sums) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    // A column at a time: both would take too many registers.
#pragma unroll
    for (int column = 0; column < 2; ++column) {
      uint4 b[Shape::n_fragments];
#pragma unroll
      for (int j = 0; j < Shape::n_fragments; ++j) {
        const int row = warp_column<Shape>(warp) + j * 8 + MmaM16N8K32::c(lane, column).column;
        b[j] = *reinterpret_cast<const uint4*>(stage + Shape::a_bytes + swizzled(row, segment));
      }
#pragma unroll
      for (int i = 0; i < Shape::m_fragments; ++i)
#pragma unroll
        for (int r = 0; r < 4; r += 2) {
          const int row = warp_row<Shape>(warp) + i * 16 + MmaM16N8K32::c(lane, r).row;
          const uint4 a = *reinterpret_cast<const uint4*>(stage + swizzled(row, segment));
#pragma unroll
          for (int j = 0; j < Shape::n_fragments; ++j) {
            int& sum = sums.value[i][j][r + column];
            sum = dot4<a_unsigned>(a.x, b[j].x, sum);
            sum = dot4<a_unsigned>(a.y, b[j].y, sum);
            sum = dot4<a_unsigned>(a.z, b[j].z, sum);
            sum = dot4<a_unsigned>(a.w, b[j].w, sum);
          }
        }
    }
  }
};

}  // namespace octavo::kernels::cuda
