// Sums by channel of what a forward product stores, taken while it stores: the lanes of the pieces that
// chain_sums.h cuts a tensor into, so that batch norm need not read it for them.
#pragma once

#include "chain_sums.h"

namespace octavo::kernels::cuda {

/// Of u = y - pivot, y as it lies in memory: sums of u and of u u for each lane of each piece of pixels.
struct ResultSums {
  const float* minus_pivot = nullptr;  // per channel
  float* lane_sums = nullptr;          // [piece][lane][u, u u][channel]; null: no sums
  int piece = 1, lanes = 1, channels = 1;

  OCTAVO_HD constexpr std::int64_t at(std::int64_t index, int lane, int which) const {
    return ((index * lanes + lane) * 2 + which) * channels;
  }
};

/// Pixels of every piece of a tensor but its last one, or 0 where pieces differ.
OCTAVO_HD constexpr int even_piece(const SumsWalk& walk) {
  const int piece = smaller(walk.piece, walk.tile);
  const bool even_tiles = walk.line_tiles() == 1 || walk.tile % piece == 0;
  const bool one_line = walk.images * std::int64_t{walk.image_lines} == 1;
  return even_tiles && (one_line || walk.line % piece == 0) ? piece : 0;
}

}  // namespace octavo::kernels::cuda
