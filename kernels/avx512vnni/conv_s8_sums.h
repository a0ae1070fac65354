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

/// 32 columns: each broadcast of four bytes meets the two halves of a step.
template <std::size_t... row>
OCTAVO_ALWAYS_INLINE void sum_wide(const ConvTile& args, Accumulators* acc) {
  const std::int64_t* const rows = args.rows;
  const std::int64_t b_step = args.b_step, length = args.steps * 4;
  for (std::int64_t t = 0; t < args.segments; ++t) {
    if (args.scattered && t + 1 < args.segments) (fetch(args.a + args.offsets[t + 1] + rows[row]), ...);
    if (args.shifts && args.shifts[t]) (shift(acc[row], _mm_cvtsi32_si128(args.shifts[t])), ...);
    const std::int8_t* b = args.b + args.b_offsets[t];
    const std::uint8_t* at = args.a + args.offsets[t];
    for (const std::uint8_t* const end = at + length; at != end; at += 4, b += b_step) {
      const __m512i low = _mm512_loadu_si512(b), high = _mm512_loadu_si512(b + 64);
      (multiply(acc[row], broadcast4(at + rows[row]), low, high), ...);
    }
  }
}

/// 16 columns: two steps at once, so that a broadcast (of eight bytes) again meets two vectors; loads would
/// be the limit otherwise. An odd last step meets zeros in place of its partner.
template <std::size_t... row>
OCTAVO_ALWAYS_INLINE void sum_narrow(const ConvTile& args, Accumulators* acc) {
  const std::int64_t* const rows = args.rows;
  const std::int64_t b_step = args.b_step, length = args.steps / 2 * 8;
  for (std::int64_t t = 0; t < args.segments; ++t) {
    if (args.scattered && t + 1 < args.segments) (fetch(args.a + args.offsets[t + 1] + rows[row]), ...);
    if (args.shifts && args.shifts[t]) (shift(acc[row], _mm_cvtsi32_si128(args.shifts[t])), ...);
    const std::int8_t* b = args.b + args.b_offsets[t];
    const std::uint8_t* at = args.a + args.offsets[t];
    for (const std::uint8_t* const end = at + length; at != end; at += 8, b += 2 * b_step) {
      const __m512i even = _mm512_loadu_si512(b), odd = _mm512_loadu_si512(b + b_step);
      const __m512i low = _mm512_unpacklo_epi32(even, odd), high = _mm512_unpackhi_epi32(even, odd);
      (multiply(acc[row], broadcast8(at + rows[row]), low, high), ...);
    }
    if (args.steps % 2) {
      const __m512i even = _mm512_loadu_si512(b), odd = _mm512_setzero_si512();
      const __m512i low = _mm512_unpacklo_epi32(even, odd), high = _mm512_unpackhi_epi32(even, odd);
      (multiply(acc[row], broadcast4(at + rows[row]), low, high), ...);
    }
  }
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

/// Sums less the correction, which is where they begin.
template <bool wide, std::size_t... row>
OCTAVO_ALWAYS_INLINE void sum_corrected(const ConvTile& tile, const std::int32_t* correction,
                                        Accumulators* acc) {
  const __m512i zero = _mm512_setzero_si512();
  const __m512i first = _mm512_sub_epi32(zero, _mm512_loadu_si512(correction));
  if constexpr (wide) {
    const __m512i second = _mm512_sub_epi32(zero, _mm512_loadu_si512(correction + 16));
    (start(acc[row], first, second), ...);
    sum_wide<row...>(tile, acc);
  } else {
    const __m512i low = _mm512_unpacklo_epi32(first, zero), high = _mm512_unpackhi_epi32(first, zero);
    (start(acc[row], low, high), ...);
    sum_narrow<row...>(tile, acc);
  }
}

}  // namespace
}  // namespace octavo::kernels
