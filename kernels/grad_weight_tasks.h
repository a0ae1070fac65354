// How the results of the tiled weight gradient are cut into tiles and tasks.
#pragma once

#include <cstdint>
#include <vector>

namespace octavo::kernels {

/// Rows of the result, (tap, input channel), that one tile covers.
struct RowTile {
  std::int64_t begin, rows;
};

/// Tiles [tile_begin, tile_end) of one panel over the blocks of one part.
struct GradWeightTask {
  std::int64_t group, panel, tile_begin, tile_end, part;
};

/// Whether tiles of at most `most` rows have one tap each.
constexpr bool one_tap_tiles(std::int64_t inputs, std::int64_t most) { return inputs >= 2 * most; }

/// Tiles of at most `most` rows. Many channels: a tile is several channels at one tap, and the taps of these
/// channels follow each other, so that their planes stay in the L1 cache. Few channels: tiles run on over
/// taps.
std::vector<RowTile> make_row_tiles(std::int64_t taps, std::int64_t inputs, std::int64_t most);

/// Tasks over all tiles; `parts` becomes the number of parts of the `blocks` blocks.
std::vector<GradWeightTask> make_tasks(std::int64_t groups, std::int64_t panels, std::int64_t tiles,
                                       std::int64_t blocks, std::int64_t& parts);

}  // namespace octavo::kernels
