// The depthwise loops of every instruction set, over a struct of vector operations. Only for files that are
// compiled for one instruction set: everything here has internal linkage.
#pragma once

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
void finish_block(const DepthwisePixels& args, std::int64_t channel, std::int64_t pixel,
                  const typename Ops::Vector (&acc)[Ops::quarters]) {
  constexpr std::int64_t width = Ops::quarters * 4;
  const std::int64_t index = pixel * args.out_step + channel, left = args.channels - channel;
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

/// The common case: whole vectors, nothing to add. Scales and corrections are loaded once for all pixels.
template <typename Ops, typename Element>
class PlainFinish {
 public:
  PlainFinish(const DepthwisePixels& args, std::int64_t channel)
      : vectors_(args.channels - channel < block ? (args.channels - channel) / width : Ops::quarters) {
    constexpr std::int64_t line = 64 / sizeof(Element);
    stream_ =
        args.stream && reinterpret_cast<std::uintptr_t>(args.out.data) % 64 == 0 && args.channels % line == 0;
    for (std::int64_t v = 0; v < vectors_; ++v) {
      correction_[v] = Ops::load_first(args.correction + channel + v * width, width);
      const auto b_scale = args.b_scale_vector ? Ops::load_first(args.b_scale + channel + v * width, width)
                                               : Ops::broadcast(*args.b_scale);
      scale_[v] = Ops::broadcast(args.a_scale) * b_scale;
    }
  }
  static bool possible(const DepthwisePixels& args) {
    return args.channels % width == 0 && !args.bias && !args.accumulate && !args.integers && !args.sums;
  }
  void write(Element* out, const typename Ops::Vector (&acc)[Ops::quarters]) const {
#pragma GCC unroll 2
    for (std::int64_t v = 0; v < Ops::quarters; v += 2) {
      if (v >= vectors_) break;
      if (v + 1 < vectors_ && stream_)
        Ops::stream_two(out + v * width, value(acc, v), value(acc, v + 1));
      else if (v + 1 < vectors_)
        Ops::store_two(out + v * width, value(acc, v), value(acc, v + 1));
      else if (stream_)
        Ops::stream(out + v * width, value(acc, v));
      else
        Ops::store_all(out + v * width, value(acc, v));
    }
  }

 private:
  OCTAVO_INLINE typename Ops::Floats value(const typename Ops::Vector (&acc)[Ops::quarters],
                                           std::int64_t v) const {
    return Ops::to_float(Ops::subtract(acc[v], correction_[v])) * scale_[v];
  }

  static constexpr std::int64_t width = Ops::quarters * 4, block = width * Ops::quarters;
  std::int64_t vectors_;
  bool stream_;
  typename Ops::Vector correction_[Ops::quarters];
  typename Ops::Floats scale_[Ops::quarters];
};

template <typename Ops>
OCTAVO_INLINE void load_unit(const std::uint8_t* in, const std::int64_t* offsets,
                             typename Ops::Vector (&x)[Ops::quarters]) {
  const std::uint8_t* taps[Ops::unit_taps];
  for (int e = 0; e < Ops::unit_taps; ++e) taps[e] = in + offsets[e];
  Ops::interleave(taps, x);
}

template <typename Ops>
OCTAVO_INLINE void sum_units(const DepthwisePixels& args, const std::uint8_t* in, const std::uint8_t* weights,
                             typename Ops::Vector (&acc)[Ops::quarters]) {
  for (auto& sum : acc) sum = typename Ops::Vector{};
  for (std::int64_t unit = 0; unit < args.units; ++unit) {
    typename Ops::Vector x[Ops::quarters];
    load_unit<Ops>(in, args.offsets + unit * Ops::unit_taps, x);
    for (int q = 0; q < Ops::quarters; ++q, weights += sizeof(x[0]))
      acc[q] = Ops::dot(acc[q], x[q], Ops::load(weights));
  }
  Ops::reorder(acc);
}

/// A row whose units slide: of its three units a pixel takes two from the pixel before it. Local copies: the
/// stores could change the originals.
template <typename Ops, typename Element>
[[gnu::noinline]] void slide(const DepthwisePixels& args, const std::uint8_t* in, const std::uint8_t* weights,
                             const PlainFinish<Ops, Element>& plain, Element* out) {
  const PlainFinish<Ops, Element> finish = plain;
  using Unit = typename Ops::Vector[Ops::quarters];
  Unit a, b, c;
  load_unit<Ops>(in, args.offsets, a);
  load_unit<Ops>(in, args.offsets + Ops::unit_taps, b);
  const std::int64_t in_step = args.in_step, out_step = args.out_step;
  std::int64_t offsets[Ops::unit_taps];
  for (int e = 0; e < Ops::unit_taps; ++e) offsets[e] = args.offsets[2 * Ops::unit_taps + e];
  const auto weight = [weights](int unit, int q) {
    return Ops::load(weights +
                     (unit * Ops::quarters + q) * static_cast<std::int64_t>(sizeof(Unit) / Ops::quarters));
  };
  const auto next = [&](const Unit& first, const Unit& second, Unit& third) {
    load_unit<Ops>(in, offsets, third);
    Unit acc{};
    for (int q = 0; q < Ops::quarters; ++q) {
      acc[q] = Ops::dot(acc[q], first[q], weight(0, q));
      acc[q] = Ops::dot(acc[q], second[q], weight(1, q));
      acc[q] = Ops::dot(acc[q], third[q], weight(2, q));
    }
    Ops::reorder(acc);
    finish.write(out, acc);
    in += in_step, out += out_step;
  };
  std::int64_t pixel = 0;
  for (; pixel + 3 <= args.pixels; pixel += 3) next(a, b, c), next(b, c, a), next(c, a, b);
  if (pixel < args.pixels) next(a, b, c);
  if (pixel + 1 < args.pixels) next(b, c, a);
}

template <typename Ops, typename Element>
void depthwise_pixels_to(const DepthwisePixels& args) {
  constexpr std::int64_t block = Ops::quarters * Ops::quarters * 4;
  const auto* weights = static_cast<const std::uint8_t*>(args.weights);
  const std::int64_t block_bytes =
      args.units * static_cast<std::int64_t>(sizeof(typename Ops::Vector)) * Ops::quarters;
  for (std::int64_t channel = 0; channel < args.channels; channel += block, weights += block_bytes) {
    const std::uint8_t* in = args.in + channel;
    if (PlainFinish<Ops, Element>::possible(args)) {
      const PlainFinish<Ops, Element> finish(args, channel);
      if constexpr (Ops::slides)
        if (args.sliding) {
          slide<Ops>(args, in, weights, finish, args.out.as<Element>() + channel);
          continue;
        }
      for (std::int64_t pixel = 0; pixel < args.pixels; ++pixel) {
        typename Ops::Vector acc[Ops::quarters];
        sum_units<Ops>(args, in + pixel * args.in_step, weights, acc);
        finish.write(args.out.as<Element>() + pixel * args.out_step + channel, acc);
      }
    } else {
      for (std::int64_t pixel = 0; pixel < args.pixels; ++pixel) {
        typename Ops::Vector acc[Ops::quarters];
        sum_units<Ops>(args, in + pixel * args.in_step, weights, acc);
        finish_block<Ops, Element>(args, channel, pixel, acc);
      }
    }
  }
}

template <typename Ops>
void depthwise_pixels(const DepthwisePixels& args) {
  args.out.type == FloatType::f32 ? depthwise_pixels_to<Ops, float>(args)
                                  : depthwise_pixels_to<Ops, Bf16>(args);
}

alignas(64) inline constexpr auto zero_pixel = [] {
  struct {
    std::uint8_t bytes[64];
  } pixel{};
  for (std::uint8_t& byte : pixel.bytes) byte = 128;
  return pixel;
}();

/// Sums of `taps` taps and of G itself over all pixels of the rows, for one block of channels.
template <typename Ops, int taps>
__attribute__((noinline)) void sum_taps(const DepthwiseRows& args, std::int64_t channel,
                                        std::int64_t first_tap) {
  typename Ops::Vector acc[taps][Ops::quarters] = {}, total[Ops::quarters] = {};
  for (std::int64_t row = args.row_begin; row < args.row_end; ++row) {
    const std::int64_t place = row / args.rows_per_sample, i = row % args.rows_per_sample;
    const std::int64_t n = args.order ? args.order[place] : place;
    const std::uint8_t* x = args.x + n * args.x_sample + i * args.x_row + channel;
    const std::uint8_t* g = args.g + n * args.g_sample + i * args.g_row + channel;
    for (std::int64_t j = 0; j < args.pixels_per_row; j += Ops::unit_taps) {
      const std::uint8_t* x_pixels[Ops::unit_taps];
      const std::uint8_t* g_pixels[Ops::unit_taps];
      for (int e = 0; e < Ops::unit_taps; ++e) {
        const bool inside = j + e < args.pixels_per_row;
        x_pixels[e] = x + (inside ? j + e : j) * args.x_pixel;
        g_pixels[e] = inside ? g + (j + e) * args.g_pixel : zero_pixel.bytes;
      }
      typename Ops::Vector b[Ops::quarters], a[Ops::quarters];
      Ops::interleave(g_pixels, b);
      for (int q = 0; q < Ops::quarters; ++q) {
        b[q] = Ops::remove_offset(b[q]);
        total[q] = Ops::dot(total[q], Ops::ones(), b[q]);
      }
      for (int t = 0; t < taps; ++t) {
        const std::uint8_t* shifted[Ops::unit_taps];
        for (int e = 0; e < Ops::unit_taps; ++e) shifted[e] = x_pixels[e] + args.offsets[first_tap + t];
        Ops::interleave(shifted, a);
        for (int q = 0; q < Ops::quarters; ++q) acc[t][q] = Ops::dot(acc[t][q], a[q], b[q]);
      }
    }
  }
  for (int t = 0; t < taps; ++t) {
    alignas(64) std::int32_t values[Ops::quarters * Ops::quarters * 4];
    for (int q = 0; args.x_offset && q < Ops::quarters; ++q)
      acc[t][q] = Ops::subtract(acc[t][q], Ops::times_128(total[q]));
    Ops::reorder(acc[t]);
    for (int q = 0; q < Ops::quarters; ++q) Ops::store(values + q * Ops::quarters * 4, acc[t][q]);
    std::int32_t* target = args.sums + (first_tap + t) * args.channels + channel;
    for (std::int64_t c = 0; c < Ops::quarters * Ops::quarters * 4 && channel + c < args.channels; ++c)
      target[c] = values[c];
  }
}

template <typename Ops>
void depthwise_rows(const DepthwiseRows& args) {
  for (std::int64_t channel = 0; channel < args.channels; channel += Ops::quarters * Ops::quarters * 4) {
    std::int64_t tap = 0;
    for (; tap + 3 <= args.taps; tap += 3) sum_taps<Ops, 3>(args, channel, tap);
    for (; tap < args.taps; ++tap) sum_taps<Ops, 1>(args, channel, tap);
  }
}

}  // namespace
}  // namespace octavo::kernels
