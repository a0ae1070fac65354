// Sums by channel in the structure of the CPU, which sizes alone decide (kernels/chain_plan.h): FP32 in lanes
// of every P-th pixel of a piece of about 2048 floats, the lanes added in order, FP64 over the pieces of a
// chunk and over chunks. Sums are therefore bit-equal to the CPU's.
#pragma once

#include "chain_tiles.h"

namespace octavo::kernels::cuda {

/// Pixels in memory order are cut into lines, these into tiles, these into pieces.
struct SumsWalk {
  int line = 0, tile = 0, piece = 0;  // pixels, at most
  int lanes = 1;                      // pixel p of a piece is added in lane p % lanes
  int image_lines = 1;                // rows of an image, or one line for all
  int image_units = 1, unit_tiles = 1;
  int images = 1, chunks = 1;
  int slots = 1;  // segments of a pixel in a block

  OCTAVO_HD constexpr int tile_pieces() const { return static_cast<int>(ceil_div(tile, piece)); }
  OCTAVO_HD constexpr int line_tiles() const { return static_cast<int>(ceil_div(line, tile)); }
  OCTAVO_HD constexpr std::int64_t line_pieces() const {
    return std::int64_t{line / tile} * tile_pieces() + ceil_div(line % tile, piece);
  }
  /// The first piece of a chunk, counted over the tensor.
  OCTAVO_HD constexpr std::int64_t first_piece(int chunk) const {
    const std::int64_t units = std::int64_t{images} * image_units;
    const std::int64_t unit = units / chunks * chunk + smaller(chunk, units % chunks);
    const std::int64_t image_tile = unit % image_units * unit_tiles;
    const std::int64_t at = unit / image_units * image_lines + image_tile / line_tiles();
    return at * line_pieces() + image_tile % line_tiles() * tile_pieces();
  }
  /// Its pixels, counted over the tensor.
  struct Pixels {
    int first, end;
  };
  OCTAVO_HD constexpr Pixels pixels(std::int64_t index) const {
    const std::int64_t start = index / line_pieces() * line;
    const int inner = static_cast<int>(index % line_pieces()), of_tile = inner / tile_pieces();
    const std::int64_t first = std::int64_t{of_tile} * tile + std::int64_t{inner % tile_pieces()} * piece;
    const int tile_end = smaller((of_tile + std::int64_t{1}) * tile, line);
    return {static_cast<int>(start + first), static_cast<int>(start + smaller(first + piece, tile_end))};
  }

  /// Pieces that a block takes at a time: a thread takes a lane of a segment.
  OCTAVO_HD constexpr int round_pieces() const { return chain_threads / (slots * lanes); }
  OCTAVO_HD constexpr int slot_tiles(const ImageLayout& l) const {
    return static_cast<int>(ceil_div(pixel_slots(l), slots));
  }
};

/// A thread's segment, piece of a round and lane; none where `piece` is beyond the round.
struct SumsShare {
  int slot, piece, lane;
};
OCTAVO_HD constexpr SumsShare sums_share(const SumsWalk& walk, int thread) {
  const int line = thread / walk.slots;
  return {thread % walk.slots, line / walk.lanes, line % walk.lanes};
}

/// FP32 sums of the lanes of a round lie in shared memory, threads an odd number of floats apart: no two
/// threads of a warp meet in a bank.
constexpr int sums_pitch = segment_bytes + 1;
OCTAVO_HD constexpr int sums_float(const SumsWalk& walk, int piece, int lane, int place) {
  const int thread = (piece * walk.lanes + lane) * walk.slots + place / segment_bytes;
  return thread * sums_pitch + place % segment_bytes;
}

/// The lanes of a piece, in order.
OCTAVO_HD constexpr float sum_of_lanes(const SumsWalk& walk, const float* lanes, int piece, int place) {
  float total = 0;
  for (int lane = 0; lane < walk.lanes; ++lane) total += lanes[sums_float(walk, piece, lane, place)];
  return total;
}

}  // namespace octavo::kernels::cuda
