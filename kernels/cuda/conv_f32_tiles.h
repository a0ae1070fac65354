// The three FP32 products of a convolution as one implicit GEMM over dense tensors: which elements of both
// operands a place of the contraction is for each row and column of results. One operand is gathered from
// the pixels of an image, the other, plain, lies at a distance of lines and places.
//
//   product      rows            columns    contraction         gathered        plain
//   forward      pixels of Y     filters    (r, s, c)           X, by rows      W, by columns
//   grad_input   pixels of dX    channels   (r, s, k)           G, by rows      W, by columns
//   grad_weight  filters         (r, s, c)  (n, ho, wo)         X, by columns   G, by rows
//
// Rows and columns are counted in their group, columns lie side by side in the result. grad_input has a class
// of rows for each remainder of the pixel by the strides, with the taps that reach it (axis_class()).
#pragma once

#include "../kernels.h"
#include "implicit_gemm.h"

namespace octavo::kernels::cuda {

constexpr int f32_threads = 256, f32_step = 16;  // of a block; places of the contraction in a step

/// m x n results of a block. A thread has m / 16 x n / 16 of them, in blocks of 4 x 4 that lie 64 apart.
template <int rows, int columns>
struct F32Tile {
  static constexpr int m = rows, n = columns;
  // A stage holds A [place][row], then B [place][column]; four more floats a place keep copies along the
  // contraction off each other's banks.
  static constexpr int a_pitch = m + 4, b_pitch = n + 4;
  static constexpr int a_floats = f32_step * a_pitch, stage_floats = a_floats + f32_step * b_pitch;
};
using F32Wide = F32Tile<128, 128>;
using F32Narrow = F32Tile<128, 64>;
using F32Small = F32Tile<64, 64>;
static_assert(2 * F32Wide::stage_floats * 4 <= 48 * 1024, "what a block has without asking");

/// What lies side by side in an operand: places of the contraction, or lines (rows of A, columns of B).
enum class Along : std::uint8_t { places, lines };

/// The elements of `count` lines that a thread copies in each step, so that a warp reads side by side:
/// `places` x `lines` of them.
template <int count, Along along>
struct F32Copies {
  static constexpr int places = along == Along::places ? 1 : 2;
  static constexpr int distance = along == Along::places ? f32_threads / f32_step : 32;  // of lines
  static constexpr int lines = count / distance;
  static_assert(places * lines * f32_threads == count * f32_step);

  OCTAVO_HD static constexpr int place(int thread, int i) {
    return along == Along::places ? thread % f32_step : thread / 32 * 2 + i;
  }
  OCTAVO_HD static constexpr int line(int thread) {
    return along == Along::places ? thread / f32_step : thread % 32;
  }
};

/// Sizes and distances of a product, in elements; offsets in an operand wrap around in 32 bits, and what is
/// read lies below 2^31.
struct ConvF32Gemm {
  Axis h, w;  // grad_weight: of forward
  int images = 1, groups = 1;
  int inner = 1;  // forward, grad_input: channels of a tap in the contraction
  int lines = 1;  // of the plain operand
  // gathered
  std::uint32_t image = 0, row = 0, pixel = 0;
  int gather_group = 0;
  // plain: from line to line, and with (r, s, inner) or (n, ho, wo) of the contraction
  std::uint32_t plain_line = 0, plain_inner = 0, plain_middle = 0, plain_outer = 0;
  std::int64_t plain_group = 0;
  // results: rows of pixels, or of filters
  int out_image = 0, out_row = 0, out_pixel = 0;
  std::int64_t out_group = 0;
  int out_channels = 1;  // forward: of Y, for the bias
  std::int64_t results = 0;
  int splits = 1, split_steps = 1;  // parts of the contraction, and steps in each

  OCTAVO_HD constexpr int classes() const { return h.classes() * w.classes(); }
};

/// The contraction of one class counts in (outer, middle, inner); both operands' offsets are linear in them.
struct ConvF32Class {
  AxisClass h, w;
  int inner, middle, outer;
  std::uint32_t gather_inner, gather_middle, gather_outer;
  std::uint32_t plain_inner, plain_middle, plain_outer, plain_first;
  int step_inner, step_middle, step_outer;  // f32_step in such digits

  OCTAVO_HD constexpr int places() const { return inner * middle * outer; }
  OCTAVO_HD constexpr int steps() const { return static_cast<int>(ceil_div(places(), f32_step)); }
};

template <Product product>
OCTAVO_HD constexpr ConvF32Class f32_class(const ConvF32Gemm& g, int which) {
  ConvF32Class c{};
  if constexpr (product == Product::grad_weight) {
    c.inner = g.w.out, c.middle = g.h.out, c.outer = g.images;
    c.gather_inner = static_cast<std::uint32_t>(g.w.stride) * g.pixel;
    c.gather_middle = static_cast<std::uint32_t>(g.h.stride) * g.row;
    c.gather_outer = g.image;
    c.plain_inner = g.plain_inner, c.plain_middle = g.plain_middle, c.plain_outer = g.plain_outer;
  } else {
    const bool plain = product == Product::forward;
    c.h = plain ? plain_class(g.h) : axis_class(g.h, which / g.w.classes());
    c.w = plain ? plain_class(g.w) : axis_class(g.w, which % g.w.classes());
    c.inner = g.inner, c.middle = c.w.taps > 0 ? c.w.taps : 1, c.outer = c.w.taps > 0 ? c.h.taps : 0;
    c.gather_inner = 1;
    c.gather_middle = static_cast<std::uint32_t>(c.w.in_tap) * g.pixel;
    c.gather_outer = static_cast<std::uint32_t>(c.h.in_tap) * g.row;
    c.plain_inner = g.plain_inner;
    c.plain_middle = static_cast<std::uint32_t>(c.w.tap_step) * g.plain_middle;
    c.plain_outer = static_cast<std::uint32_t>(c.h.tap_step) * g.plain_outer;
    c.plain_first = static_cast<std::uint32_t>(c.h.tap_first) * g.plain_outer +
                    static_cast<std::uint32_t>(c.w.tap_first) * g.plain_middle;
  }
  c.step_inner = f32_step % c.inner;
  c.step_middle = f32_step / c.inner % c.middle;
  c.step_outer = f32_step / c.inner / c.middle;
  return c;
}

/// Rows and columns of results, in a group.
template <Product product>
OCTAVO_HD constexpr std::uint32_t f32_gathered_lines(const ConvF32Gemm& g, const ConvF32Class& c) {
  if constexpr (product == Product::grad_weight)
    return static_cast<std::uint32_t>(g.h.taps) * static_cast<std::uint32_t>(g.w.taps) *
           static_cast<std::uint32_t>(g.inner);
  else
    return static_cast<std::uint32_t>(g.images) * static_cast<std::uint32_t>(c.h.size) *
           static_cast<std::uint32_t>(c.w.size);
}
template <Product product>
OCTAVO_HD constexpr std::uint32_t f32_rows(const ConvF32Gemm& g, const ConvF32Class& c) {
  if constexpr (product == Product::grad_weight) return static_cast<std::uint32_t>(g.lines);
  return f32_gathered_lines<product>(g, c);
}
template <Product product>
OCTAVO_HD constexpr std::uint32_t f32_columns(const ConvF32Gemm& g, const ConvF32Class& c) {
  if constexpr (product == Product::grad_weight) return f32_gathered_lines<product>(g, c);
  return static_cast<std::uint32_t>(g.lines);
}

/// A place of the contraction.
struct F32Place {
  int inner, middle, outer;
  bool operator==(const F32Place&) const = default;
};
OCTAVO_HD constexpr F32Place f32_place(const ConvF32Class& c, std::uint32_t index) {
  const auto inner = static_cast<std::uint32_t>(c.inner), middle = static_cast<std::uint32_t>(c.middle);
  return {static_cast<int>(index % inner), static_cast<int>(index / inner % middle),
          static_cast<int>(index / inner / middle)};
}
/// A step further, without a division.
OCTAVO_HD constexpr void advance(const ConvF32Class& c, F32Place& at) {
  at.inner += c.step_inner, at.middle += c.step_middle, at.outer += c.step_outer;
  if (at.inner >= c.inner) at.inner -= c.inner, ++at.middle;
  if (at.middle >= c.middle) at.middle -= c.middle, ++at.outer;
}

OCTAVO_HD constexpr void to_next(const ConvF32Class& c, F32Place& at) {
  if (++at.inner < c.inner) return;
  at.inner = 0;
  if (++at.middle == c.middle) at.middle = 0, ++at.outer;
}

/// What all lines share at a place: how far it lies from the first place in pixels and in both operands.
struct F32Tap {
  int h, w;
  std::uint32_t gathered, plain;
  bool inside;  // false behind the last place, where both operands are zeros
};
template <Product product>
OCTAVO_HD constexpr F32Tap f32_tap(const ConvF32Gemm& g, const ConvF32Class& c, const F32Place& at) {
  const auto inner = static_cast<std::uint32_t>(at.inner), middle = static_cast<std::uint32_t>(at.middle),
             outer = static_cast<std::uint32_t>(at.outer);
  const bool weight = product == Product::grad_weight;
  return {weight ? at.middle * g.h.stride : at.outer * c.h.in_tap,
          weight ? at.inner * g.w.stride : at.middle * c.w.in_tap,
          inner * c.gather_inner + middle * c.gather_middle + outer * c.gather_outer,
          inner * c.plain_inner + middle * c.plain_middle + outer * c.plain_outer + c.plain_first,
          at.outer < c.outer};
}

/// A line of the gathered operand: its pixel at the first place, perhaps outside, and that one's offset.
struct F32Line {
  std::uint32_t offset;
  int h, w;
};
OCTAVO_HD constexpr F32Line f32_line_at(const ConvF32Gemm& g, int image, int h, int w, int channel) {
  return {static_cast<std::uint32_t>(image) * g.image + static_cast<std::uint32_t>(h) * g.row +
              static_cast<std::uint32_t>(w) * g.pixel + static_cast<std::uint32_t>(channel),
          h, w};
}
struct F32Pixel {
  int image, i, j;
};
OCTAVO_HD constexpr F32Pixel f32_pixel(const ConvF32Class& c, std::uint32_t row) {
  const auto width = static_cast<std::uint32_t>(c.w.size), height = static_cast<std::uint32_t>(c.h.size);
  const std::uint32_t line = row / width;
  return {static_cast<int>(line / height), static_cast<int>(line % height), static_cast<int>(row % width)};
}
template <Product product>
OCTAVO_HD constexpr F32Line f32_line(const ConvF32Gemm& g, const ConvF32Class& c, std::uint32_t line) {
  if (line >= f32_gathered_lines<product>(g, c)) return {0, no_row, 0};
  if constexpr (product == Product::grad_weight) {
    const auto channels = static_cast<std::uint32_t>(g.inner), width = static_cast<std::uint32_t>(g.w.taps);
    const std::uint32_t tap = line / channels;
    return f32_line_at(g, 0, static_cast<int>(tap / width) * g.h.dilation - g.h.pad,
                       static_cast<int>(tap % width) * g.w.dilation - g.w.pad,
                       static_cast<int>(line % channels));
  } else {
    const F32Pixel p = f32_pixel(c, line);
    return f32_line_at(g, p.image, p.i * c.h.in_step + c.h.in_first, p.j * c.w.in_step + c.w.in_first, 0);
  }
}

/// Whether a place of a line is a pixel of the image: then element line.offset + tap.gathered.
OCTAVO_HD constexpr bool f32_reads(const ConvF32Gemm& g, const F32Line& line, const F32Tap& tap) {
  return tap.inside && static_cast<unsigned>(line.h + tap.h) < static_cast<unsigned>(g.h.in) &&
         static_cast<unsigned>(line.w + tap.w) < static_cast<unsigned>(g.w.in);
}

/// The result in column 0 of a row.
template <Product product>
OCTAVO_HD constexpr std::int64_t f32_result(const ConvF32Gemm& g, const ConvF32Class& c, int group,
                                            std::uint32_t row) {
  if constexpr (product == Product::grad_weight) return group * g.out_group + std::int64_t{row} * g.out_row;
  const F32Pixel p = f32_pixel(c, row);
  return group * g.out_group + std::int64_t{p.image} * g.out_image +
         std::int64_t{c.h.first + p.i * c.h.step} * g.out_row +
         std::int64_t{c.w.first + p.j * c.w.step} * g.out_pixel;
}

}  // namespace octavo::kernels::cuda
