// The three products of a convolution as one: rows are output pixels of an image operand A, columns are
// filters B, and both lie in memory with 16-byte segments of the contraction. No column matrix is made.
//
//   forward      A = X [n][h][w][c16]     B = W [k][r][s][c16]
//   grad_input   A = G [n][ho][wo][k16]   B = W [c][r][s][k16]    by remainders of the pixel by the stride
//   grad_weight  A = X [c][h][w][n16]     B = G [k][ho][wo][n16]
//
// grad_weight is a forward convolution too: of "images" c with "channels" n, by filters G of ho x wo taps
// that lie `stride` apart, its output r x s pixels `dilation` apart. (16: padded with zeros to a multiple,
// per group.)
#pragma once

#include "host_device.h"

namespace octavo::kernels::cuda {

/// One image axis of a product. Plain: output o and tap t read pixel o * stride + t * dilation - pad.
/// Transposed (grad_input): output o and tap t read pixel p with p * stride + t * dilation - pad = o.
struct Axis {
  int in = 1, out = 1, taps = 1, stride = 1, pad = 0, dilation = 1;
  bool transposed = false;
  int divisor = 1;  // transposed: greatest common divisor of stride and dilation

  OCTAVO_HD constexpr int classes() const { return transposed ? stride : 1; }
};

/// Outputs first + i * step, i < size, read pixel i * in_step + in_first + t * in_tap at their tap number t,
/// which is tap tap_first + t * tap_step of the filter.
struct AxisClass {
  int first, step, size, in_step, in_first, in_tap, taps, tap_first, tap_step;
};

OCTAVO_HD constexpr AxisClass axis_class(const Axis& axis, int which) {
  if (!axis.transposed) return {0, 1, axis.out, axis.stride, -axis.pad, axis.dilation, axis.taps, 0, 1};
  const int size = which < axis.out ? (axis.out - which - 1) / axis.stride + 1 : 0;
  const int tap_step = axis.stride / axis.divisor;
  int tap = 0;
  while (tap < tap_step && (which + axis.pad - tap * axis.dilation) % axis.stride != 0) ++tap;
  const int taps = tap < tap_step && tap < axis.taps ? (axis.taps - tap - 1) / tap_step + 1 : 0;
  return {which,
          axis.stride,
          size,
          1,
          (which + axis.pad - tap * axis.dilation) / axis.stride,
          -(axis.dilation / axis.divisor),
          taps,
          tap,
          tap_step};
}

/// Sizes and distances of a product. Bytes of operands, elements of results.
struct ImplicitGemm {
  Axis h, w;
  int images = 1, filters = 1, groups = 1;  // images: the outermost index of rows; both per group
  int segments = 1;                         // of one tap
  std::int64_t a_image = 0, a_group = 0, b_filter = 0, b_group = 0;
  int a_row = 0, a_pixel = 0, b_tap = 0;
  std::int64_t out_image = 0, out_row = 0, out_pixel = 0, out_filter = 0, out_group = 0;
  int a_scale_group = 0, b_scale_group = 0;  // scales from a group to the next; rows take that of their image
  int splits = 1, split_steps = 1;           // parts of the contraction, and steps of 64 bytes in each
  std::int64_t class_rows = 0;               // of the largest class

  OCTAVO_HD constexpr int classes() const { return h.classes() * w.classes(); }
};

/// The rows of one class of outputs, and its taps.
struct GemmClass {
  AxisClass h, w;
  OCTAVO_HD constexpr std::int64_t rows(const ImplicitGemm& g) const {
    return std::int64_t{g.images} * h.size * w.size;
  }
  OCTAVO_HD constexpr int steps(const ImplicitGemm& g) const {
    return static_cast<int>(ceil_div(std::int64_t{h.taps} * w.taps * g.segments, 4));
  }
};
OCTAVO_HD constexpr GemmClass gemm_class(const ImplicitGemm& g, int which) {
  return {axis_class(g.h, which / g.w.classes()), axis_class(g.w, which % g.w.classes())};
}

struct RowPixel {
  int image, i, j;
};
OCTAVO_HD constexpr RowPixel row_pixel(const GemmClass& c, std::int64_t row) {
  const auto index = static_cast<std::uint32_t>(row);  // plans keep rows below 2^31
  const auto width = static_cast<std::uint32_t>(c.w.size), height = static_cast<std::uint32_t>(c.h.size);
  const std::uint32_t line = index / width;
  return {static_cast<int>(line / height), static_cast<int>(line % height), static_cast<int>(index % width)};
}

/// Where a row of A begins: the pixel of tap 0 at (h, w), perhaps outside, `offset` bytes from the operand.
struct RowStart {
  std::int64_t offset;
  int h, w;
};
constexpr int no_row = -(1 << 30);  // as h: every tap of it is outside

OCTAVO_HD constexpr RowStart row_start(const ImplicitGemm& g, const GemmClass& c, int group,
                                       std::int64_t row) {
  if (row >= c.rows(g)) return {0, no_row, 0};
  const RowPixel p = row_pixel(c, row);
  const int h = p.i * c.h.in_step + c.h.in_first, w = p.j * c.w.in_step + c.w.in_first;
  return {group * g.a_group + p.image * g.a_image + std::int64_t{h} * g.a_row + std::int64_t{w} * g.a_pixel,
          h, w};
}

/// A place in the contraction: a segment of a tap of the class.
struct Cursor {
  int segment, tap_w, tap_h;
};
OCTAVO_HD constexpr Cursor cursor_at(const ImplicitGemm& g, const GemmClass& c, std::int64_t index) {
  const int taps_w = c.w.taps > 0 ? c.w.taps : 1, tap = static_cast<int>(index / g.segments);
  return {static_cast<int>(index % g.segments), tap % taps_w, tap / taps_w};
}
OCTAVO_HD constexpr void advance(const ImplicitGemm& g, const GemmClass& c, Cursor& at, int by) {
  at.segment += by;
  while (at.segment >= g.segments) {
    at.segment -= g.segments;
    if (++at.tap_w >= c.w.taps) at.tap_w = 0, ++at.tap_h;
  }
}

constexpr std::int64_t zeros = -1;  // as an offset: the segment is outside and reads as zeros

/// Bytes from the start of A to a segment of a row.
OCTAVO_HD constexpr std::int64_t a_offset(const ImplicitGemm& g, const GemmClass& c, const RowStart& row,
                                          const Cursor& at) {
  const int dh = at.tap_h * c.h.in_tap, dw = at.tap_w * c.w.in_tap;
  const bool inside = at.tap_h < c.h.taps && c.w.taps > 0 &&
                      static_cast<unsigned>(row.h + dh) < static_cast<unsigned>(g.h.in) &&
                      static_cast<unsigned>(row.w + dw) < static_cast<unsigned>(g.w.in);
  return inside ? row.offset + (dh * g.a_row + dw * g.a_pixel + at.segment * segment_bytes) : zeros;
}

/// Bytes from the start of B to a segment of filter `filter` of the group.
OCTAVO_HD constexpr std::int64_t b_offset(const ImplicitGemm& g, const GemmClass& c, int group,
                                          std::int64_t filter, const Cursor& at) {
  if (filter >= g.filters || at.tap_h >= c.h.taps || c.w.taps == 0) return zeros;
  const int tap =
      (c.h.tap_first + at.tap_h * c.h.tap_step) * g.w.taps + c.w.tap_first + at.tap_w * c.w.tap_step;
  return group * g.b_group + filter * g.b_filter + (tap * g.b_tap + at.segment * segment_bytes);
}

/// Of a row of results: the element of its column 0, and its scale of A.
struct RowResult {
  std::int64_t element;
  int a_scale;
};
OCTAVO_HD constexpr RowResult row_result(const ImplicitGemm& g, const GemmClass& c, int group,
                                         std::int64_t row) {
  const RowPixel p = row_pixel(c, row);
  return {group * g.out_group + p.image * g.out_image + (c.h.first + p.i * c.h.step) * g.out_row +
              (c.w.first + p.j * c.w.step) * g.out_pixel,
          group * g.a_scale_group + p.image};
}

/// Index of a partial sum: part by part, then groups, classes, rows, filters.
OCTAVO_HD constexpr std::int64_t part_index(const ImplicitGemm& g, int part, int group, int which,
                                            std::int64_t row, int filter) {
  return (((std::int64_t{part} * g.groups + group) * g.classes() + which) * g.class_rows + row) * g.filters +
         filter;
}
OCTAVO_HD constexpr std::int64_t part_size(const ImplicitGemm& g) { return part_index(g, 1, 0, 0, 0, 0); }

/// The inverse, of part 0.
struct PartPlace {
  int group, which, filter;
  std::int64_t row;
};
OCTAVO_HD constexpr PartPlace part_place(const ImplicitGemm& g, std::int64_t index) {
  const std::int64_t line = index / g.filters, outer = line / g.class_rows;
  return {static_cast<int>(outer / g.classes()), static_cast<int>(outer % g.classes()),
          static_cast<int>(index % g.filters), line % g.class_rows};
}

/// A part is a piece of the contraction of one pair of planes; its sum counts 256^(a_plane + b_plane).
struct PartAt {
  int split, a_plane, b_plane;
};
OCTAVO_HD constexpr PartAt part_at(const ImplicitGemm& g, int b_planes, int part) {
  return {part % g.splits, part / g.splits / b_planes, part / g.splits % b_planes};
}

/// What one block computes. Blocks run down bands of eight tiles of rows before the next column, so that
/// blocks that run together share both operands in the L2 cache.
struct TileGrid {
  int m_tiles, n_tiles, classes, groups;
  OCTAVO_HD constexpr std::int64_t blocks() const {
    return std::int64_t{m_tiles} * n_tiles * classes * groups;
  }
};
struct TileAt {
  int m, n, which, group;
};
constexpr int band_tiles = 8;
OCTAVO_HD constexpr TileAt tile_at(const TileGrid& grid, std::int64_t block) {
  const std::int64_t plane = std::int64_t{grid.m_tiles} * grid.n_tiles;
  const int outer = static_cast<int>(block / plane), inner = static_cast<int>(block % plane);
  const int band = inner / (band_tiles * grid.n_tiles), first = band * band_tiles;
  const int height = grid.m_tiles - first < band_tiles ? grid.m_tiles - first : band_tiles;
  const int at = inner - first * grid.n_tiles;
  return {first + at % height, at / height, outer % grid.classes, outer / grid.classes};
}

}  // namespace octavo::kernels::cuda
