// How the tensor memory accelerator (sm_90a) fills stages: a step is 64 or 128 bytes of one tap, whose rows
// of A and of B are boxes of tensors in memory. What lies outside of a tensor arrives as zeros: padding of
// images, rows and filters beyond the last, and the end of a tap that does not fill its last step.
//
//   im2col   A = X or G [n][h][w][c16], one box of so many rows from a pixel on: forward and grad_input
//   tiled    A = X [c][h][w][n16], boxes of channels at one pixel: grad_weight; or, flat, a matrix of rows
//   B        [filter][tap][c16 or n16], one box of filters at one tap
//
// Two blocks of a cluster have tiles of rows below each other and the same filters: each asks for half of
// them, for both.
//
// A box of A may go on into the next group of channels, and one of B into the next group of filters: what is
// read there meets zeros of B, or belongs to results that nobody stores.
#pragma once

#include "implicit_gemm.h"

namespace octavo::kernels::cuda {

/// Of a plan; step_bytes is 0 where threads copy.
struct TmaSteps {
  int step_bytes = 0;
  bool im2col = false;
  bool flat = false;  // all taps are one: rows of A and filters lie in memory as the rows of two matrices
  int blocks = 1;     // steps of a tap
  int box_rows = 0;   // rows of A that arrive at once
  int cluster = 1;    // blocks that share filters

  OCTAVO_HD constexpr int segments() const { return step_bytes / segment_bytes; }
};

/// Classes of pixels that a launch has tensor maps of A for: strides of two along both axes.
constexpr int most_tma_classes = 4;
/// Whether a class has rows and reads A at all.
OCTAVO_HD constexpr bool is_read(const ImplicitGemm& g, const GemmClass& c) {
  return c.rows(g) > 0 && c.h.taps * c.w.taps > 0;
}

/// Segments of a tap as TMA sees them.
OCTAVO_HD constexpr std::int64_t tap_segments(const ImplicitGemm& g, bool flat) {
  return flat ? std::int64_t{g.h.taps} * g.w.taps * g.segments : g.segments;
}

/// A class whose contraction is counted in steps: a Cursor's segment is then the step of its tap.
OCTAVO_HD constexpr GemmClass tma_class(const ImplicitGemm& g, const TmaSteps& t, int which) {
  GemmClass c = gemm_class(g, which);
  if (t.flat) c.h.taps = c.w.taps = 1;
  c.segments = t.blocks;
  return c;
}
OCTAVO_HD constexpr int tma_steps(const GemmClass& c) { return c.h.taps * c.w.taps * c.segments; }

/// im2col along one axis: rows read pixel base + offset(tap), where bases run from `lower` to the last pixel
/// of the image plus `upper`, and offsets are not negative.
struct Im2colAxis {
  int lower, upper;
};
OCTAVO_HD constexpr int im2col_offset(const AxisClass& axis, int tap) {
  return axis.in_tap < 0 ? (axis.taps - 1 - tap) * -axis.in_tap : tap * axis.in_tap;
}
OCTAVO_HD constexpr Im2colAxis im2col_axis(const AxisClass& axis, int in) {
  const int lower = axis.in_first + (axis.in_tap < 0 ? (axis.taps - 1) * axis.in_tap : 0);
  return {lower, lower + (axis.size - 1) * axis.in_step + 1 - in};
}

/// Where a box of A begins: its first row's pixel at the tap that has offset 0, and its image.
struct BoxStart {
  int w, h, image;
};
OCTAVO_HD constexpr BoxStart box_start(const ImplicitGemm& g, const TmaSteps& t, const GemmClass& c,
                                       int group, std::int64_t row) {
  if (t.flat) return {0, 0, static_cast<int>(row)};
  const RowPixel p = row_pixel(g, c, row);
  if (t.im2col)
    return {im2col_axis(c.w, g.w.in).lower + p.j * c.w.in_step,
            im2col_axis(c.h, g.h.in).lower + p.i * c.h.in_step, p.image};
  return {p.j * c.w.in_step + c.w.in_first, p.i * c.h.in_step + c.h.in_first, group * g.images + p.image};
}
/// The tile of a block: clusters lie as single tiles do, and the last block of one may have no rows.
OCTAVO_HD constexpr TileGrid cluster_grid(const TileGrid& grid, int cluster) {
  return {static_cast<int>(ceil_div(grid.m_tiles, cluster)), grid.n_tiles, grid.classes, grid.groups};
}
OCTAVO_HD constexpr TileAt cluster_tile(const TileGrid& grid, int cluster, std::int64_t block) {
  TileAt at = tile_at(cluster_grid(grid, cluster), block / cluster);
  at.m = at.m * cluster + static_cast<int>(block % cluster);
  return at;
}

/// A tile of a block and the part of its contraction.
struct TileTurn {
  TileAt at;
  int split;
};
/// Tiles of all clusters, part after part, are numbered in the order that blocks of a grid would have:
/// number i is for cluster i % (those of the launch), so that those which run together share operands in L2.
OCTAVO_HD constexpr std::int64_t cluster_turns(const TileGrid& grid, int cluster, int splits) {
  return cluster_grid(grid, cluster).blocks() * splits;
}
/// Turn number `turn`, for block `rank` of its cluster.
OCTAVO_HD constexpr TileTurn tile_turn(const TileGrid& grid, int cluster, int turn, int rank) {
  const int tiles = static_cast<int>(cluster_grid(grid, cluster).blocks());
  return {cluster_tile(grid, cluster, std::int64_t{turn % tiles} * cluster + rank), turn / tiles};
}

/// Boxes of a tile with `rows` rows left, `most` at most: those beyond are not read.
OCTAVO_HD constexpr int tile_boxes(const TmaSteps& t, std::int64_t rows, int most) {
  return rows <= 0 ? 0 : static_cast<int>(ceil_div(rows < most ? rows : most, t.box_rows));
}

/// Coordinates of a box, innermost first.
struct BoxAt {
  int channel, w, h, image;
  int offset_w, offset_h;  // im2col
};
OCTAVO_HD constexpr BoxAt a_box(const ImplicitGemm& g, const TmaSteps& t, const GemmClass& c, int group,
                                const BoxStart& start, const Cursor& at) {
  const int channel = at.segment * t.step_bytes;
  if (t.im2col)
    return {channel + group * g.a_group * segment_bytes,
            start.w,
            start.h,
            start.image,
            im2col_offset(c.w, at.tap_w),
            im2col_offset(c.h, at.tap_h)};
  return {channel, start.w + at.tap_w * c.w.in_tap, start.h + at.tap_h * c.h.in_tap, start.image, 0, 0};
}
struct FilterBoxAt {
  int channel, tap, filter;
};
OCTAVO_HD constexpr FilterBoxAt b_box(const ImplicitGemm& g, const TmaSteps& t, const GemmClass& c, int group,
                                      int filter, const Cursor& at) {
  const int tap =
      (c.h.tap_first + at.tap_h * c.h.tap_step) * g.w.taps + c.w.tap_first + at.tap_w * c.w.tap_step;
  return {at.segment * t.step_bytes, t.flat ? 0 : tap, group * g.filters + filter};
}

/// A stage and how often it was used before, as one bit: a barrier's phases alternate.
struct StageAt {
  int stage = 0, phase = 0;
  OCTAVO_HD constexpr void advance(int stages) {
    if (++stage == stages) stage = 0, phase ^= 1;
  }
};

/// What a tensor map says: `rank` sizes in bytes or counts, innermost first, distances in bytes of all but
/// the innermost, and the box; with im2col corners of (w, h), and steps between pixels.
struct TensorShape {
  int rank;
  std::uint64_t size[4], distance[3];
  std::uint32_t box[4], step[4];
  bool im2col;
  int lower[2], upper[2];  // then box[0] channels of box[1] pixels
};

OCTAVO_HD constexpr TensorShape a_tensor(const ImplicitGemm& g, const TmaSteps& t, int which) {
  const auto unit = [](std::int64_t segments) {
    return static_cast<std::uint64_t>(segments * segment_bytes);
  };
  const auto rows = static_cast<std::uint32_t>(t.box_rows), bytes = static_cast<std::uint32_t>(t.step_bytes);
  if (t.flat) {
    const std::uint64_t line = unit(tap_segments(g, true));
    return {4,
            {line, 1, 1, static_cast<std::uint64_t>(g.class_rows)},
            {line, line, line},
            {bytes, 1, 1, rows},
            {1, 1, 1, 1},
            false,
            {},
            {}};
  }
  const auto width = static_cast<std::uint64_t>(g.w.in), height = static_cast<std::uint64_t>(g.h.in);
  const auto images = static_cast<std::uint64_t>(g.images);
  if (!t.im2col)
    return {4,
            {unit(g.segments), width, height, images * static_cast<std::uint64_t>(g.groups)},
            {unit(g.a_pixel), unit(g.a_row), unit(g.a_image)},
            {bytes, 1, 1, rows},
            {1, 1, 1, 1},
            false,
            {},
            {}};
  const GemmClass c = gemm_class(g, which);
  const Im2colAxis w = im2col_axis(c.w, g.w.in), h = im2col_axis(c.h, g.h.in);
  return {4,
          {unit(g.a_pixel), width, height, images},
          {unit(g.a_pixel), unit(g.a_row), unit(g.a_image)},
          {bytes, rows},
          {1, static_cast<std::uint32_t>(c.w.in_step), static_cast<std::uint32_t>(c.h.in_step), 1},
          true,
          {w.lower, h.lower},
          {w.upper, h.upper}};
}
OCTAVO_HD constexpr TensorShape b_tensor(const ImplicitGemm& g, const TmaSteps& t, int columns) {
  const auto line = static_cast<std::uint64_t>(tap_segments(g, t.flat) * segment_bytes);
  const auto filters = static_cast<std::uint64_t>(g.filters) * static_cast<std::uint64_t>(g.groups);
  const std::uint64_t taps =
      t.flat ? 1 : static_cast<std::uint64_t>(g.h.taps) * static_cast<std::uint64_t>(g.w.taps);
  return {3,
          {line, taps, filters},
          {line, line * taps},
          {static_cast<std::uint32_t>(t.step_bytes), 1, static_cast<std::uint32_t>(columns)},
          {1, 1, 1},
          false,
          {},
          {}};
}

}  // namespace octavo::kernels::cuda
