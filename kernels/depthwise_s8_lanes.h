// The depthwise loops of every instruction set, over a struct of vector operations. Only for files that are
// compiled for one instruction set: everything here has internal linkage.
#pragma once

#include <algorithm>

#include "depthwise_s8.h"

namespace octavo::kernels {
namespace {

#define OCTAVO_INLINE __attribute__((always_inline)) inline

/// Adds values at their place to the sums; `values` become the new sums.
template <std::int64_t width>
void add_to_sums(const DepthwisePixels& args, std::int64_t* sums, std::int64_t (&values)[width]) {
  for (std::int64_t e = 0; e < width; ++e) {
    const std::uint64_t before = args.first ? 0 : static_cast<std::uint64_t>(sums[e]);
    values[e] = static_cast<std::int64_t>(before + (static_cast<std::uint64_t>(values[e]) << args.shift));
    sums[e] = values[e];
  }
}

template <typename Ops, typename Element>
void finish_block(const DepthwisePixels& args, std::int64_t channel, std::int64_t row, std::int64_t pixel,
                  const typename Ops::Vector (&acc)[Ops::quarters]) {
  constexpr std::int64_t width = Ops::width;
  const std::int64_t index = row * args.out_row + pixel * args.out_step + channel,
                     left = args.channels - channel;
  for (std::int64_t v = 0; v < Ops::quarters && v * width < left; ++v) {
    const std::int64_t j = v * width, count = left - j < width ? left - j : width;
    const auto corrected = Ops::subtract(acc[v], Ops::load_first(args.correction + channel + j, count));
    auto value = Ops::to_float(corrected);
    if (args.sums || args.integers) {
      alignas(64) std::int32_t values[width];
      alignas(64) std::int64_t totals[width];
      Ops::store(values, corrected);
      for (std::int64_t e = 0; e < width; ++e) totals[e] = values[e];
      if (args.sums) add_to_sums<width>(args, args.sums + pixel * args.sums_pitch + channel + j, totals);
      if (!args.last) continue;
      for (std::int64_t e = 0; args.integers && e < count; ++e) args.integers[index + j + e] = totals[e];
      if (args.integers) continue;
      value = Ops::to_float(totals);
    }
    const auto b_scale = args.b_scale_vector ? Ops::load_first(args.b_scale + channel + j, count)
                                             : Ops::broadcast(*args.b_scale);
    value = value * (Ops::broadcast(args.a_scale) * b_scale);
    if (args.bias) value = value + Ops::load_first(args.bias + channel + j, count);
    Element* out = args.out.as<Element>() + index + j;
    if (args.accumulate) value = value + Ops::load_first(out, count);
    Ops::store_first(out, value, count);
  }
}

/// The common case: whole vectors, nothing to add. Scales and corrections are loaded once for all pixels of a
/// row, for `vectors` vectors of channels.
template <typename Ops, typename Element, int vectors>
class PlainFinish {
 public:
  PlainFinish(const DepthwisePixels& args, std::int64_t channel)
      : stream_(args.stream && reinterpret_cast<std::uintptr_t>(args.out.data) % 64 == 0 &&
                args.channels % line == 0) {
    for (std::int64_t v = 0; v < vectors; ++v) {
      const std::int64_t first = channel + v * width;
      start_[v] = Ops::subtract(typename Ops::Vector{}, Ops::load_first(args.correction + first, width));
      const auto b_scale =
          args.b_scale_vector ? Ops::load_first(args.b_scale + first, width) : Ops::broadcast(*args.b_scale);
      scale_[v] = Ops::broadcast(args.a_scale) * b_scale;
    }
  }
  /// Sums begin less the correction.
  OCTAVO_INLINE typename Ops::Vector start(int v) const { return start_[v]; }
  OCTAVO_INLINE void write(Element* out, const typename Ops::Vector (&acc)[vectors]) const {
    stream_ ? write_to<true>(out, acc) : write_to<false>(out, acc);
  }

 private:
  template <bool stream>
  OCTAVO_INLINE void write_to(Element* out, const typename Ops::Vector (&acc)[vectors]) const {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v += 2)
      if (v + 1 < vectors)
        stream ? Ops::stream_two(out + v * width, value(acc, v), value(acc, v + 1))
               : Ops::store_two(out + v * width, value(acc, v), value(acc, v + 1));
      else
        stream ? Ops::stream(out + v * width, value(acc, v)) : Ops::store_all(out + v * width, value(acc, v));
  }
  OCTAVO_INLINE typename Ops::Floats value(const typename Ops::Vector (&acc)[vectors], int v) const {
    return Ops::to_float(acc[v]) * scale_[v];
  }

  static constexpr std::int64_t width = Ops::width, line = 64 / sizeof(Element);
  bool stream_;
  typename Ops::Vector start_[vectors];
  typename Ops::Floats scale_[vectors];
};

template <typename Ops, int vectors>
OCTAVO_INLINE void load_unit(const std::uint8_t* in, const std::int64_t* offsets,
                             typename Ops::Vector (&x)[vectors]) {
  const std::uint8_t* taps[Ops::unit_taps];
  for (int e = 0; e < Ops::unit_taps; ++e) taps[e] = in + offsets[e];
  Ops::interleave_in_order(taps, x);
}

template <typename Ops, int vectors>
OCTAVO_INLINE void add_units(const DepthwisePixels& args, const std::uint8_t* in, const std::uint8_t* weights,
                             typename Ops::Vector (&acc)[vectors]) {
  for (std::int64_t unit = 0; unit < args.units; ++unit, weights += sizeof(acc[0]) * Ops::quarters) {
    typename Ops::Vector x[vectors];
    load_unit<Ops>(in, args.offsets + unit * Ops::unit_taps, x);
    for (int v = 0; v < vectors; ++v)
      acc[v] = Ops::dot(acc[v], x[v], Ops::load(weights + v * sizeof(acc[0])));
  }
}

/// Pixels whose three units are columns of taps, of which the next pixel has all but `step` in common. Of two
/// rows the second has the same units and weights of its own. Local copies: the stores could change the
/// originals.
template <typename Ops, int step, int rows, typename Element, int vectors>
[[gnu::noinline]] void slide(const DepthwisePixels& args, const std::uint8_t* in, const std::uint8_t* weights,
                             const PlainFinish<Ops, Element, vectors>& plain, Element* out) {
  using Unit = typename Ops::Vector[vectors];
  const PlainFinish<Ops, Element, vectors> finish = plain;
  const std::int64_t in_step = args.in_step, out_step = args.out_step, out_row = args.out_row,
                     row_bytes = args.row_bytes;
  std::int64_t offsets[3 * Ops::unit_taps];
  for (int e = 0; e < 3 * Ops::unit_taps; ++e) offsets[e] = args.offsets[e];
  const auto load = [&](int unit, Unit& x)
                        OCTAVO_INLINE_BODY { load_unit<Ops>(in, offsets + unit * Ops::unit_taps, x); };
  const auto add = [&](int row, int unit, const Unit& x, Unit& acc) OCTAVO_INLINE_BODY {
    const std::uint8_t* from = weights + row * row_bytes + unit * Ops::quarters * sizeof(x[0]);
    for (int v = 0; v < vectors; ++v) acc[v] = Ops::dot(acc[v], x[v], Ops::load(from + v * sizeof(x[0])));
  };
  const auto next = [&](const Unit& first, Unit& second, Unit& third) OCTAVO_INLINE_BODY {
    if constexpr (step == 2) load(1, second);
    load(2, third);
    for (int row = 0; row < rows; ++row) {
      Unit acc;
      for (int v = 0; v < vectors; ++v) acc[v] = finish.start(v);
      add(row, 0, first, acc), add(row, 1, second, acc), add(row, 2, third, acc);
      finish.write(out + row * out_row, acc);
    }
    in += in_step, out += out_step;
  };
  Unit a, b, c;
  load(0, a);
  if constexpr (step == 1) load(1, b);
  std::int64_t pixel = 0;
  if constexpr (step == 1) {
    for (; pixel + 3 <= args.pixels; pixel += 3) next(a, b, c), next(b, c, a), next(c, a, b);
    if (pixel < args.pixels) next(a, b, c);
    if (pixel + 1 < args.pixels) next(b, c, a);
  } else {
    for (; pixel + 2 <= args.pixels; pixel += 2) next(a, b, c), next(c, b, a);
    if (pixel < args.pixels) next(a, b, c);
  }
}

/// A block of channels, `vectors` whole vectors of it, nothing to add.
template <typename Ops, typename Element, int vectors>
void plain_block(const DepthwisePixels& args, std::int64_t channel, const std::uint8_t* weights) {
  const PlainFinish<Ops, Element, vectors> finish(args, channel);
  const std::uint8_t* in = args.in + channel;
  Element* out = args.out.as<Element>() + channel;
  if constexpr (Ops::slides) {
    if (args.slide == 1)
      return args.rows == 2 ? slide<Ops, 1, 2>(args, in, weights, finish, out)
                            : slide<Ops, 1, 1>(args, in, weights, finish, out);
    if (args.slide == 2) return slide<Ops, 2, 1>(args, in, weights, finish, out);
  }
  for (std::int64_t pixel = 0; pixel < args.pixels; ++pixel, in += args.in_step, out += args.out_step) {
    typename Ops::Vector acc[vectors];
    for (int v = 0; v < vectors; ++v) acc[v] = finish.start(v);
    add_units<Ops>(args, in, weights, acc);
    finish.write(out, acc);
  }
}

template <typename Ops, typename Element>
void any_block(const DepthwisePixels& args, std::int64_t channel, const std::uint8_t* weights) {
  for (std::int64_t row = 0; row < args.rows; ++row)
    for (std::int64_t pixel = 0; pixel < args.pixels; ++pixel) {
      typename Ops::Vector acc[Ops::quarters] = {};
      add_units<Ops>(args, args.in + channel + pixel * args.in_step, weights + row * args.row_bytes, acc);
      finish_block<Ops, Element>(args, channel, row, pixel, acc);
    }
}

template <typename Ops, typename Element>
void depthwise_pixels_to(const DepthwisePixels& args) {
  constexpr std::int64_t width = Ops::width, block = width * Ops::quarters;
  const bool plain =
      args.channels % width == 0 && !args.bias && !args.accumulate && !args.integers && !args.sums;
  const auto* weights = static_cast<const std::uint8_t*>(args.weights);
  for (std::int64_t channel = 0; channel < args.channels; channel += block, weights += args.block_bytes) {
    const std::int64_t vectors = std::min<std::int64_t>((args.channels - channel) / width, Ops::quarters);
    if (!plain)
      any_block<Ops, Element>(args, channel, weights);
    else if (vectors == 1)
      plain_block<Ops, Element, 1>(args, channel, weights);
    else if (vectors == 2)
      plain_block<Ops, Element, 2>(args, channel, weights);
    else if constexpr (Ops::quarters == 4)
      vectors == 3 ? plain_block<Ops, Element, 3>(args, channel, weights)
                   : plain_block<Ops, Element, 4>(args, channel, weights);
  }
}

template <typename Ops>
void depthwise_pixels(const DepthwisePixels& args) {
  args.out.type == FloatType::f32 ? depthwise_pixels_to<Ops, float>(args)
                                  : depthwise_pixels_to<Ops, Bf16>(args);
}

}  // namespace
}  // namespace octavo::kernels
