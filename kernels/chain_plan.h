// How a chain is cut into tiles and chunks, and where its working memory lies: decided by sizes alone and
// shared by all instruction sets, so that borders of tiles never change a result.
#pragma once

#include "kernels.h"

namespace octavo::kernels {

/// Elements of a tile, whose integers wait in L1 for the views (16 KiB), unless one pixel alone is longer.
constexpr std::int64_t chain_tile_elements = 16384;
/// Floats of a block, the part of a tile that the steps run on (8 KiB), unless one period is longer.
constexpr std::int64_t chain_block_floats = 2048;
/// Elements that a fused chain holds in registers: those of one draw of random numbers.
constexpr std::int64_t chain_strip = 32;
/// Bytes after the integers of a tile that vector code may read and clear.
constexpr std::int64_t chain_slack = 64;
/// Working memory of a tile up to this size lies on the stack of the thread, else in the scratch.
constexpr std::int64_t chain_stack_bytes = 65536;

constexpr std::uint32_t infinity_bits = 0x7F800000u;

/// Counts of one chunk, merged in chunk order.
struct ChunkCounts {
  std::uint32_t max_bits;
  std::int64_t saturated;
  Int128 sum_square;
};

/// Pixels [row, row_end) x [column, column_end) of one sample; columns are cut only when rows == 1.
struct ChainTile {
  std::int64_t sample, row, row_end, column, column_end;
  std::int64_t first, count;  // elements: offset in the tensor, number
  std::int64_t index;         // of the tile inside its sample
};

struct ChainPlan {
  std::int64_t n, h, w, c;
  std::int64_t rows, columns;         // of a tile
  std::int64_t segments;              // tiles in one row of tiles
  std::int64_t tiles;                 // in one sample
  std::int64_t tiles_in_unit, units;  // a unit is the least that a chunk takes; units in one sample
  std::int64_t chunks;
  std::int64_t lanes;          // FP32 sums of `sums` kept apart inside a block: a multiple of c
  std::int64_t period;         // floats after which per-channel vectors repeat: a multiple of lanes
  std::int64_t block;          // elements of a block: whole periods
  std::int64_t tile_elements;  // of the largest tile
  std::int64_t zero_bytes;     // zeros in front of the integers of a tile: the border pixel
  std::int64_t integer_pitch;  // bytes from one plane of a tile's integers to the next

  FloatSource x;
  const Step* steps;
  std::int64_t step_count;
  const Quantize* quantize;
  const View* views;
  void* const* targets;
  std::int64_t view_count;
  bool want_max, want_sums;
  Granularity max_granularity;

  // Offsets into the scratch, bytes; see chain_plan.cpp.
  std::int64_t counts_at, sums_at, channel_max_at, tile_max_at, vectors_at, tables_at, work_at;
  std::int64_t work_bytes;  // of one chunk; 0 when a tile fits the stack
  std::int64_t scratch_bytes;
  char* scratch;

  ChunkCounts* counts() const { return reinterpret_cast<ChunkCounts*>(scratch + counts_at); }
  double* sums(std::int64_t chunk) const {
    return reinterpret_cast<double*>(scratch + sums_at) + chunk * 2 * c;
  }
  std::uint32_t* channel_max(std::int64_t chunk) const {
    return reinterpret_cast<std::uint32_t*>(scratch + channel_max_at) + chunk * vector_pitch();
  }
  /// Of the tiles of a sample, in cache lines of its own: threads take samples in turn.
  std::uint32_t* tile_max(std::int64_t sample) const {
    return reinterpret_cast<std::uint32_t*>(scratch + tile_max_at) + sample * max_pitch();
  }
  std::int64_t max_pitch() const { return (tiles + 15) / 16 * 16; }
  /// Vectors of channels go on for a strip after their period, so that a strip may start anywhere in it.
  std::int64_t vector_pitch() const { return (period + chain_strip + 15) / 16 * 16; }
  /// `which` of a, b, d of a step, repeated; a null vector reads as 1 (a) or 0 (b, d).
  float* vector(std::int64_t step, int which) const {
    return reinterpret_cast<float*>(scratch + vectors_at) + (step * 3 + which) * vector_pitch();
  }
  /// inverse_scale per channel, repeated.
  float* inverse_vector() const { return vector(step_count, 0); }
  char* work(std::int64_t chunk) const { return scratch + work_at + chunk * work_bytes; }
};

/// Throws std::logic_error when the quantize tail asks for integers that its planes cannot hold.
ChainPlan plan_chain(const Chain& chain);
/// Fills vectors, tables and counters of the scratch, before the first chunk.
void prepare_chain(const ChainPlan& plan);
/// Merges what the chunks counted into the results of the chain.
void finish_chain(const ChainPlan& plan, const Chain& chain);

/// Tile `index` of sample `sample`.
ChainTile chain_tile(const ChainPlan& plan, std::int64_t sample, std::int64_t index);

/// First unit of a chunk; units are numbered across samples.
std::int64_t chunk_first_unit(const ChainPlan& plan, std::int64_t chunk);
/// First pixel of a chunk, counted through all samples: chunks are runs of pixels.
std::int64_t chunk_first_pixel(const ChainPlan& plan, std::int64_t chunk);

/// Calls body(tile) for the tiles of a chunk, in order.
template <class Body>
void for_tiles(const ChainPlan& plan, std::int64_t chunk, const Body& body) {
  const std::int64_t end = chunk_first_unit(plan, chunk + 1);
  for (std::int64_t unit = chunk_first_unit(plan, chunk); unit < end; ++unit) {
    const std::int64_t sample = unit / plan.units, first = unit % plan.units * plan.tiles_in_unit;
    const std::int64_t last =
        first + plan.tiles_in_unit < plan.tiles ? first + plan.tiles_in_unit : plan.tiles;
    for (std::int64_t index = first; index < last; ++index) body(chain_tile(plan, sample, index));
  }
}

/// Calls body(block, elements before it) for the blocks of a tile, in order: the same tile with fewer
/// elements.
template <class Body>
void for_blocks(const ChainPlan& plan, const ChainTile& tile, const Body& body) {
  ChainTile block = tile;
  for (std::int64_t done = 0; done < tile.count; done += plan.block) {
    block.first = tile.first + done;
    block.count = tile.count - done < plan.block ? tile.count - done : plan.block;
    body(block, done);
  }
}

/// Positions [first, last) of a plane of `view` (planes: of one phase) that a tile writes: its pixels and the
/// border next to them.
struct PlaneRange {
  std::int64_t first, last;
};
PlaneRange plane_range(const ChainPlan& plan, const View& view, std::int64_t phase, const ChainTile& tile);

/// For planes and quads: where in the tile's integers the pixel of each plane position lies (byte offset from
/// the zero pixel in front of them; 0 is the zero pixel). One table for all samples, phase after phase.
std::int32_t* position_table(const ChainPlan& plan, std::int64_t view);

/// Working memory of one tile and its blocks.
struct ChainWork {
  float* values;
  float* other;           // a step's second tensor that is not FP32 in memory
  std::int8_t* integers;  // planes integer_pitch apart; zero_bytes of zeros lie in front of each
  std::uint16_t* random;  // room for 32 more on each side
  std::uint8_t* bits;
  float* sums;             // sum_v, then sum_vx: `lanes` floats each
  std::int64_t ahead = 0;  // floats from what is quantized to what memory should bring
  ChainWork() = default;
  ChainWork(const ChainPlan& plan, std::int64_t chunk, char* stack);
};

/// Calls body(view index, integers of the tile, target) for every plane of every view of the tail.
template <class Body>
void for_planes(const ChainPlan& plan, const ChainWork& work, const Body& body) {
  for (std::int64_t i = 0; i < plan.view_count; ++i) {
    const std::int64_t stride =
        plan.quantize->stride != 0 ? plan.quantize->stride : plane_stride(plan.views[i]);
    for (int plane = 0; plane < plan.quantize->planes; ++plane)
      body(i, work.integers + plane * plan.integer_pitch,
           static_cast<char*>(plan.targets[i]) + plane * stride);
  }
}

/// One chunk of a chain, per instruction set.
void run_chunk_ref(const ChainPlan& plan, std::int64_t chunk);
void run_chunk_avx2(const ChainPlan& plan, std::int64_t chunk);
void run_chunk_avx512vnni(const ChainPlan& plan, std::int64_t chunk);

std::uint32_t largest_magnitude_avx2(const float* values, std::int64_t count);
std::uint32_t largest_magnitude_avx512vnni(const float* values, std::int64_t count);

/// Quantizes a run of x, at most chain_block_floats elements of one sample, wherever it begins, or without x
/// what lies in the values of `work`; counts in `chunk`. Reads of `work` values and random alone, clears
/// chain_slack bytes behind `out`.
void quantize_run_ref(const ChainPlan& plan, std::int64_t chunk, const ChainTile& run, const ChainWork& work,
                      std::int8_t* out);
void quantize_run_avx2(const ChainPlan& plan, std::int64_t chunk, const ChainTile& run, const ChainWork& work,
                       std::int8_t* out);
void quantize_run_avx512vnni(const ChainPlan& plan, std::int64_t chunk, const ChainTile& run,
                             const ChainWork& work, std::int8_t* out);

/// The same of x by `plain` and of x times `factor` by `product` while the values are in registers. Both
/// plans are of FP32 x, one plane, to the nearest; `plain` has no scales per channel and `product` has;
/// channels and runs are whole strips.
struct QuantizeTwice {
  const ChainPlan &plain, &product;
  std::int64_t chunk;
  float factor;
  std::int64_t ahead;  // as in ChainWork
  std::int8_t *plain_out, *product_out;
};
void quantize_twice_avx2(const QuantizeTwice& args, const ChainTile& run);
void quantize_twice_avx512vnni(const QuantizeTwice& args, const ChainTile& run);

}  // namespace octavo::kernels
