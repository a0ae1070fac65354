// The FP32 convolution: tiles of results by 256 threads, both operands through two stages of shared memory,
// the next step waiting in registers; and the join of parts.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif  // else a test that runs this source on the host brings its own
#include "conv_f32_store.cuh"

namespace octavo::kernels::cuda {

/// Four floats side by side in shared memory, read at once.
struct alignas(16) F32Quad {
  float of[4];
};

/// The places of the contraction that a thread copies, and what all its lines share there.
template <class Copies, Product product>
struct F32Cursor {
  F32Place at[Copies::places];
  F32Tap tap[Copies::places] = {};

  __device__ F32Cursor(const ConvF32Class& c, int step) {
#pragma unroll
    for (int i = 0; i < Copies::places; ++i)
      at[i] = f32_place(c, static_cast<std::uint32_t>(step) * f32_step +
                               static_cast<std::uint32_t>(Copies::place(static_cast<int>(threadIdx.x), i)));
  }
  __device__ void next_step(const ConvF32Gemm& g, const ConvF32Class& c) {
#pragma unroll
    for (int i = 0; i < Copies::places; ++i) tap[i] = f32_tap<product>(g, c, at[i]), advance(c, at[i]);
  }
};

/// A thread's share of a step of one operand, on its way to shared memory.
template <class Copies>
struct F32Waiting {
  float value[Copies::places][Copies::lines];

  template <class Read>
  __device__ void load(const Read& read) {
#pragma unroll
    for (int i = 0; i < Copies::places; ++i)
#pragma unroll
      for (int j = 0; j < Copies::lines; ++j) value[i][j] = read(i, j);
  }
  __device__ void store(float* operand, int pitch) const {
    const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int i = 0; i < Copies::places; ++i)
#pragma unroll
      for (int j = 0; j < Copies::lines; ++j)
        operand[Copies::place(thread, i) * pitch + Copies::line(thread) + j * Copies::distance] = value[i][j];
  }
};

/// What a thread copies of both operands in each step.
template <class Tile, Product product>
struct F32Loads {
  static constexpr bool weight = product == Product::grad_weight;
  using Gathered = F32Copies<weight ? Tile::n : Tile::m, weight ? Along::lines : Along::places>;
  using Plain =
      F32Copies<weight ? Tile::m : Tile::n, product == Product::forward ? Along::places : Along::lines>;
  static constexpr bool same_places = product != Product::grad_input;

  const float *gathered, *plain;
  F32Line lines[Gathered::lines];
  std::uint32_t first_line;  // of the plain operand
  F32Cursor<Gathered, product> cursor;
  F32Cursor<Plain, product> plain_cursor;  // where same_places, not used
  F32Waiting<Gathered> gathered_waiting;
  F32Waiting<Plain> plain_waiting;

  __device__ F32Loads(const ConvF32Gemm& g, const ConvF32Class& c, const ConvF32Run& run, const TileAt& at,
                      int step)
      : gathered(run.gathered + at.group * std::int64_t{g.gather_group}),
        plain(run.plain + at.group * g.plain_group),
        first_line(first_of(weight, at) +
                   static_cast<std::uint32_t>(Plain::line(static_cast<int>(threadIdx.x)))),
        cursor(c, step),
        plain_cursor(c, step) {
    const std::uint32_t first =
        first_of(!weight, at) + static_cast<std::uint32_t>(Gathered::line(static_cast<int>(threadIdx.x)));
#pragma unroll
    for (int j = 0; j < Gathered::lines; ++j)
      lines[j] = f32_line<product>(g, c, first + j * Gathered::distance);
  }

  /// The first row, or column, of a tile.
  __device__ static std::uint32_t first_of(bool rows, const TileAt& at) {
    return rows ? static_cast<std::uint32_t>(at.m) * Tile::m : static_cast<std::uint32_t>(at.n) * Tile::n;
  }

  __device__ void load(const ConvF32Gemm& g, const ConvF32Class& c) {
    cursor.next_step(g, c);
    if constexpr (!same_places) plain_cursor.next_step(g, c);
    gathered_waiting.load([&](int i, int j) {
      const F32Tap& tap = cursor.tap[i];
      return f32_reads(g, lines[j], tap) ? __ldg(gathered + (lines[j].offset + tap.gathered)) : 0.0f;
    });
    plain_waiting.load([&](int i, int j) {
      const std::uint32_t line = first_line + j * Plain::distance;
      const F32Tap& tap = [&]() -> const F32Tap& {
        if constexpr (same_places)
          return cursor.tap[i];
        else
          return plain_cursor.tap[i];
      }();
      const bool inside = tap.inside && line < static_cast<std::uint32_t>(g.lines);
      return inside ? __ldg(plain + (line * g.plain_line + tap.plain)) : 0.0f;
    });
  }
  __device__ void store(float* stage) const {
    float *a = stage, *b = stage + Tile::a_floats;
    gathered_waiting.store(weight ? b : a, weight ? Tile::b_pitch : Tile::a_pitch);
    plain_waiting.store(weight ? a : b, weight ? Tile::a_pitch : Tile::b_pitch);
  }
};

/// The results of a thread: rows 4 y.. and columns 4 x.. of each 64 x 64 of the tile.
template <class Tile>
struct F32Sums {
  static constexpr int row_quads = Tile::m / 64, column_quads = Tile::n / 64;
  float of[row_quads * 4][column_quads * 4];

  __device__ F32Sums() {
#pragma unroll
    for (int i = 0; i < row_quads * 4; ++i)
#pragma unroll
      for (int j = 0; j < column_quads * 4; ++j) of[i][j] = 0;
  }
  __device__ static int y() { return static_cast<int>(threadIdx.x) / 16; }
  __device__ static int x() { return static_cast<int>(threadIdx.x) % 16; }
  __device__ static int row(int i) { return i / 4 * 64 + y() * 4 + i % 4; }
  __device__ static int column(int j) { return j / 4 * 64 + x() * 4 + j % 4; }

  __device__ void multiply(const float* stage) {
#pragma unroll
    for (int place = 0; place < f32_step; ++place) {
      F32Quad a[row_quads], b[column_quads];
#pragma unroll
      for (int i = 0; i < row_quads; ++i)
        a[i] = *reinterpret_cast<const F32Quad*>(stage + place * Tile::a_pitch + row(i * 4));
#pragma unroll
      for (int j = 0; j < column_quads; ++j)
        b[j] =
            *reinterpret_cast<const F32Quad*>(stage + Tile::a_floats + place * Tile::b_pitch + column(j * 4));
#pragma unroll
      for (int i = 0; i < row_quads * 4; ++i)
#pragma unroll
        for (int j = 0; j < column_quads * 4; ++j)
          of[i][j] = fmaf(a[i / 4].of[i % 4], b[j / 4].of[j % 4], of[i][j]);
    }
  }

  template <Product product>
  __device__ void store(const ConvF32Gemm& g, const ConvF32Class& c, const ConvF32Run& run, const TileAt& at,
                        int part) const {
    const std::uint32_t rows = f32_rows<product>(g, c), columns = f32_columns<product>(g, c);
    const std::uint32_t first_row = static_cast<std::uint32_t>(at.m) * Tile::m,
                        first_column = static_cast<std::uint32_t>(at.n) * Tile::n;
#pragma unroll
    for (int i = 0; i < row_quads * 4; ++i) {
      const std::uint32_t row_at = first_row + static_cast<std::uint32_t>(row(i));
      if (row_at >= rows) continue;
      const std::int64_t start = f32_result<product>(g, c, at.group, row_at);
#pragma unroll
      for (int j = 0; j < column_quads * 4; ++j) {
        const std::uint32_t column_at = first_column + static_cast<std::uint32_t>(column(j));
        if (column_at >= columns) continue;
        store_f32_sum(g, run, part, start + column_at, at.group * g.lines + static_cast<int>(column_at),
                      of[i][j]);
      }
    }
  }
};

/// Grid: x tiles of tile_at(), y parts.
template <class Tile, Product product>
__global__ void __launch_bounds__(f32_threads)
    conv_f32_kernel(const __grid_constant__ ConvF32Gemm g, const __grid_constant__ TileGrid grid,
                    const __grid_constant__ ConvF32Run run) {
  __shared__ __align__(16) float stages[2][Tile::stage_floats];
  const TileAt at = tile_at(grid, blockIdx.x);
  const ConvF32Class c = f32_class<product>(g, at.which);
  // Classes differ by a row or column of pixels.
  if (static_cast<std::uint32_t>(at.m) * Tile::m >= f32_rows<product>(g, c)) return;
  const int part = static_cast<int>(blockIdx.y), first = part * g.split_steps, left = c.steps() - first;
  const int steps = left < g.split_steps ? left : g.split_steps;  // perhaps none: then the sums are 0
  F32Sums<Tile> sums;
  if (steps > 0) {
    F32Loads<Tile, product> loads(g, c, run, at, first);
    loads.load(g, c);
    loads.store(stages[0]);
    __syncthreads();
    for (int step = 0; step < steps; ++step) {
      const bool more = step + 1 < steps;
      if (more) loads.load(g, c);
      sums.multiply(stages[step % 2]);
      if (more) loads.store(stages[(step + 1) % 2]);  // nobody reads it: its step ended with a barrier
      __syncthreads();
    }
  }
  sums.template store<product>(g, c, run, at, part);
}

/// Adds the parts of each result in FP64, in the order of parts.
static __global__ void __launch_bounds__(f32_threads)
    join_f32_kernel(const __grid_constant__ ConvF32Run run, std::int64_t results, int parts, int channels) {
  for (std::int64_t i = blockIdx.x * std::int64_t{f32_threads} + threadIdx.x; i < results;
       i += std::int64_t{gridDim.x} * f32_threads) {
    double sum = 0;
    for (int part = 0; part < parts; ++part) sum += static_cast<double>(run.parts[part * results + i]);
    store_f32(run, i, static_cast<int>(i % channels), static_cast<float>(sum));
  }
}

}  // namespace octavo::kernels::cuda
