// From the registers of a block to results: through shared memory, so that a warp stores whole lines.
#pragma once

#include <type_traits>

#include "class_steps.h"
#include "conv_math.cuh"
#include "conv_run.h"

namespace octavo::kernels::cuda {

/// The index of a thread. Where a tile is stored some columns at a time, what follows from it shall not be
/// kept in registers from one turn to the next.
template <class Shape>
__device__ unsigned thread_of_turn() {
  const unsigned thread = threadIdx.x;
#if OCTAVO_WGMMA
  if constexpr (Shape::helpers > 0) return static_cast<unsigned>(made_anew(static_cast<int>(thread)));
#endif
  return thread;
}

/// Where a block stores: to results, or, as always with sample classes, to sum number `sum` of the parts.
template <class Shape, bool by_class>
struct ResultTile {
  const ImplicitGemm& g;
  const ConvRun& run;
  const RowResult* rows;     // of the tile
  const std::int32_t* wait;  // result_word()
  /// Rows from the tile's first on, of TMA's tiles at most Shape::m.
  std::conditional_t<(Shape::helpers > 0), int, std::int64_t> left;
  int group, first_filter, sum;

  __device__ void store(int place, int row, int column) const {
    const int filter = first_filter + column;
    if (row >= left || filter >= g.filters) return;
    const std::int64_t element = rows[row].element + filter * g.out_filter;
    const std::int32_t value = wait[result_word<Shape>(place, column)];
    if (by_class || run.parts != nullptr)
      run.parts[sum * g.results + element] = value;
    else
      store_result(run.epilogue, element, rows[row].a_scale, group * g.b_scale_group + filter, value);
  }

  /// What waits, number `turn`: lanes lie along what is contiguous in the result.
  __device__ void store_turn(int turn) const {
    if (by_class || g.images_inside) return store_columns(turn);
    if constexpr (Shape::helpers == 0)  // kernels that TMA feeds have no registers left for sums
      if (run.sums.lane_sums != nullptr) return store_lanes(turn);
    store_rows(turn);
  }

  __device__ void store_columns(int turn) const {
    const unsigned thread = thread_of_turn<Shape>();
#pragma unroll 4
    for (int i = thread / 32; i < waiting_rows<Shape> / 32 * Shape::n; i += warps) {
      const int place = i / Shape::n * 32 + thread % 32;
      store(place, waiting_row<Shape>(place, turn), i % Shape::n);
    }
  }
  __device__ void store_rows(int turn) const {
    const unsigned thread = thread_of_turn<Shape>();
#pragma unroll 2
    for (int place = thread / 32; place < waiting_rows<Shape>; place += warps)
#pragma unroll
      for (int column = thread % 32; column < Shape::n; column += 32)
        store(place, waiting_row<Shape>(place, turn), column);
  }

  /// Rows, and sums by channel: a warp takes one lane of a piece and 32 columns, row by row. All rows of a
  /// piece wait, one after the other (refuse_sums).
  __device__ void store_lanes(int turn) const {
    constexpr int column_groups = Shape::n / 32;
    const int pieces = static_cast<int>(ceil_div(waiting_rows<Shape>, run.sums.piece));
    for (int i = threadIdx.x / 32; i < pieces * run.sums.lanes * column_groups; i += warps) {
      const int lane = i / column_groups % run.sums.lanes;
      const int place = i / column_groups / run.sums.lanes * run.sums.piece;
      store_lane(place, waiting_row<Shape>(place, turn), lane,
                 i % column_groups * 32 + static_cast<int>(threadIdx.x) % 32);
    }
  }
  __device__ void store_lane(int place, int row, int lane, int column) const {
    const ResultSums& sums = run.sums;
    const int filter = first_filter + column, channel = group * g.filters + filter;
    if (row >= left || filter >= g.filters) return;
    const float minus_pivot = sums.minus_pivot[channel];
    float total = 0, square = 0;
    for (int p = lane; p < sums.piece && row + p < left; p += sums.lanes) {
      const RowResult& at = rows[row + p];
      const float value = scaled_value(run.epilogue, at.a_scale, group * g.b_scale_group + filter,
                                       static_cast<float>(wait[result_word<Shape>(place + p, column)]));
      store_scaled(run.epilogue, at.element + filter * g.out_filter, value);
      const float u = rounded_value(run.epilogue, value) + minus_pivot;
      total = total + u, square = square + u * u;
    }
    const std::int64_t pixel = rows[row].element / sums.channels, index = pixel / sums.piece;
    sums.lane_sums[sums.at(index, lane, 0) + channel] = total;
    sums.lane_sums[sums.at(index, lane, 1) + channel] = square;
  }
  static constexpr int warps = Shape::threads / 32;
};

/// Rows of each warp to where they wait.
template <int turn, class Shape>
__device__ void place_sums(const WarpSums<Shape>& sums, std::int32_t* wait) {
  const unsigned thread = thread_of_turn<Shape>();
  const int lane = thread % 32, warp = thread / 32;
  const int first = warp / Shape::warps_n * Shape::turn_rows, column = warp_column<Shape>(warp);
  constexpr int fragments = Shape::turn_rows / MmaM16N8K32::m;
#pragma unroll
  for (int i = 0; i < fragments; ++i)
#pragma unroll
    for (int j = 0; j < Shape::n_fragments; ++j)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const Place at = MmaM16N8K32::c(lane, r);
        wait[result_word<Shape>(first + i * 16 + at.row, column + j * 8 + at.column)] =
            sums.value[turn * fragments + i][j][r];
      }
}

/// All threads of the tile.
template <class Shape>
__device__ void sync_tile() {
#if OCTAVO_WGMMA
  if constexpr (Shape::helpers > 0)
    sync_first<Shape::threads>();
  else
#endif
    __syncthreads();
}

/// `tile`: ResultTile, or what else takes results that wait.
template <int turn, class Shape, class Tile>
__device__ void store_turns(const WarpSums<Shape>& sums, Tile& tile, std::int32_t* wait) {
  sync_tile<Shape>();  // the last step, or the turn before, has been read
  place_sums<turn>(sums, wait);
  sync_tile<Shape>();
  tile.store_turn(turn);
  if constexpr ((turn + 1) * Shape::turn_rows < Shape::warp_m) store_turns<turn + 1>(sums, tile, wait);
}

/// All threads of the tile: where its rows begin in results; `left` of them are there from `first` on.
template <class Shape>
__device__ void place_rows(const ImplicitGemm& g, const GemmClass& c, int group, std::int64_t first,
                           std::int64_t left, RowResult* rows) {
  for (int row = threadIdx.x; row < Shape::m && row < left; row += Shape::threads)
    rows[row] = row_result(g, c, group, first + row);
}

/// All threads of the tile; results wait in the stages, which nobody reads any more. `rows`: Shape::m in
/// shared memory.
template <bool by_class, class Shape>
__device__ void store_sums(const ImplicitGemm& g, const GemmClass& c, const ConvRun& run, const TileAt& at,
                           int sum, const WarpSums<Shape>& sums, RowResult* rows) {
  auto* wait = reinterpret_cast<std::int32_t*>(dynamic_shared());
  const std::int64_t first = std::int64_t{at.m} * Shape::m, left = c.rows(g) - first;
  place_rows<Shape>(g, c, at.group, first, left, rows);
  const ResultTile<Shape, by_class> tile{g, run, rows, wait, left, at.group, at.n * Shape::n, sum};
  store_turns<0>(sums, tile, wait);
}

}  // namespace octavo::kernels::cuda
