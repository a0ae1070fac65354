// The integer convolution of warpgroups (sm_90a) with stages that TMA fills: one warp more than the tile has
// asks for boxes, and its first lane waits for free stages; the warps of the tile multiply and store.
//
// A stage has two barriers. `full` ends a phase when its boxes have arrived, `empty` when all warps of the
// tile are done with it in every block of the cluster, whose filters arrive in all of them. 128 x 256 results
// leave 224 registers for each of 288 threads, so that taking some from the warp that copies (setmaxnreg,
// which goes by whole warpgroups) would win nothing.
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

  __device__ std::uint32_t stage(int i) const { return first + i * Shape::stage_bytes; }
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
};

/// By one thread: steps [from, from + steps) of the contraction, each as soon as a stage is free.
template <class Shape>
__device__ void fill_stages(const ImplicitGemm& g, const ConvTma& tma, const GemmClass& c, const TileAt& at,
                            const TmaStages<Shape>& stages, int from, int steps) {
  if (steps <= 0) return;  // of a class without taps, which has no map either
  static_assert(sizeof(BoxStart) <= 16);
  auto* starts = reinterpret_cast<BoxStart*>(dynamic_shared() + Shape::boxes_at);
  const TmaSteps& t = tma.steps;
  const std::int64_t row = std::int64_t{at.m} * Shape::m;
  const int boxes = tile_boxes(t, c.rows(g) - row, Shape::m), box_bytes = t.box_rows * Shape::k_bytes;
  for (int i = 0; i < boxes; ++i) starts[i] = box_start(g, t, c, at.group, row + i * t.box_rows);
  const CUtensorMap& a_map = tma.a[at.which];
  prefetch_map(a_map);
  prefetch_map(tma.b);
  const int filters = Shape::n / t.cluster, first_filter = static_cast<int>(blockIdx.x) % t.cluster * filters;
  Cursor cursor = cursor_at(c, from);
  StageAt place;
  for (int step = 0; step < steps; ++step) {
    const std::uint32_t stage = stages.stage(place.stage), full = stages.full(place.stage);
    wait_phase(stages.empty(place.stage), place.phase ^ 1);
    arrive_expecting(full, boxes * box_bytes + Shape::n * Shape::k_bytes);
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

/// By the warps of the tile. The products of a step run on while the next one begins; then its stage is free.
template <bool a_unsigned, class Shape>
__device__ void multiply_stages(const TmaStages<Shape>& stages, int cluster, int steps,
                                WarpSums<Shape>& sums) {
  if (steps <= 0) return;
  StageAt place;
  int step = 0;
  std::uint32_t last = 0;  // the barrier of the stage before
  do {                     // a loop that might not run would keep ptxas from letting products run on
    wait_phase(stages.full(place.stage), place.phase);
    __syncwarp();  // each lane left the wait by itself
    begin_products(sums.value[0]);
    WarpgroupMath::start_step<a_unsigned>(stages.stage(place.stage), sums);
    wait_products<1>(sums.value[0]);
    if (const int lane = threadIdx.x % 32; step > 0 && lane < cluster) arrive_at(last, lane);
    last = stages.empty(place.stage);
    place.advance(TmaStages<Shape>::count);
  } while (++step < steps);
  wait_products<0>(sums.value[0]);
}

template <class Shape, bool a_unsigned>
__device__ void run_tma_block(const ImplicitGemm& g, const TileGrid& grid, const ConvRun& run,
                              const ConvTma& tma) {
  const int cluster = tma.steps.cluster, rank = static_cast<int>(blockIdx.x) % cluster;
  const TileAt at = cluster_tile(grid, cluster, blockIdx.x);
  const GemmClass c = tma_class(g, tma.steps, at.which);
  // Classes differ by a row or column of pixels; a block without rows stays while its cluster has some.
  if (std::int64_t{at.m - rank} * Shape::m >= c.rows(g)) return;
  const int split = static_cast<int>(blockIdx.y), from = split * g.split_steps, left = tma_steps(c) - from;
  const int steps = left < g.split_steps ? left : g.split_steps;
  const TmaStages<Shape> stages{shared_address(dynamic_shared())};
  if (threadIdx.x == 0) stages.init(cluster);
  sync_cluster();
  if (threadIdx.x < Shape::threads) {
    WarpSums<Shape> sums;
    multiply_stages<a_unsigned>(stages, cluster, steps, sums);
    static_assert(sizeof(RowResult) == 16);
    store_sums<false>(g, c, run, at, split, sums,
                      reinterpret_cast<RowResult*>(dynamic_shared() + Shape::rows_at));
  } else if (threadIdx.x == Shape::threads) {
    fill_stages(g, tma, c, at, stages, from, steps);
  }
  if (cluster > 1) sync_cluster();  // the other block may still arrive at barriers of this one
}
#endif

/// Grid: x tiles of cluster_tile(), y parts. Shared memory: Shape::shared_bytes. Empty where the code for
/// this architecture has no such instructions.
template <class Shape, bool a_unsigned>
__global__ void __launch_bounds__(Shape::threads + Shape::helpers, Shape::blocks)
    conv_s8_tma_kernel(const __grid_constant__ ImplicitGemm g, const __grid_constant__ TileGrid grid,
                       const __grid_constant__ ConvRun run, const __grid_constant__ ConvTma tma) {
#if OCTAVO_WGMMA
  run_tma_block<Shape, a_unsigned>(g, grid, run, tma);
#endif
}

}  // namespace octavo::kernels::cuda
