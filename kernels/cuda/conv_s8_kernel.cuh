// The integer convolution of every product: one block computes a tile of results as implicit_gemm.h describes
// it.
#pragma once

#ifdef __CUDACC__
#include "device_ops.cuh"
#endif  // else a test that runs this source on the host brings its own
#include "epilogue.h"
#include "implicit_gemm.h"
#include "shared_tile.h"

namespace octavo::kernels::cuda {

/// What a launch reads and writes; pointers of the device.
struct ConvRun {
  const std::int8_t* a = nullptr;
  const std::int8_t* b = nullptr;
  std::int64_t a_plane = 0, b_plane = 0;  // bytes from plane to plane
  int b_planes = 1;
  std::int32_t* parts = nullptr;  // null: there is one part, and the epilogue stores results
  Epilogue epilogue;
};

/// The copies of one thread: the same segment of every copy_rows-th row of both operands.
template <class Shape>
struct BlockCopies {
  const std::int8_t *a, *b;
  RowStart rows[Shape::a_copies];
  Cursor cursor;
  int group, first_filter, stored;

  __device__ BlockCopies(const ImplicitGemm& g, const GemmClass& c, const ConvRun& run, const TileAt& at,
                         const PartAt& part, int first_step)
      : a(run.a + part.a_plane * run.a_plane),
        b(run.b + part.b_plane * run.b_plane),
        cursor(cursor_at(
            g, c,
            std::int64_t{first_step} * Shape::row_segments + copy_place<Shape>(threadIdx.x, 0).segment)),
        group(at.group),
        first_filter(at.n * Shape::n + copy_place<Shape>(threadIdx.x, 0).row),
        stored(swizzled(copy_place<Shape>(threadIdx.x, 0).row, copy_place<Shape>(threadIdx.x, 0).segment)) {
#pragma unroll
    for (int i = 0; i < Shape::a_copies; ++i)
      rows[i] = row_start(g, c, group, std::int64_t{at.m} * Shape::m + copy_place<Shape>(threadIdx.x, i).row);
  }

  /// Calls copy(number, byte in the stage, source, inside) for each segment of A, then of B, of this step;
  /// the second moves on to the next step.
  template <class Copy>
  __device__ void copy_a(const ImplicitGemm& g, const GemmClass& c, const Copy& copy) const {
#pragma unroll
    for (int i = 0; i < Shape::a_copies; ++i) {
      const std::int64_t offset = a_offset(g, c, rows[i], cursor);
      copy(i, stored + i * Shape::copy_rows * row_bytes, offset == zeros ? a : a + offset, offset != zeros);
    }
  }
  template <class Copy>
  __device__ void copy_b(const ImplicitGemm& g, const GemmClass& c, const Copy& copy) {
#pragma unroll
    for (int i = 0; i < Shape::b_copies; ++i) {
      const std::int64_t offset = b_offset(g, c, group, first_filter + i * Shape::copy_rows, cursor);
      copy(i, Shape::a_bytes + stored + i * Shape::copy_rows * row_bytes, offset == zeros ? b : b + offset,
           offset != zeros);
    }
    advance(g, c, cursor, Shape::row_segments);
  }
};

/// Sums of a warp, in the registers of its fragments.
template <class Shape>
struct WarpSums {
  int value[Shape::m_fragments][Shape::n_fragments][4] = {};
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

/// Tensor cores: half a step, 32 bytes of the contraction.
struct MatrixMath {
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

/// Dot products of four bytes: a check of MatrixMath by other instructions on the same tiles.
struct DotMath {
  template <bool a_unsigned, class Shape>
  __device__ static void multiply_half(const std::int8_t* stage, int half, WarpSums<Shape>& sums) {
#pragma unroll
    for (int segment = half * 2; segment < half * 2 + 2; ++segment)
      multiply_segment<a_unsigned>(stage, segment, sums);
  }

  template <bool a_unsigned, class Shape>
  __device__ static void multiply_segment(const std::int8_t* stage, int segment, WarpSums<Shape>& sums) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    uint4 b[Shape::n_fragments][2];
#pragma unroll
    for (int j = 0; j < Shape::n_fragments; ++j)
#pragma unroll
      for (int column = 0; column < 2; ++column) {
        const int row = warp_column<Shape>(warp) + j * 8 + MmaM16N8K32::c(lane, column).column;
        b[j][column] = *reinterpret_cast<const uint4*>(stage + Shape::a_bytes + swizzled(row, segment));
      }
#pragma unroll
    for (int i = 0; i < Shape::m_fragments; ++i)
#pragma unroll
      for (int r = 0; r < 4; r += 2) {
        const int row = warp_row<Shape>(warp) + i * 16 + MmaM16N8K32::c(lane, r).row;
        const uint4 a = *reinterpret_cast<const uint4*>(stage + swizzled(row, segment));
#pragma unroll
        for (int j = 0; j < Shape::n_fragments; ++j)
#pragma unroll
          for (int column = 0; column < 2; ++column) {
            int& sum = sums.value[i][j][r + column];
            sum = dot4<a_unsigned>(a.x, b[j][column].x, sum);
            sum = dot4<a_unsigned>(a.y, b[j][column].y, sum);
            sum = dot4<a_unsigned>(a.z, b[j][column].z, sum);
            sum = dot4<a_unsigned>(a.w, b[j][column].w, sum);
          }
      }
  }
};

#if OCTAVO_ARCH >= 800
/// All steps of a part through the stages of `shared`; asynchronous copies run two steps ahead.
template <class Math, bool a_unsigned, class Shape>
__device__ void run_steps(const ImplicitGemm& g, const GemmClass& c, BlockCopies<Shape>& copies,
                          std::int8_t* shared, int steps, WarpSums<Shape>& sums) {
  const auto copy_step = [&](int stage) {
    const std::uint32_t base = shared_address(shared) + stage * Shape::stage_bytes;
    const auto copy = [&](int, int at, const std::int8_t* from, bool inside) {
      copy_async(base + at, from, inside);
    };
    copies.copy_a(g, c, copy);
    copies.copy_b(g, c, copy);
  };
#pragma unroll
  for (int stage = 0; stage < async_stages - 1; ++stage) {
    if (stage < steps) copy_step(stage);
    commit_copies();
  }
  int read = 0, write = async_stages - 1;
  for (int step = 0; step < steps; ++step) {
    wait_copies<async_stages - 2>();
    __syncthreads();  // the copies of this step have arrived, and nobody reads the stage written next
    if (step + async_stages - 1 < steps) copy_step(write);
    commit_copies();
#pragma unroll
    for (int half = 0; half < 2; ++half)
      Math::template multiply_half<a_unsigned>(shared + read * Shape::stage_bytes, half, sums);
    read = read + 1 == async_stages ? 0 : read + 1;
    write = write + 1 == async_stages ? 0 : write + 1;
  }
}
#else
/// Of the next step, A waits in registers during the first half of a step and B during the second: one set of
/// registers for both keeps the wide tile from spilling.
template <class Math, bool a_unsigned, class Shape>
__device__ void run_steps(const ImplicitGemm& g, const GemmClass& c, BlockCopies<Shape>& copies,
                          std::int8_t* shared, int steps, WarpSums<Shape>& sums) {
  constexpr int most = Shape::a_copies > Shape::b_copies ? Shape::a_copies : Shape::b_copies;
  uint4 waiting[most];
  const auto load = [&](int number, int, const std::int8_t* from, bool inside) {
    waiting[number] = inside ? __ldg(reinterpret_cast<const uint4*>(from)) : uint4{0, 0, 0, 0};
  };
  const auto store = [&](std::int8_t* operand, int count) {
#pragma unroll
    for (int i = 0; i < most; ++i)
      if (i < count)
        *reinterpret_cast<uint4*>(operand + copies.stored + i * Shape::copy_rows * row_bytes) = waiting[i];
  };
  if (steps > 0) {
    copies.copy_a(g, c, load);
    store(shared, Shape::a_copies);
    copies.copy_b(g, c, load);
    store(shared + Shape::a_bytes, Shape::b_copies);
  }
  __syncthreads();
  for (int step = 0; step < steps; ++step) {
    const std::int8_t* stage = shared + step % 2 * Shape::stage_bytes;
    std::int8_t* next = shared + (step + 1) % 2 * Shape::stage_bytes;
    const bool more = step + 1 < steps;
    if (more) copies.copy_a(g, c, load);
    Math::template multiply_half<a_unsigned>(stage, 0, sums);
    if (more) store(next, Shape::a_copies);
    if (more) copies.copy_b(g, c, load);
    Math::template multiply_half<a_unsigned>(stage, 1, sums);
    if (more) store(next + Shape::a_bytes, Shape::b_copies);
    __syncthreads();
  }
}
#endif

template <class Shape>
__device__ void store_sums(const ImplicitGemm& g, const GemmClass& c, const ConvRun& run, const TileAt& at,
                           int part, const WarpSums<Shape>& sums) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const std::int64_t rows = c.rows(g);
#pragma unroll
  for (int i = 0; i < Shape::m_fragments; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const std::int64_t row =
          std::int64_t{at.m} * Shape::m + warp_row<Shape>(warp) + i * 16 + MmaM16N8K32::c(lane, half * 2).row;
      if (row >= rows) continue;
      const RowResult result = row_result(g, c, at.group, row);
      const std::int64_t first_part = run.parts ? part_index(g, part, at.group, at.which, row, 0) : 0;
#pragma unroll
      for (int j = 0; j < Shape::n_fragments; ++j)
#pragma unroll
        for (int column = 0; column < 2; ++column) {
          const int filter = at.n * Shape::n + warp_column<Shape>(warp) + j * 8 +
                             MmaM16N8K32::c(lane, half * 2 + column).column;
          const int sum = sums.value[i][j][half * 2 + column];
          if (filter >= g.filters) continue;
          if (run.parts != nullptr)
            run.parts[first_part + filter] = sum;
          else
            store_result(run.epilogue, result.element + filter * g.out_filter, result.a_scale,
                         at.group * g.b_scale_group + filter, sum);
        }
    }
}

/// Grid: x tiles of tile_at(), y parts. Shared memory: stages of Shape::stage_bytes.
template <class Shape, class Math, bool a_unsigned>
__global__ void __launch_bounds__(Shape::threads)
    conv_s8_kernel(const __grid_constant__ ImplicitGemm g, const __grid_constant__ TileGrid grid,
                   const __grid_constant__ ConvRun run) {
  std::int8_t* shared = dynamic_shared();
  const TileAt at = tile_at(grid, blockIdx.x);
  const int part = static_cast<int>(blockIdx.y);
  const GemmClass c = gemm_class(g, at.which);
  if (std::int64_t{at.m} * Shape::m >= c.rows(g)) return;  // classes differ by a row or column of pixels
  const PartAt place = part_at(g, run.b_planes, part);
  const int first = place.split * g.split_steps, all = c.steps(g);
  const int last = first + g.split_steps < all ? first + g.split_steps : all;
  WarpSums<Shape> sums;
  BlockCopies<Shape> copies(g, c, run, at, place, first);
  run_steps<Math, a_unsigned>(g, c, copies, shared, last - first, sums);
  store_sums(g, c, run, at, part, sums);
}

constexpr int join_threads = 256;

/// Adds the parts of each result in the order of parts, in int64, and stores it.
static __global__ void __launch_bounds__(join_threads)
    join_parts_kernel(const __grid_constant__ ImplicitGemm g, const __grid_constant__ ConvRun run,
                      int parts) {
  const std::int64_t size = part_size(g);
  for (std::int64_t i = blockIdx.x * std::int64_t{join_threads} + threadIdx.x; i < size;
       i += std::int64_t{gridDim.x} * join_threads) {
    const PartPlace place = part_place(g, i);
    const GemmClass c = gemm_class(g, place.which);
    if (place.row >= c.rows(g)) continue;
    std::int64_t sum = 0;
    for (int part = 0; part < parts; ++part) {
      const PartAt at = part_at(g, run.b_planes, part);
      sum += static_cast<std::int64_t>(run.parts[part * size + i]) * (1LL << (8 * (at.a_plane + at.b_plane)));
    }
    const RowResult result = row_result(g, c, place.group, place.row);
    store_result(run.epilogue, result.element + place.filter * g.out_filter, result.a_scale,
                 place.group * g.b_scale_group + place.filter, sum);
  }
}

}  // namespace octavo::kernels::cuda
