// A thread block's tile of the product, and where its operands lie in shared memory.
#pragma once

#include "wgmma_s8.h"

namespace octavo::kernels::cuda {

/// Sizes of a block: m x n results from its warps, m_warps x n_warps of them; k_bytes of the contraction at a
/// time. Shared memory holds `stages` of such steps, first the rows of A, then those of B.
template <int tile_m, int tile_n, int m_warps, int n_warps>
struct Tile {
  static constexpr int m = tile_m, n = tile_n, warps_m = m_warps, warps_n = n_warps;
  static constexpr int threads = 32 * warps_m * warps_n;
  static constexpr int k_bytes = 64, row_segments = k_bytes / segment_bytes,
                       k_steps = k_bytes / MmaM16N8K32::k;
  static constexpr int warp_m = m / warps_m, warp_n = n / warps_n;
  static constexpr int m_fragments = warp_m / MmaM16N8K32::m, n_fragments = warp_n / MmaM16N8K32::n;
  static constexpr int a_bytes = m * k_bytes, stage_bytes = (m + n) * k_bytes;
  /// Rows that all threads copy at once, one segment each; a thread then takes every such row.
  static constexpr int copy_rows = threads / row_segments;
  static constexpr int a_copies = m / copy_rows, b_copies = n / copy_rows;
  static_assert(m % copy_rows == 0 && n % copy_rows == 0, "every thread copies whole rows' shares");
  static_assert(warp_m % 16 == 0 && warp_n % 16 == 0, "B is loaded in pairs of fragments");
  /// Rows of a warp that wait in shared memory at a time, and stages that there are at least to wait in.
  static constexpr int turn_rows = warp_m < 32 ? warp_m : 32, least_stages = 2;
  static constexpr int helpers = 0;  // threads of the block beyond those of the tile
};

/// For wgmma: each warp has sixteen rows and all columns, which is how four of them hold what they multiply.
template <int tile_m, int tile_n>
struct WarpgroupTile : Tile<tile_m, tile_n, tile_m / 16, 1> {
  static constexpr int least_stages = 6, groups = tile_m / WgmmaM64K32::m;
  static_assert(tile_m % WgmmaM64K32::m == 0, "whole warpgroups");
};

/// For wgmma with stages that TMA fills, from one more warp: rows of `step` bytes, 64 or 128. As many stages
/// as leave room for two blocks of 96 KiB on a multiprocessor, three of 64, or one of 192 (128 x 256).
template <int tile_m, int tile_n, int step>
struct TmaTile : WarpgroupTile<tile_m, tile_n> {
  static constexpr int k_bytes = step, k_steps = step / WgmmaM64K32::k;
  static constexpr int a_bytes = tile_m * step, b_bytes = tile_n * step;
  /// 32 columns of results wait in one stage (128 x 64 with 64 bytes leaves a quarter of it unused).
  static constexpr int least_bytes = tile_m * 32 * 4, operand_bytes = a_bytes + b_bytes;
  static constexpr int stage_bytes = operand_bytes < least_bytes ? least_bytes : operand_bytes;
  static constexpr int blocks = tile_n > 128 ? 1 : tile_m > 64 ? 2 : 3;
  static constexpr int least_stages = 192 * 1024 / blocks / stage_bytes, helpers = 32;
  /// Behind the stages lie two barriers for each, then, of 16 bytes each, where rows of results begin in two
  /// buffers, where boxes of A begin, and a note of each warp.
  static constexpr int most_boxes = tile_m / 16, barriers_at = least_stages * stage_bytes,
                       rows_at = barriers_at + least_stages * 2 * 8, boxes_at = rows_at + 2 * tile_m * 16,
                       notes_at = boxes_at + most_boxes * 16, shared_bytes = notes_at + tile_m / 16 * 16;
};

/// The columns of a tile of TmaTile that wait at once, in one of its stages: 64, or 32.
template <class Shape>
struct WaitingColumns : Shape {
  static constexpr int n = Shape::m * 64 * 4 <= Shape::stage_bytes ? 64 : 32, warp_n = n;
  static constexpr int n_fragments = n / MmaM16N8K32::n, least_stages = 1, slices = Shape::n / n;
};

using WideTile = Tile<128, 128, 2, 2>;
using NarrowTile = Tile<128, 64, 2, 2>;
using SmallTile = Tile<64, 64, 2, 2>;
using BroadGroups = WarpgroupTile<128, 256>;
using WideGroups = WarpgroupTile<128, 128>;
using NarrowGroups = WarpgroupTile<128, 64>;
using SmallGroups = WarpgroupTile<64, 64>;

constexpr int async_stages = 3;     // sm_80: copies run two steps ahead
constexpr int register_stages = 2;  // sm_75: the next step waits in registers
/// sm_90a: copies run four steps ahead, while products read two. Two blocks of the wide tile have room.
constexpr int warpgroup_stages = 6;
static_assert(WideTile::least_stages == register_stages && WideGroups::least_stages == warpgroup_stages);

/// Byte of a segment in its tile. Rows are 64 bytes, two to a line of all banks; the exclusive or puts the
/// same segment of eight consecutive rows into eight different groups of banks.
OCTAVO_HD constexpr int swizzled(int row, int segment) {
  return row * 64 + (segment ^ (row >> 1 & 3)) * segment_bytes;
}

/// The pattern repeats every eight rows: swizzled(row + 8 i, segment) = swizzled(row, segment) + 8 i * 64.
/// The kernels compute the address of one row and step from it.
constexpr int row_bytes = 64;

struct TilePlace {
  int row, segment;
};

/// What thread `thread` copies as its copy number i.
template <class Shape>
OCTAVO_HD constexpr TilePlace copy_place(int thread, int i) {
  return {thread / Shape::row_segments + i * Shape::copy_rows, thread % Shape::row_segments};
}

/// ldmatrix.x4: the segment that `lane` addresses. Matrix lane / 8 of eight rows becomes register lane / 8,
/// whose lane l holds bytes l % 4 * 4.. of row l / 4. A: the four registers of one fragment at `row`.
OCTAVO_HD constexpr TilePlace a_matrix_place(int lane, int row, int k_step) {
  return {row + lane % 8 + lane / 8 % 2 * 8, k_step * 2 + lane / 16};
}
/// B: the two registers of the fragment at `row`, then those of the next.
OCTAVO_HD constexpr TilePlace b_matrix_place(int lane, int row, int k_step) {
  return {row + lane % 8 + lane / 16 * 8, k_step * 2 + lane / 8 % 2};
}

/// Results wait in shared memory to be stored, turn_rows of each row of warps at a time.
template <class Shape>
constexpr int waiting_rows = Shape::warps_m* Shape::turn_rows;
/// The row of the tile that waits at row `place` in turn number `turn`.
template <class Shape>
OCTAVO_HD constexpr int waiting_row(int place, int turn) {
  return place / Shape::turn_rows * Shape::warp_m + turn * Shape::turn_rows + place % Shape::turn_rows;
}
/// Word of a result that waits. The exclusive or puts what a warp writes as fragments, a column of 32 rows
/// and a row of 32 columns each into 32 banks.
template <class Shape>
OCTAVO_HD constexpr int result_word(int place, int column) {
  static_assert(waiting_rows<Shape> * Shape::n * 4 <= Shape::least_stages * Shape::stage_bytes,
                "fits the stages");
  return place * Shape::n + (column ^ ((place & 3) << 3 | (place >> 2 & 7)));
}

/// First row of A and of B of a warp.
template <class Shape>
OCTAVO_HD constexpr int warp_row(int warp) {
  return warp / Shape::warps_n * Shape::warp_m;
}
template <class Shape>
OCTAVO_HD constexpr int warp_column(int warp) {
  return warp % Shape::warps_n * Shape::warp_n;
}

}  // namespace octavo::kernels::cuda
