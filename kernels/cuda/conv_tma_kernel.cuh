// The integer convolution of warpgroups (sm_90a) with stages that TMA fills: one warp more than the tile has
// asks for boxes, and its first lane waits for free stages; the warps of the tile multiply and store.
//
// A stage has two barriers. `full` ends a phase when its boxes have arrived, `empty` when all warps of the
// tile are done with it in every block of the cluster, whose filters arrive in all of them. Nine warps on
// four schedulers have up to 168 registers a thread, two times nine 96, which is what the kernels get by
// with; setmaxnreg, which goes by whole warpgroups, would take three more warps that do nothing.
//
// Blocks are persistent: a launch has as many clusters as the device keeps at once, and each takes tile after
// tile, stages and phases going on, so that the next tile's stages fill while results are stored. Results
// wait in the stage of the tile's last step, some columns at a time, which is freed when they are stored: the
// warp that copies waits for that one as for any other. Memory of their own (16 KiB and more) would not leave
// two blocks of 128 x 128 their 192 KiB of stages.
#pragma once

#include "conv_wgmma.cuh"
#include "store_results.cuh"
#include "tma_maps.h"

namespace octavo::kernels::cuda {

#if OCTAVO_WGMMA
/// In shared memory: the stages, then their barriers.
template <class Shape>
struct TmaStages {
  static constexpr int count = Shape::least_stages;
  std::uint32_t first;

  __device__ static int offset(int i) { return i * Shape::stage_bytes; }
  __device__ std::uint32_t stage(int i) const { return first + offset(i); }
  __device__ std::uint32_t full(int i) const { return first + Shape::barriers_at + i * 8; }
  __device__ std::uint32_t empty(int i) const { return full(count + i); }

  /// By one thread.
  __device__ void init(int cluster) const {
    for (int i = 0; i < count; ++i) {
      init_barrier(full(i), 1);
      init_barrier(empty(i), cluster * (Shape::threads / 32));
    }
    show_barriers();
  }
  __device__ static int before(int i) { return i == 0 ? count - 1 : i - 1; }
  /// By a warp that is done with stage i.
  __device__ void free(int i, int cluster) const {
    if (const int lane = threadIdx.x % 32; lane < cluster) arrive_at(empty(i), lane);
  }
};

/// A tile of this block.
struct TmaTurn {
  TileAt at;
  GemmClass c;
  int split, from, steps;  // steps [from, from + steps) of the contraction, perhaps none
};

__device__ inline TmaTurn turn_of_block(const ImplicitGemm& g, const TileGrid& grid, const TmaSteps& t,
                                        int turn) {
  const TileTurn now = tile_turn(grid, t.cluster, turn, static_cast<int>(blockIdx.x) % t.cluster);
  const GemmClass c = tma_class(g, t, now.at.which);
  const int from = now.split * g.split_steps, left = tma_steps(c) - from;
  return {now.at, c, now.split, from, left < g.split_steps ? left : g.split_steps};
}

/// The tiles of this block, one after the other: all threads of a cluster meet the same.
template <class Shape, class Body>
__device__ void for_each_turn(const ImplicitGemm& g, const TileGrid& grid, const TmaSteps& t,
                              const Body& body) {
  const int cluster = t.cluster, clusters = static_cast<int>(gridDim.x * gridDim.y) / cluster;
  const int turns = static_cast<int>(cluster_turns(grid, cluster, g.splits));
  for (int turn = static_cast<int>(blockIdx.y * gridDim.x + blockIdx.x) / cluster; turn < turns;
       turn += clusters) {
    const TmaTurn now = turn_of_block(g, grid, t, turn);
    const int rank = static_cast<int>(blockIdx.x) % cluster;
    // Classes differ by a row or column of pixels; a block without rows stays while its cluster has some.
    if (std::int64_t{now.at.m - rank} * Shape::m < now.c.rows(g)) body(now);
  }
}

/// By one thread: the steps of a tile, each as soon as a stage is free. A tile without steps takes a stage
/// too, in which its results wait.
template <class Shape>
__device__ void fill_stages(const ImplicitGemm& g, const ConvTma& tma, const TmaTurn& turn,
                            const TmaStages<Shape>& stages, StageAt& place) {
  if (turn.steps <= 0) {  // of a class without taps, which has no map either
    wait_phase(stages.empty(place.stage), place.phase ^ 1);
    arrive_expecting(stages.full(place.stage), 0);
    place.advance(TmaStages<Shape>::count);
    return;
  }
  static_assert(sizeof(BoxStart) <= 16);
  auto* starts = reinterpret_cast<BoxStart*>(dynamic_shared() + Shape::boxes_at);
  const TmaSteps& t = tma.steps;
  const TileAt& at = turn.at;
  const GemmClass& c = turn.c;
  const std::int64_t row = std::int64_t{at.m} * Shape::m;
  const int boxes = tile_boxes(t, c.rows(g) - row, Shape::m), box_bytes = t.box_rows * Shape::k_bytes;
  for (int i = 0; i < boxes; ++i) starts[i] = box_start(g, t, c, at.group, row + i * t.box_rows);
  const CUtensorMap& a_map = tma.a[at.which];
  prefetch_map(a_map);
  prefetch_map(tma.b);
  const int filters = Shape::n / t.cluster, first_filter = static_cast<int>(blockIdx.x) % t.cluster * filters;
  Cursor cursor = cursor_at(c, turn.from);
  for (int step = 0; step < turn.steps; ++step) {
    const std::uint32_t stage = stages.stage(place.stage), full = stages.full(place.stage);
    wait_phase(stages.empty(place.stage), place.phase ^ 1);
    arrive_expecting(full, boxes * box_bytes + Shape::b_bytes);
    for (int i = 0; i < boxes; ++i) {
      const BoxAt box = a_box(g, t, c, at.group, starts[i], cursor);
      const std::uint32_t to = stage + i * box_bytes;
      if (t.im2col)
        copy_pixels(to, a_map, full, box.channel, box.w, box.h, box.image, box.offset_w, box.offset_h);
      else
        copy_box(to, a_map, full, box.channel, box.w, box.h, box.image);
    }
    const FilterBoxAt b = b_box(g, t, c, at.group, at.n * Shape::n + first_filter, cursor);
    const std::uint32_t to = stage + Shape::a_bytes + first_filter * Shape::k_bytes;
    if (t.cluster == 1)
      copy_box(to, tma.b, full, b.channel, b.tap, b.filter);
    else
      copy_box_to((1U << t.cluster) - 1, to, tma.b, full, b.channel, b.tap, b.filter);
    advance(c, cursor, 1);
    place.advance(TmaStages<Shape>::count);
  }
}

/// By the warps of the tile. The products of a step run on while the next one begins; then its stage is free,
/// but for that of the last, which lies before `place` then.
template <bool a_unsigned, class Shape>
__device__ void multiply_stages(const TmaStages<Shape>& stages, int cluster, int steps, StageAt& place,
                                WarpSums<Shape>& sums) {
  if (steps <= 0) {
    wait_phase(stages.full(place.stage), place.phase);
    place.advance(TmaStages<Shape>::count);
    return;
  }
  int step = 0;
  do {  // a loop that might not run would keep ptxas from letting products run on
    wait_phase(stages.full(place.stage), place.phase);
    __syncwarp();  // each lane left the wait by itself
    begin_products(sums.value[0]);
    WarpgroupMath::start_step<a_unsigned>(stages.stage(place.stage), sums);
    wait_products<1>(sums.value[0]);
    if (step > 0) stages.free(stages.before(place.stage), cluster);
    place.advance(TmaStages<Shape>::count);
  } while (++step < steps);
  wait_products<0>(sums.value[0]);
}

/// The columns of a tile that wait in a stage at once, from number `slice` on, one after the other.
template <int slice, class Shape>
__device__ void store_slices(const WarpSums<Shape>& sums, ResultTile<WaitingColumns<Shape>, false> tile,
                             std::int32_t* wait) {
  using Columns = WaitingColumns<Shape>;
  if (tile.first_filter >= tile.g.filters) return;
  WarpSums<Columns> columns;
#pragma unroll
  for (int j = 0; j < Columns::n_fragments; ++j)
#pragma unroll
    for (int r = 0; r < 4; ++r) columns.value[0][j][r] = sums.value[0][slice * Columns::n_fragments + j][r];
  store_turns<0>(columns, tile, wait);
  tile.first_filter += Columns::n;
  if constexpr (slice + 1 < Columns::slices) store_slices<slice + 1>(sums, tile, wait);
}

/// What a warp keeps in shared memory while its sums take the registers.
struct TurnNote {
  int left, group, first_filter, split;
};

/// By the warps of the tile: a turn, with rows of results in the one of two buffers that no warp behind
/// reads.
template <bool a_unsigned, class Shape>
__device__ void run_turn(const ImplicitGemm& g, const ConvRun& run, const TmaTurn& turn, int cluster,
                         const TmaStages<Shape>& stages, StageAt& place, RowResult* rows) {
  auto* note = reinterpret_cast<TurnNote*>(dynamic_shared() + Shape::notes_at) + threadIdx.x / 32;
  const std::int64_t first = std::int64_t{turn.at.m} * Shape::m, left = turn.c.rows(g) - first;
  place_rows<Shape>(g, turn.c, turn.at.group, first, left, rows);
  if (threadIdx.x % 32 == 0)
    *note = {left < Shape::m ? static_cast<int>(left) : Shape::m, turn.at.group, turn.at.n * Shape::n,
             turn.split};
  __syncwarp();
  WarpSums<Shape> sums;
  multiply_stages<a_unsigned>(stages, cluster, turn.steps, place, sums);
  const int last = stages.before(place.stage);
  auto* wait = reinterpret_cast<std::int32_t*>(dynamic_shared() + stages.offset(last));
  store_slices<0>(sums, {g, run, rows, wait, note->left, note->group, note->first_filter, note->split}, wait);
  show_to_copies();  // that threads wrote there
  __syncwarp();
  stages.free(last, cluster);
}

template <class Shape, bool a_unsigned>
__device__ void run_tma_block(const ImplicitGemm& g, const TileGrid& grid, const ConvRun& run,
                              const ConvTma& tma) {
  const int cluster = tma.steps.cluster;
  const TmaStages<Shape> stages{shared_address(dynamic_shared())};
  if (threadIdx.x == 0) stages.init(cluster);
  sync_cluster();
  StageAt place;
  if (threadIdx.x < Shape::threads) {
    static_assert(sizeof(RowResult) == 16);
    auto* rows = reinterpret_cast<RowResult*>(dynamic_shared() + Shape::rows_at);
    int buffer = 0;
    for_each_turn<Shape>(g, grid, tma.steps, [&](const TmaTurn& turn) {
      run_turn<a_unsigned>(g, run, turn, cluster, stages, place, rows + buffer * Shape::m);
      buffer ^= 1;
    });
  } else if (threadIdx.x == Shape::threads) {
    for_each_turn<Shape>(g, grid, tma.steps,
                         [&](const TmaTurn& turn) { fill_stages(g, tma, turn, stages, place); });
  }
  if (cluster > 1) sync_cluster();  // the other block may still arrive at barriers of this one
}
#endif

/// Grid: as many clusters as shall take the turns of cluster_turns(), one after the other. Shared memory:
/// Shape::shared_bytes. Empty where the code for this architecture has no such instructions.
template <class Shape, bool a_unsigned>
__global__ void __launch_bounds__(Shape::threads + Shape::helpers, Shape::blocks)
    conv_s8_tma_kernel(const __grid_constant__ ImplicitGemm g, const __grid_constant__ TileGrid grid,
                       const __grid_constant__ ConvRun run, const __grid_constant__ ConvTma tma) {
#if OCTAVO_WGMMA
  run_tma_block<Shape, a_unsigned>(g, grid, run, tma);
#endif
}

}  // namespace octavo::kernels::cuda
