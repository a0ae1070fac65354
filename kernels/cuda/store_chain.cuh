// From the registers of a block to a chain's integers: what would be stored goes through the chain's steps
// where it waits, and never to memory.
#pragma once

#include "chain_segment.h"
#include "quantize_block.cuh"
#include "store_results.cuh"

namespace octavo::kernels::cuda {

/// A product whose results a chain takes on: pass.x is what the epilogue makes.
struct ConvChainRun : ConvRun {
  ChainPass pass;
};

/// What the steps of a chain hand on in an epilogue: nothing but bits (refuse_chain).
struct ChainEpilogue {
  __device__ void join_bits(std::uint8_t* word, std::uint32_t bits) {
    atomicOr(reinterpret_cast<unsigned*>(word), bits);
  }
  __device__ void add_sums(const Values&, const Values&) {}
  __device__ void look(const Segment&, const Values&) {}
};

template <class Shape>
struct ChainTile {
  const ImplicitGemm& g;
  const ConvChainRun& run;
  const RowResult* rows;
  const std::int32_t* wait;
  std::int64_t first_row, left;
  int first_filter;
  QuantizeRule rule;
  SegmentCounts counts;

  /// A thread takes 16 columns of a row; a warp two such segments of 16 rows.
  __device__ void store_turn(int turn) {
    constexpr int pairs = Shape::n / segment_bytes / 2;
    for (int i = threadIdx.x; i < waiting_rows<Shape> * pairs * 2; i += Shape::threads) {
      const int place = i / 32 / pairs * 16 + i % 32 / 2, row = waiting_row<Shape>(place, turn);
      const int column = (i / 32 % pairs * 2 + i % 2) * segment_bytes, slot = first_filter + column;
      if (row < left && slot < run.pass.layout.pixel_pitch()) store_segment_of(place, row, column, slot);
    }
  }

  __device__ void store_segment_of(int place, int row, int column, int slot) {
    const ImageLayout& layout = run.pass.layout;
    const int pixels = layout.h * layout.w, pixel = static_cast<int>(first_row) + row;
    const Segment at = segment_at(layout, pixel / pixels, pixel % pixels, slot);
    Values v;
#pragma unroll
    for (int i = 0; i < segment_bytes; ++i) {
      v[i] = 0.0f;
      if (i >= at.count) continue;
      const auto sum = static_cast<float>(wait[result_word<Shape>(place, column + i)]);
      v[i] = rounded_value(run.epilogue, scaled_value(run.epilogue, rows[row].a_scale, slot + i, sum));
    }
    ChainEpilogue block;
    for (int i = 0; i < run.pass.step_count; ++i) run_step(layout, run.pass.steps[i], at, v, block);
    std::int32_t q[segment_bytes];
    quantize_values(rule, run.pass.scales, at, v, q, counts);
    store_pixels(layout, rule.planes, run.pass.pixel_copy, layout.pixel_copy_byte(0, pixel, slot), q);
  }
};

/// As for results that are stored.
template <bool by_class, class Shape>
__device__ void store_sums(const ImplicitGemm& g, const GemmClass& c, const ConvChainRun& run,
                           const TileAt& at, int, const WarpSums<Shape>& sums, RowResult* rows) {
  static_assert(!by_class);
  auto* wait = reinterpret_cast<std::int32_t*>(dynamic_shared());
  const std::int64_t first = std::int64_t{at.m} * Shape::m, left = c.rows(g) - first;
  place_rows<Shape>(g, c, at.group, first, left, rows);
  ChainTile<Shape> tile{
      g, run, rows, wait, first, left, at.n * Shape::n, with_draws(run.pass.rule, run.pass.draws), {}};
  store_turns<0>(sums, tile, wait);
  add_counts<Shape::threads>(run.pass.counts, tile.counts);
}

}  // namespace octavo::kernels::cuda
