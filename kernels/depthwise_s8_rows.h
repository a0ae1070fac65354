// The weight gradient of the depthwise integer convolution over a struct of vector operations; for files as
// depthwise_s8_lanes.h is. The pixels that one multiplication joins lie below each other, perhaps in several
// samples: columns of X then serve all taps of a row of taps while the pass goes along the row.
#pragma once

#include "depthwise_s8_lanes.h"

namespace octavo::kernels {
namespace {

alignas(64) inline constexpr auto zero_pixel = [] {
  struct {
    std::uint8_t bytes[64];
  } pixel{};
  for (std::uint8_t& byte : pixel.bytes) byte = 128;
  return pixel;
}();

/// The rows of X, at one row of taps, and of G that are joined; behind the last G is 0.
template <typename Ops>
struct JoinedRows {
  const std::uint8_t* x[Ops::unit_taps];
  const std::uint8_t* g[Ops::unit_taps];
  std::int64_t g_step[Ops::unit_taps];

  JoinedRows(const DepthwiseRows& args, std::int64_t first) {
    for (int e = 0; e < Ops::unit_taps; ++e) {
      const bool inside = first + e < args.row_end;
      const std::int64_t row = inside ? first + e : first, i = row % args.rows_per_sample;
      const std::int64_t place = row / args.rows_per_sample, n = args.order ? args.order[place] : place;
      x[e] = args.x + n * args.x_sample + i * args.x_row;
      g[e] = inside ? args.g + n * args.g_sample + i * args.g_row : zero_pixel.bytes;
      g_step[e] = inside ? args.g_pixel : 0;
    }
  }
};

/// G of a few pixels of the joined rows as it is multiplied, [pixel][quarter], for one block of channels.
template <typename Ops>
struct GradientRun {
  static constexpr std::int64_t most = 64;
  alignas(64) typename Ops::Vector values[most][Ops::quarters];

  /// Of pixels [first, end); adds them to the sums of G itself.
  [[gnu::noinline]] void fill(const DepthwiseRows& args, const JoinedRows<Ops>& rows, std::int64_t channel,
                              std::int64_t first, std::int64_t end) {
    typename Ops::Vector total[Ops::quarters];
    std::int32_t* const sums = args.sums + args.tap_rows * args.tap_columns * args.pitch + channel;
    for (int q = 0; q < Ops::quarters; ++q) total[q] = Ops::load(sums + q * Ops::width);
    const std::uint8_t* g[Ops::unit_taps];
    for (int e = 0; e < Ops::unit_taps; ++e)
      g[e] = rows.g[e] + first * rows.g_step[e] + (rows.g_step[e] != 0 ? channel : 0);
    for (std::int64_t pixel = 0; pixel < end - first; ++pixel) {
      typename Ops::Vector unit[Ops::quarters];
      Ops::interleave(g, unit);
      for (int q = 0; q < Ops::quarters; ++q) {
        values[pixel][q] = Ops::remove_offset(unit[q]);
        total[q] = Ops::dot(total[q], Ops::ones(), values[pixel][q]);
      }
      for (int e = 0; e < Ops::unit_taps; ++e) g[e] += rows.g_step[e];
    }
    for (int q = 0; q < Ops::quarters; ++q) Ops::store(sums + q * Ops::width, total[q]);
  }
};

/// The sums of `taps` neighbours in a row of taps over a run of `count` pixels from `pixel` on, for one block
/// of channels, in the order of Ops::interleave().
struct TapRun {
  std::int64_t channel, tap_row, tap_column, pixel, count;
};

template <typename Ops>
using Unit = typename Ops::Vector[Ops::quarters];

/// Calls body(load, add) with sums that it may add to: load(tap, x) reads the X of a tap at the pixel,
/// add(tap, x, g) multiplies, next() goes on to the next pixel.
template <typename Ops, int taps, class Body>
OCTAVO_INLINE void with_sums(const DepthwiseRows& args, const JoinedRows<Ops>& rows, const TapRun& run,
                             const Body& body) {
  const std::int64_t pitch = args.pitch, column = args.x_tap_column, x_pixel = args.x_pixel;
  std::int32_t* const sums =
      args.sums + (run.tap_row * args.tap_columns + run.tap_column) * pitch + run.channel;
  const std::uint8_t* x[Ops::unit_taps];
  for (int e = 0; e < Ops::unit_taps; ++e)
    x[e] = rows.x[e] + run.tap_row * args.x_tap_row + run.tap_column * column + run.channel +
           run.pixel * x_pixel;
  Unit<Ops> acc[taps];
  for (int t = 0; t < taps; ++t)
    for (int q = 0; q < Ops::quarters; ++q) acc[t][q] = Ops::load(sums + t * pitch + q * Ops::width);
  body(
      [&](int tap, Unit<Ops>& unit) OCTAVO_INLINE_BODY {
        const std::uint8_t* from[Ops::unit_taps];
        for (int e = 0; e < Ops::unit_taps; ++e) from[e] = x[e] + tap * column;
        Ops::interleave(from, unit);
      },
      [&](int tap, const Unit<Ops>& unit, const Unit<Ops>& g) OCTAVO_INLINE_BODY {
        for (int q = 0; q < Ops::quarters; ++q) acc[tap][q] = Ops::dot(acc[tap][q], unit[q], g[q]);
      },
      [&]() OCTAVO_INLINE_BODY {
        for (int e = 0; e < Ops::unit_taps; ++e) x[e] += x_pixel;
      });
  for (int t = 0; t < taps; ++t)
    for (int q = 0; q < Ops::quarters; ++q) Ops::store(sums + t * pitch + q * Ops::width, acc[t][q]);
}

/// Any taps: each reads its column of X.
template <typename Ops, int taps>
[[gnu::noinline]] void add_taps(const DepthwiseRows& args, const JoinedRows<Ops>& rows, const TapRun& run,
                                const GradientRun<Ops>& g) {
  with_sums<Ops, taps>(args, rows, run,
                       [&](const auto& load, const auto& add, const auto& next) OCTAVO_INLINE_BODY {
                         for (std::int64_t pixel = 0; pixel < run.count; ++pixel, next())
                           for (int t = 0; t < taps; ++t) {
                             Unit<Ops> x;
                             load(t, x);
                             add(t, x, g.values[pixel]);
                           }
                       });
}

/// Three taps whose columns are those of neighbouring pixels: a column of X meets the G of three pixels.
template <typename Ops>
[[gnu::noinline]] void add_columns(const DepthwiseRows& args, const JoinedRows<Ops>& rows, const TapRun& run,
                                   const GradientRun<Ops>& g) {
  with_sums<Ops, 3>(args, rows, run,
                    [&](const auto& load, const auto& add, const auto& next) OCTAVO_INLINE_BODY {
                      const std::int64_t count = run.count;
                      const auto border = [&](std::int64_t at) {
                        Unit<Ops> x;
                        load(0, x);
                        if (at < count) add(0, x, g.values[at]);
                        if (at >= 1 && at - 1 < count) add(1, x, g.values[at - 1]);
                        if (at >= 2) add(2, x, g.values[at - 2]);
                        next();
                      };
                      border(0), border(1);
                      std::int64_t at = 2;
                      for (; at < count; ++at, next()) {
                        Unit<Ops> x;
                        load(0, x);
                        add(0, x, g.values[at]), add(1, x, g.values[at - 1]), add(2, x, g.values[at - 2]);
                      }
                      for (; at < count + 2; ++at) border(at);
                    });
}

/// The same with a stride of two: every second column meets the G of two pixels.
template <typename Ops>
[[gnu::noinline]] void add_strided_columns(const DepthwiseRows& args, const JoinedRows<Ops>& rows,
                                           const TapRun& run, const GradientRun<Ops>& g) {
  with_sums<Ops, 3>(args, rows, run,
                    [&](const auto& load, const auto& add, const auto& next) OCTAVO_INLINE_BODY {
                      Unit<Ops> x;
                      load(0, x);
                      add(0, x, g.values[0]);
                      std::int64_t pixel = 0;
                      for (; pixel + 1 < run.count; ++pixel, next()) {
                        load(1, x);
                        add(1, x, g.values[pixel]);
                        load(2, x);
                        add(2, x, g.values[pixel]), add(0, x, g.values[pixel + 1]);
                      }
                      load(1, x);
                      add(1, x, g.values[pixel]);
                      load(2, x);
                      add(2, x, g.values[pixel]);
                    });
}

/// A row of taps.
template <typename Ops>
void add_tap_row(const DepthwiseRows& args, const JoinedRows<Ops>& rows, TapRun run,
                 const GradientRun<Ops>& g) {
  if (args.tap_columns == 3 && args.x_pixel == args.x_tap_column) return add_columns(args, rows, run, g);
  if (args.tap_columns == 3 && args.x_pixel == 2 * args.x_tap_column)
    return add_strided_columns(args, rows, run, g);
  for (; run.tap_column + 3 <= args.tap_columns; run.tap_column += 3) add_taps<Ops, 3>(args, rows, run, g);
  for (; run.tap_column < args.tap_columns; ++run.tap_column) add_taps<Ops, 1>(args, rows, run, g);
}

/// Sums of a block to the order of its channels, less what stands for 0 in X.
template <typename Ops>
void finish_taps(const DepthwiseRows& args, std::int64_t channel) {
  const std::int64_t taps = args.tap_rows * args.tap_columns;
  for (std::int64_t t = 0; t < taps; ++t) {
    std::int32_t* const sums = args.sums + t * args.pitch + channel;
    const std::int32_t* const totals = args.sums + taps * args.pitch + channel;
    typename Ops::Vector acc[Ops::quarters];
    for (int q = 0; q < Ops::quarters; ++q) {
      acc[q] = Ops::load(sums + q * Ops::width);
      if (args.x_offset) acc[q] = Ops::subtract(acc[q], Ops::times_128(Ops::load(totals + q * Ops::width)));
    }
    Ops::reorder(acc);
    for (int q = 0; q < Ops::quarters; ++q) Ops::store(sums + q * Ops::width, acc[q]);
  }
}

template <typename Ops>
void depthwise_rows(const DepthwiseRows& args) {
  constexpr std::int64_t block = Ops::quarters * Ops::width, most = GradientRun<Ops>::most;
  const std::int64_t width = (args.channels + block - 1) / block * block;
  for (std::int64_t t = 0; t <= args.tap_rows * args.tap_columns; ++t)
    std::fill_n(args.sums + t * args.pitch, width, 0);
  GradientRun<Ops> g;
  for (std::int64_t row = args.row_begin; row < args.row_end; row += Ops::unit_taps) {
    const JoinedRows<Ops> rows(args, row);
    for (std::int64_t first = 0; first < args.pixels_per_row; first += most) {
      const std::int64_t end = std::min(args.pixels_per_row, first + most);
      for (std::int64_t channel = 0; channel < args.channels; channel += block) {
        g.fill(args, rows, channel, first, end);
        for (std::int64_t tap_row = 0; tap_row < args.tap_rows; ++tap_row)
          add_tap_row<Ops>(args, rows, {channel, tap_row, 0, first, end - first}, g);
      }
    }
  }
  for (std::int64_t channel = 0; channel < args.channels; channel += block) finish_taps<Ops>(args, channel);
}

}  // namespace
}  // namespace octavo::kernels
