// The integer convolution of every product: one block computes a tile of results as implicit_gemm.h describes
// it.
#pragma once

#ifdef __CUDACC__
#include "device_ops.cuh"
#endif  // else a test that runs this source on the host brings its own
#include "conv_math.cuh"
#include "conv_wgmma.cuh"
#include "store_results.cuh"

namespace octavo::kernels::cuda {

/// The copies of one thread: the same segment of every copy_rows-th row of both operands.
template <class Shape, bool by_class>
struct BlockCopies {
  const std::int8_t *a, *b;
  RowStart rows[Shape::a_copies];
  GemmClass c;
  Cursor cursor;
  TapAt tap;
  int range, left;  // of sample classes, and its steps that are still to be copied
  int first_filter, b_start, stored;

  __device__ BlockCopies(const ImplicitGemm& g, const GemmClass& of, const ConvRun& run, const TileAt& at,
                         const PartAt& part)
      : a(run.a + part.a_plane * run.a_plane),
        b(run.b + part.b_plane * run.b_plane),
        c(of),
        first_filter(at.n * Shape::n + copy_place<Shape>(threadIdx.x, 0).row),
        b_start(filter_start(g, at.group, first_filter)),
        stored(swizzled(copy_place<Shape>(threadIdx.x, 0).row, copy_place<Shape>(threadIdx.x, 0).segment)) {
#pragma unroll
    for (int i = 0; i < Shape::a_copies; ++i)
      rows[i] =
          row_start(g, c, at.group, std::int64_t{at.m} * Shape::m + copy_place<Shape>(threadIdx.x, i).row);
  }

  /// From step `skipped` of a range on.
  __device__ void begin(const SampleOrder* order, int from, int skipped) {
    if (by_class) enter(order, from), left -= skipped;
    cursor = cursor_at(c, skipped * step_segments + copy_place<Shape>(threadIdx.x, 0).segment);
  }
  __device__ void enter(const SampleOrder* order, int from) {
    range = from;
    c.first = order->range[range].first, c.segments = order->range[range].segments;
    left = c.steps();
  }
  __device__ void next_step(const ImplicitGemm& g, const SampleOrder* order) {
    if (by_class && left-- == 0) {
      enter(order, range + 1);
      --left;
      cursor = {copy_place<Shape>(threadIdx.x, 0).segment, 0, 0};
      advance(c, cursor, 0);
    }
    tap = tap_at(g, c, cursor);
    advance(c, cursor, Shape::row_segments);
  }

  /// Calls copy(number, byte in the stage, source, inside) for each segment of A, or of B, of this step.
  template <class Copy>
  __device__ void copy_a(const ImplicitGemm& g, const Copy& copy) const {
#pragma unroll
    for (int i = 0; i < Shape::a_copies; ++i) {
      const bool inside = reads_a(g, rows[i], tap);
      const int offset = inside ? rows[i].offset + tap.a : 0;
      copy(i, stored + i * Shape::copy_rows * row_bytes, a + std::int64_t{offset} * segment_bytes, inside);
    }
  }
  template <class Copy>
  __device__ void copy_b(const ImplicitGemm& g, const Copy& copy) const {
#pragma unroll
    for (int i = 0; i < Shape::b_copies; ++i) {
      const bool inside = reads_b(g, first_filter + i * Shape::copy_rows, tap);
      const int offset = inside ? b_start + i * Shape::copy_rows * g.b_filter + tap.b : 0;
      copy(i, Shape::a_bytes + stored + i * Shape::copy_rows * row_bytes,
           b + std::int64_t{offset} * segment_bytes, inside);
    }
  }
};

/// Which octave the sums count, and for how many steps more.
template <bool by_class>
struct Octave {
  const SampleOrder* order;
  int taps, range, left, now;

  __device__ Octave(const ImplicitGemm& g, const SampleOrder* classes, const Piece& piece)
      : order(classes), taps(g.h.taps * g.w.taps), range(piece.range), left(0), now(0) {
    if (!by_class) return;
    left = contraction_steps(taps, order->range[range].segments) - piece.skipped;
    now = order->range[range].octave;
  }
  /// Where a lower octave begins, the sums so far are taken to it.
  template <class Sums>
  __device__ void before_step(Sums& sums) {
    if (!by_class || left-- > 0) return;
    begin_range(sums);
    --left;
  }
  /// The same before several steps: how many, at most `most`, until the next octave.
  template <class Sums>
  __device__ int before_steps(int most, Sums& sums) {
    if (!by_class) return most;
    if (left == 0) begin_range(sums);
    const int count = left < most ? left : most;
    left -= count;
    return count;
  }
  template <class Sums>
  __device__ void begin_range(Sums& sums) {
    const ClassRange next = order->range[++range];
    left = contraction_steps(taps, next.segments);
    sums.shift(now - next.octave);
    now = next.octave;
  }
};

#if OCTAVO_ARCH >= 800
/// So many steps through the stages of `shared`; asynchronous copies run two steps ahead.
template <class Math, bool a_unsigned, class Shape, bool by_class>
__device__ void run_steps(const ImplicitGemm& g, BlockCopies<Shape, by_class>& copies, std::int8_t* shared,
                          int steps, Octave<by_class>& octave, WarpSums<Shape>& sums) {
  const auto copy_step = [&](int stage) {
    const std::uint32_t base = shared_address(shared) + stage * Shape::stage_bytes;
    const auto copy = [&](int, int at, const std::int8_t* from, bool inside) {
      copy_async(base + at, from, inside);
    };
    copies.next_step(g, octave.order);
    copies.copy_a(g, copy);
    copies.copy_b(g, copy);
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
    octave.before_step(sums);
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
template <class Math, bool a_unsigned, class Shape, bool by_class>
__device__ void run_steps(const ImplicitGemm& g, BlockCopies<Shape, by_class>& copies, std::int8_t* shared,
                          int steps, Octave<by_class>& octave, WarpSums<Shape>& sums) {
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
    copies.next_step(g, octave.order);
    copies.copy_a(g, load);
    store(shared, Shape::a_copies);
    copies.copy_b(g, load);
    store(shared + Shape::a_bytes, Shape::b_copies);
  }
  __syncthreads();
  for (int step = 0; step < steps; ++step) {
    const std::int8_t* stage = shared + step % 2 * Shape::stage_bytes;
    std::int8_t* next = shared + (step + 1) % 2 * Shape::stage_bytes;
    const bool more = step + 1 < steps;
    if (more) copies.next_step(g, octave.order), copies.copy_a(g, load);
    octave.before_step(sums);
    Math::template multiply_half<a_unsigned>(stage, 0, sums);
    if (more) store(next, Shape::a_copies);
    if (more) copies.copy_b(g, load);
    Math::template multiply_half<a_unsigned>(stage, 1, sums);
    if (more) store(next + Shape::a_bytes, Shape::b_copies);
    __syncthreads();
  }
}
#endif

/// One sum of a block: its steps, its number, and the octave that it counts.
struct BlockSum {
  Piece piece;
  int number, octave;
};

/// With sample classes, by thread 0: what part `split` has to do; returns how many sums.
__device__ inline int list_sums(const ImplicitGemm& g, const SampleOrder& order, int split, BlockSum* sums) {
  const ClassSteps steps = class_steps(g, order);
  int count = 0;
  for (Chain chain; next_chain(order, steps, chain);) {
    const Piece piece = piece_of(order, steps, chain, split);
    if (piece.steps > 0) sums[count++] = {piece, split + chain.index, chain.octave};
  }
  return count;
}

/// `run`: a ConvRun, or what is one and says where else results go; store_sums() is found by it.
template <class Math, bool a_unsigned, bool by_class, class Shape, class Run>
__device__ void run_sum(const ImplicitGemm& g, const Run& run, const TileAt& at, const BlockSum& sum,
                        BlockCopies<Shape, by_class>& copies) {
  WarpSums<Shape> sums;
  Octave<by_class> octave(g, run.order, sum.piece);
  copies.begin(run.order, sum.piece.range, sum.piece.skipped);
  if constexpr (Math::by_warpgroup)
    Math::template run_steps<a_unsigned>(g, copies, dynamic_shared(), sum.piece.steps, octave, sums);
  else
    run_steps<Math, a_unsigned>(g, copies, dynamic_shared(), sum.piece.steps, octave, sums);
  if (by_class) sums.shift(octave.now - sum.octave);
  __shared__ RowResult rows[Shape::m];
  const int pair = static_cast<int>(blockIdx.y) / g.splits;
  store_sums<by_class>(g, by_class ? plain_gemm_class(g) : gemm_class(g, at.which), run, at,
                       pair * g.sums + sum.number, sums, rows);
}

template <class Shape, class Math, bool a_unsigned, bool by_class, class Run>
__device__ void run_block(const ImplicitGemm& g, const TileGrid& grid, const Run& run) {
  const TileAt at = tile_at(grid, blockIdx.x);
  const GemmClass c = by_class ? plain_gemm_class(g) : gemm_class(g, at.which);
  if (std::int64_t{at.m} * Shape::m >= c.rows(g)) return;  // classes differ by a row or column of pixels
  const PartAt place = part_at(g, run.b_planes, static_cast<int>(blockIdx.y));
  BlockCopies<Shape, by_class> copies(g, c, run, at, place);
  if constexpr (by_class) {
    __shared__ BlockSum sums[most_ranges];
    __shared__ int count;
    if (threadIdx.x == 0) count = list_sums(g, *run.order, place.split, sums);
    __syncthreads();
    for (int i = 0; i < count; ++i) {
      run_sum<Math, a_unsigned>(g, run, at, sums[i], copies);
      __syncthreads();  // nobody reads the stages any more
    }
  } else {
    const int first = place.split * g.split_steps, left = c.steps() - first;
    const BlockSum sum{{0, first, left < g.split_steps ? left : g.split_steps}, place.split, 0};
    run_sum<Math, a_unsigned>(g, run, at, sum, copies);
  }
}

#if OCTAVO_ARCH >= 1200  // a small tile of dot products would spill for a fourth block
#define OCTAVO_CONV_BOUNDS(threads) __launch_bounds__(threads, Math::spares_registers ? 0 : 2)
#elif OCTAVO_ARCH >= 800
#define OCTAVO_CONV_BOUNDS(threads) __launch_bounds__(threads)
#else  // without a number of blocks the compiler spills for a third one
#define OCTAVO_CONV_BOUNDS(threads) __launch_bounds__(threads, 2)
#endif

/// Grid: x tiles of tile_at(), y parts. Shared memory: stages of Shape::stage_bytes. Empty where the code for
/// this architecture has no such instructions.
template <class Shape, class Math, bool a_unsigned, bool by_class>
__global__ void OCTAVO_CONV_BOUNDS(Shape::threads)
    conv_s8_kernel(const __grid_constant__ ImplicitGemm g, const __grid_constant__ TileGrid grid,
                   const __grid_constant__ ConvRun run) {
  if constexpr (Math::compiled) run_block<Shape, Math, a_unsigned, by_class>(g, grid, run);
}

}  // namespace octavo::kernels::cuda
