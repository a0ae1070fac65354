// The three products of a convolution as one: rows are output pixels of an image operand A, columns are
// filters B, and both lie in memory with 16-byte segments of the contraction. No column matrix is made.
//
//   forward      A = X [n][h][w][c16]     B = W [k][r][s][c16]
//   grad_input   A = G [n][ho][wo][k16]   B = W [c][r][s][k16]    by remainders of the pixel by the stride
//   grad_weight  A = X [c][h][w][n16]     B = G [k][ho][wo][n16]
//
// grad_weight is a forward convolution too: of "images" c with "channels" n, by filters G of ho x wo taps
// that lie `stride` apart, its output r x s pixels `dilation` apart. Its rows have the channel innermost, as
// the result has. (16: padded with zeros to a multiple, per group.)
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

OCTAVO_HD constexpr AxisClass plain_class(const Axis& axis) {
  return {0, 1, axis.out, axis.stride, -axis.pad, axis.dilation, axis.taps, 0, 1};
}
OCTAVO_HD constexpr AxisClass axis_class(const Axis& axis, int which) {
  if (!axis.transposed) return plain_class(axis);
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

/// Sizes and distances of a product. Of operands in segments, so that 32 bits hold any offset; of results in
/// elements.
struct ImplicitGemm {
  Axis h, w;
  int images = 1, filters = 1, groups = 1;  // images: one of the indices of rows; both per group
  bool images_inside = false;               // of rows: the image is the innermost index, else the outermost
  int segments = 1;                         // of one tap
  int a_image = 0, a_group = 0, a_row = 0, a_pixel = 0, b_filter = 0, b_group = 0, b_tap = 0;
  std::int64_t out_image = 0, out_row = 0, out_pixel = 0, out_filter = 0, out_group = 0, results = 0;
  int a_scale_group = 0, b_scale_group = 0;  // scales from a group to the next; rows take that of their image
  int splits = 1, split_steps = 1;           // parts of the contraction, and steps of 64 bytes in each
  int most_steps = 1;                        // that an int32 sum holds
  int sums = 1;                              // int32 sums of a result and a pair of planes: see class_steps.h
  std::int64_t class_rows = 0;               // of the largest class

  OCTAVO_HD constexpr int classes() const { return h.classes() * w.classes(); }
};

constexpr int step_segments = 4;  // 64 bytes
OCTAVO_HD constexpr int contraction_steps(std::int64_t taps, int segments) {
  return static_cast<int>(ceil_div(taps * segments, step_segments));
}

/// The rows of one class of outputs, and its contraction: taps, and at each `segments` segments from `first`
/// on.
struct GemmClass {
  AxisClass h, w;
  int segments, first;
  OCTAVO_HD constexpr std::int64_t rows(const ImplicitGemm& g) const {
    return std::int64_t{g.images} * h.size * w.size;
  }
  OCTAVO_HD constexpr int steps() const { return contraction_steps(std::int64_t{h.taps} * w.taps, segments); }
};
OCTAVO_HD constexpr GemmClass gemm_class(const ImplicitGemm& g, int which) {
  return {axis_class(g.h, which / g.w.classes()), axis_class(g.w, which % g.w.classes()), g.segments, 0};
}

/// The one of a weight gradient, said without a branch.
OCTAVO_HD constexpr GemmClass plain_gemm_class(const ImplicitGemm& g) {
  return {plain_class(g.h), plain_class(g.w), g.segments, 0};
}

struct RowPixel {
  int image, i, j;
};
OCTAVO_HD constexpr RowPixel row_pixel(const ImplicitGemm& g, const GemmClass& c, std::int64_t row) {
  const auto index = static_cast<std::uint32_t>(row);  // plans keep rows below 2^31
  const auto width = static_cast<std::uint32_t>(c.w.size), height = static_cast<std::uint32_t>(c.h.size);
  const auto images = static_cast<std::uint32_t>(g.images);
  const std::uint32_t pixel = g.images_inside ? index / images : index, line = pixel / width;
  const std::uint32_t image = g.images_inside ? index % images : line / height;
  return {static_cast<int>(image), static_cast<int>(line % height), static_cast<int>(pixel % width)};
}

/// Where a row of A begins: the pixel of tap 0 at (h, w), perhaps outside, `offset` segments from the
/// operand.
struct RowStart {
  int offset, h, w;
};
constexpr int no_row = -(1 << 30);  // as h: every tap of it is outside

OCTAVO_HD constexpr RowStart row_start(const ImplicitGemm& g, const GemmClass& c, int group,
                                       std::int64_t row) {
  if (row >= c.rows(g)) return {0, no_row, 0};
  const RowPixel p = row_pixel(g, c, row);
  const int h = p.i * c.h.in_step + c.h.in_first, w = p.j * c.w.in_step + c.w.in_first;
  return {group * g.a_group + p.image * g.a_image + h * g.a_row + w * g.a_pixel, h, w};
}

/// A place in the contraction: a segment of a tap of the class.
struct Cursor {
  int segment, tap_w, tap_h;
};
OCTAVO_HD constexpr Cursor cursor_at(const GemmClass& c, int index) {
  const int taps_w = c.w.taps > 0 ? c.w.taps : 1, tap = index / c.segments;
  return {index % c.segments, tap % taps_w, tap / taps_w};
}
OCTAVO_HD constexpr void advance(const GemmClass& c, Cursor& at, int by) {
  at.segment += by;
  while (at.segment >= c.segments) {
    at.segment -= c.segments;
    if (++at.tap_w >= c.w.taps) at.tap_w = 0, ++at.tap_h;
  }
}

/// What all rows and filters share at a place: how far it lies from tap 0 in pixels, in A and in B.
struct TapAt {
  int h, w, a, b;
  bool inside;  // false behind the last tap, where both operands are zeros
};
OCTAVO_HD constexpr TapAt tap_at(const ImplicitGemm& g, const GemmClass& c, const Cursor& at) {
  const int h = at.tap_h * c.h.in_tap, w = at.tap_w * c.w.in_tap, segment = c.first + at.segment;
  const int tap =
      (c.h.tap_first + at.tap_h * c.h.tap_step) * g.w.taps + c.w.tap_first + at.tap_w * c.w.tap_step;
  return {h, w, h * g.a_row + w * g.a_pixel + segment, tap * g.b_tap + segment, at.tap_h < c.h.taps};
}

/// Whether a tap of a row is a pixel of the image: then its segment is number row.offset + tap.a of A.
OCTAVO_HD constexpr bool reads_a(const ImplicitGemm& g, const RowStart& row, const TapAt& tap) {
  return tap.inside && static_cast<unsigned>(row.h + tap.h) < static_cast<unsigned>(g.h.in) &&
         static_cast<unsigned>(row.w + tap.w) < static_cast<unsigned>(g.w.in);
}
/// The same for filter `filter` of the group: segment number filter_start() + tap.b of B.
OCTAVO_HD constexpr bool reads_b(const ImplicitGemm& g, int filter, const TapAt& tap) {
  return tap.inside && filter < g.filters;
}
OCTAVO_HD constexpr int filter_start(const ImplicitGemm& g, int group, int filter) {
  return group * g.b_group + filter * g.b_filter;
}

/// Of a row of results: the element of its column 0, and its scale of A.
struct RowResult {
  std::int64_t element;
  int a_scale;
};
OCTAVO_HD constexpr RowResult row_result(const ImplicitGemm& g, const GemmClass& c, int group,
                                         std::int64_t row) {
  const RowPixel p = row_pixel(g, c, row);
  return {group * g.out_group + p.image * g.out_image + (c.h.first + p.i * c.h.step) * g.out_row +
              (c.w.first + p.j * c.w.step) * g.out_pixel,
          group * g.a_scale_group + p.image};
}

/// The scales of result `element`: the inverse of row_result(), whose rows and columns are one of pixels of
/// images [n][h][w][c] and of weights [k][r][s][c / groups].
struct ResultScales {
  int a, b;
};
OCTAVO_HD constexpr ResultScales result_scales(const ImplicitGemm& g, std::int64_t element) {
  if (!g.images_inside)
    return {static_cast<int>(element / g.out_image), static_cast<int>(element % g.out_pixel)};
  const int filter = static_cast<int>(element / g.out_filter);
  return {filter / g.filters * g.images + static_cast<int>(element % g.images), filter};
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
