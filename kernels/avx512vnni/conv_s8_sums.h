// Register tiles of the integer convolution with vpdpbusd: 14 rows x 32 or 16 columns of sums. What becomes
// of them is the matter of the files that include this.
#pragma once

#include <cstring>
#include <utility>

#include "avx512vnni/conv_s8.h"

namespace octavo::kernels {
namespace {

struct Accumulators {
  __m512i low, high;
};

OCTAVO_ALWAYS_INLINE void start(Accumulators& acc, __m512i low, __m512i high) {
  acc.low = low;
  acc.high = high;
}

OCTAVO_ALWAYS_INLINE void shift(Accumulators& acc, __m128i bits) {
  acc.low = _mm512_sll_epi32(acc.low, bits);
  acc.high = _mm512_sll_epi32(acc.high, bits);
}

OCTAVO_ALWAYS_INLINE void multiply(Accumulators& acc, __m512i a, __m512i low, __m512i high) {
  acc.low = _mm512_dpbusd_epi32(acc.low, a, low);
  acc.high = _mm512_dpbusd_epi32(acc.high, a, high);
}

/// The start of a row's next segment, which no prefetcher foresees.
OCTAVO_ALWAYS_INLINE void fetch(const std::uint8_t* source) {
  _mm_prefetch(source, _MM_HINT_T0);
  _mm_prefetch(source + 64, _MM_HINT_T0);
}

OCTAVO_ALWAYS_INLINE __m512i broadcast4(const std::uint8_t* source) {
  std::int32_t value;
  std::memcpy(&value, source, 4);
  return _mm512_set1_epi32(value);
}

OCTAVO_ALWAYS_INLINE __m512i broadcast8(const std::uint8_t* source) {
  std::int64_t value;
  std::memcpy(&value, source, 8);
  return _mm512_set1_epi64(value);
}

// In both tiles rows are unrolled by fold expressions: a loop over an array of accumulators is unrolled after
// GCC 12 has decided what lives in registers, and the accumulators then stay in memory. noipa keeps argument
// values out of the loop for the same reason.

/// The last step of a tile, which may be left for the end: while a row is finished, the next one is
/// multiplied.
struct LastStep {
  const std::uint8_t* a;
  __m512i low, high;
};

/// What a tile sums up: everything; that and, in one row more, its columns; all but the last step; or what
/// masks leave of B.
enum class TileKind : std::uint8_t { plain, summed, finished, masked };

/// What the mask of a step leaves of 16 of its columns.
template <TileKind kind>
OCTAVO_ALWAYS_INLINE __m512i masked_step(__m512i step, const std::uint32_t* mask) {
  if constexpr (kind != TileKind::masked) return step;
  return _mm512_and_si512(step, _mm512_set1_epi32(static_cast<int>(*mask)));
}

/// 16 columns of a step of B.
template <TileKind kind>
OCTAVO_ALWAYS_INLINE __m512i load_step(const std::int8_t* b, const std::uint32_t* mask) {
  return masked_step<kind>(_mm512_loadu_si512(b), mask);
}

/// One more row of ones, for a step at b whose halves lie `half` apart. B then streams through once, by rows
/// far apart: memory is asked ahead.
OCTAVO_ALWAYS_INLINE void sum_columns(Accumulators& acc, __m512i low, __m512i high, const std::int8_t* b,
                                      std::int64_t b_step, std::int64_t half) {
  constexpr std::int64_t steps_ahead = 32;
  multiply(acc, _mm512_set1_epi8(1), low, high);
  _mm_prefetch(b + steps_ahead * b_step, _MM_HINT_T0);
  _mm_prefetch(b + steps_ahead * b_step + half, _MM_HINT_T0);
}

/// 32 columns: each broadcast of four bytes meets the two halves of a step.
template <TileKind kind, std::size_t... row>
OCTAVO_ALWAYS_INLINE void sum_wide(const ConvTile& args, Accumulators* acc) {
  const std::int64_t* const rows = args.rows;
  const std::int64_t b_step = args.b_step;
  constexpr std::size_t columns = sizeof...(row);
  constexpr std::int64_t masks = kind == TileKind::masked ? 1 : 0;
  for (std::int64_t t = 0; t < args.segments; ++t) {
    const bool leaves = kind == TileKind::finished && t + 1 == args.segments;
    if (args.scattered && t + 1 < args.segments) (fetch(args.a + args.offsets[t + 1] + rows[row]), ...);
    if (args.shifts && args.shifts[t]) {
      (shift(acc[row], _mm_cvtsi32_si128(args.shifts[t])), ...);
      if constexpr (kind == TileKind::summed) shift(acc[columns], _mm_cvtsi32_si128(args.shifts[t]));
    }
    const std::int8_t* b = args.b + args.b_offsets[t];
    const std::uint8_t* at = args.a + args.offsets[t];
    const std::uint32_t* mask = args.masks;
    for (const std::uint8_t* const end = at + (args.steps - leaves) * 4; at != end;
         at += 4, b += b_step, mask += masks) {
      const __m512i low = load_step<kind>(b, mask), high = load_step<kind>(b + 64, mask);
      (multiply(acc[row], broadcast4(at + rows[row]), low, high), ...);
      if constexpr (kind == TileKind::summed) sum_columns(acc[columns], low, high, b, b_step, 64);
    }
  }
}

OCTAVO_ALWAYS_INLINE LastStep last_wide(const ConvTile& args) {
  const std::int64_t t = args.segments - 1, step = args.steps - 1;
  const std::int8_t* const b = args.b + args.b_offsets[t] + step * args.b_step;
  return {args.a + args.offsets[t] + step * 4, _mm512_loadu_si512(b), _mm512_loadu_si512(b + 64)};
}

/// 16 columns: two steps at once, so that a broadcast (of eight bytes) again meets two vectors; loads would
/// be the limit otherwise. An odd last step meets zeros in place of its partner. The last of all is a pair.
template <TileKind kind, std::size_t... row>
OCTAVO_ALWAYS_INLINE void sum_narrow(const ConvTile& args, Accumulators* acc) {
  const std::int64_t* const rows = args.rows;
  const std::int64_t b_step = args.b_step;
  constexpr std::size_t columns = sizeof...(row);
  constexpr std::int64_t masks = kind == TileKind::masked ? 1 : 0;
  for (std::int64_t t = 0; t < args.segments; ++t) {
    const bool leaves = kind == TileKind::finished && t + 1 == args.segments;
    if (args.scattered && t + 1 < args.segments) (fetch(args.a + args.offsets[t + 1] + rows[row]), ...);
    if (args.shifts && args.shifts[t]) {
      (shift(acc[row], _mm_cvtsi32_si128(args.shifts[t])), ...);
      if constexpr (kind == TileKind::summed) shift(acc[columns], _mm_cvtsi32_si128(args.shifts[t]));
    }
    const std::int8_t* b = args.b + args.b_offsets[t];
    const std::uint8_t* at = args.a + args.offsets[t];
    const std::uint32_t* mask = args.masks;
    if (args.steps % 2) {
      const __m512i even = load_step<kind>(b, mask), odd = _mm512_setzero_si512();
      const __m512i low = _mm512_unpacklo_epi32(even, odd), high = _mm512_unpackhi_epi32(even, odd);
      (multiply(acc[row], broadcast4(at + rows[row]), low, high), ...);
      if constexpr (kind == TileKind::summed) multiply(acc[columns], _mm512_set1_epi8(1), low, high);
      at += 4, b += b_step, mask += masks;
    }
    for (const std::uint8_t* const end = at + (args.steps / 2 - leaves) * 8; at != end;
         at += 8, b += 2 * b_step, mask += 2 * masks) {
      const __m512i even = load_step<kind>(b, mask), odd = load_step<kind>(b + b_step, mask + 1);
      const __m512i low = _mm512_unpacklo_epi32(even, odd), high = _mm512_unpackhi_epi32(even, odd);
      (multiply(acc[row], broadcast8(at + rows[row]), low, high), ...);
      if constexpr (kind == TileKind::summed) sum_columns(acc[columns], low, high, b, b_step, b_step);
    }
  }
}

OCTAVO_ALWAYS_INLINE LastStep last_narrow(const ConvTile& args) {
  const std::int64_t t = args.segments - 1, step = args.steps - 2;
  const std::int8_t* const b = args.b + args.b_offsets[t] + step * args.b_step;
  const __m512i even = _mm512_loadu_si512(b), odd = _mm512_loadu_si512(b + args.b_step);
  return {args.a + args.offsets[t] + step * 4, _mm512_unpacklo_epi32(even, odd),
          _mm512_unpackhi_epi32(even, odd)};
}

/// Sums of neighbouring lanes of a narrow tile, back in the order of the columns.
OCTAVO_ALWAYS_INLINE __m512i join_lanes(const Accumulators& acc) {
  const __m512 low = _mm512_castsi512_ps(acc.low), high = _mm512_castsi512_ps(acc.high);
  const __m512i even = _mm512_castps_si512(_mm512_shuffle_ps(low, high, 0x88));
  const __m512i odd = _mm512_castps_si512(_mm512_shuffle_ps(low, high, 0xdd));
  return _mm512_add_epi32(even, odd);
}

/// The same sums, to GCC others: what it spills of them while they are finished stays in registers in the
/// loop.
OCTAVO_ALWAYS_INLINE void part(Accumulators& sums, const Accumulators& acc) {
  asm("" : "=v"(sums.low) : "0"(acc.low));
  asm("" : "=v"(sums.high) : "0"(acc.high));
}

/// Sums less the correction, which is where they begin, and without the last step.
template <bool wide, std::size_t... row>
OCTAVO_ALWAYS_INLINE LastStep sum_corrected(const ConvTile& tile, const std::int32_t* correction,
                                            Accumulators* acc) {
  const __m512i zero = _mm512_setzero_si512();
  const __m512i first = _mm512_sub_epi32(zero, _mm512_loadu_si512(correction));
  if constexpr (wide) {
    const __m512i second = _mm512_sub_epi32(zero, _mm512_loadu_si512(correction + 16));
    (start(acc[row], first, second), ...);
    sum_wide<TileKind::finished, row...>(tile, acc);
    return last_wide(tile);
  } else {
    const __m512i low = _mm512_unpacklo_epi32(first, zero), high = _mm512_unpackhi_epi32(first, zero);
    (start(acc[row], low, high), ...);
    sum_narrow<TileKind::finished, row...>(tile, acc);
    return last_narrow(tile);
  }
}

template <bool wide>
OCTAVO_ALWAYS_INLINE void add_last(Accumulators& sums, const LastStep& last, std::int64_t row) {
  multiply(sums, wide ? broadcast4(last.a + row) : broadcast8(last.a + row), last.low, last.high);
}

/// Adds the last step of each row and finishes it, two rows of a narrow tile at a time: finish(row, next).
template <bool wide, std::size_t... row, class Finish>
OCTAVO_ALWAYS_INLINE void finish_each(const ConvTile& tile, const LastStep& last, Accumulators* sums,
                                      const Finish& finish) {
  constexpr std::size_t end = sizeof...(row) - 1;
  const auto whole_row = [&](std::size_t i)
                             OCTAVO_INLINE_BODY { add_last<wide>(sums[i], last, tile.rows[i]); };
  const auto one = [&](std::size_t i) OCTAVO_INLINE_BODY {
    if (!wide && i % 2 == 1) return;
    whole_row(i);
    if (!wide && i < end) whole_row(i + 1);
    finish(i, wide || i == end ? i : i + 1);
  };
  (one(row), ...);
}

}  // namespace
}  // namespace octavo::kernels
