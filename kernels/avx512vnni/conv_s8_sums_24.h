// Register tiles of a panel of 32 columns of which 17 to 24 are there: two rows share the vector of columns
// 16 to 23, the first its lower half, so that three vpdpbusd do the work of four.
#pragma once

#include "avx512vnni/conv_s8_sums.h"

namespace octavo::kernels {
namespace {

/// Two rows; the last one of an odd number has no second.
struct PairSums {
  __m512i first, second, rest;
};

/// One step of B.
struct PairStep {
  __m512i low, rest;
};

OCTAVO_ALWAYS_INLINE __m512i twice(__m256i half) { return _mm512_broadcast_i64x4(half); }

template <TileKind kind>
OCTAVO_ALWAYS_INLINE PairStep pair_step(const std::int8_t* b, const std::uint32_t* mask) {
  const __m512i rest = twice(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + 64)));
  return {masked_step<kind>(_mm512_loadu_si512(b), mask), masked_step<kind>(rest, mask)};
}

OCTAVO_ALWAYS_INLINE void start(PairSums& acc, __m512i low, __m512i rest) {
  acc.first = acc.second = low;
  acc.rest = rest;
}

template <std::size_t row>
OCTAVO_ALWAYS_INLINE void shift_pair(PairSums* acc, __m128i bits) {
  if constexpr (row % 2 == 0) {
    PairSums& sums = acc[row / 2];
    sums.first = _mm512_sll_epi32(sums.first, bits);
    sums.second = _mm512_sll_epi32(sums.second, bits);
    sums.rest = _mm512_sll_epi32(sums.rest, bits);
  }
}

/// As part().
template <std::size_t row>
OCTAVO_ALWAYS_INLINE void part_pair(PairSums* sums, const PairSums* acc) {
  if constexpr (row % 2 == 0) {
    asm("" : "=v"(sums[row / 2].first) : "0"(acc[row / 2].first));
    asm("" : "=v"(sums[row / 2].second) : "0"(acc[row / 2].second));
    asm("" : "=v"(sums[row / 2].rest) : "0"(acc[row / 2].rest));
  }
}

/// Rows `row` and row + 1 of `rows`, where row is even; a(i) is the operand of row i.
template <std::size_t row, std::size_t rows, class Operand>
OCTAVO_ALWAYS_INLINE void multiply_pair(PairSums* acc, const Operand& a, const PairStep& b) {
  if constexpr (row % 2 == 0) {
    PairSums& sums = acc[row / 2];
    const __m512i first = a(row);
    sums.first = _mm512_dpbusd_epi32(sums.first, first, b.low);
    if constexpr (row + 1 < rows) {
      const __m512i second = a(row + 1);
      sums.second = _mm512_dpbusd_epi32(sums.second, second, b.low);
      sums.rest = _mm512_dpbusd_epi32(sums.rest, _mm512_mask_blend_epi32(0xff00, first, second), b.rest);
    } else {
      sums.rest = _mm512_dpbusd_epi32(sums.rest, first, b.rest);
    }
  }
}

constexpr std::size_t pairs_of(std::size_t rows) { return (rows + 1) / 2; }

/// As sum_wide().
template <TileKind kind, std::size_t... row>
OCTAVO_ALWAYS_INLINE void sum_pairs(const ConvTile& args, PairSums* acc) {
  const std::int64_t* const rows = args.rows;
  const std::int64_t b_step = args.b_step;
  constexpr bool summed = kind == TileKind::summed;
  constexpr std::size_t columns = sizeof...(row), all = columns + summed;
  constexpr std::int64_t steps_ahead = 32, masks = kind == TileKind::masked ? 1 : 0;
  for (std::int64_t t = 0; t < args.segments; ++t) {
    const bool leaves = kind == TileKind::finished && t + 1 == args.segments;
    if (args.scattered && t + 1 < args.segments) (fetch(args.a + args.offsets[t + 1] + rows[row]), ...);
    if (args.shifts && args.shifts[t]) {
      const __m128i bits = _mm_cvtsi32_si128(args.shifts[t]);
      (shift_pair<row>(acc, bits), ...);
      if constexpr (summed) shift_pair<columns>(acc, bits);
    }
    const std::int8_t* b = args.b + args.b_offsets[t];
    const std::uint8_t* at = args.a + args.offsets[t];
    const std::uint32_t* mask = args.masks;
    for (const std::uint8_t* const end = at + (args.steps - leaves) * 4; at != end;
         at += 4, b += b_step, mask += masks) {
      const auto operand = [&](std::size_t i) OCTAVO_INLINE_BODY {
        return summed && i == columns ? _mm512_set1_epi8(1) : broadcast4(at + rows[i]);
      };
      const PairStep step = pair_step<kind>(b, mask);
      (multiply_pair<row, all>(acc, operand, step), ...);
      if constexpr (summed) {
        multiply_pair<columns, all>(acc, operand, step);
        _mm_prefetch(b + steps_ahead * b_step, _MM_HINT_T0);
        _mm_prefetch(b + steps_ahead * b_step + 64, _MM_HINT_T0);
      }
    }
  }
}

/// Sums less the correction, which is where they begin.
template <TileKind kind, std::size_t... row>
OCTAVO_ALWAYS_INLINE void sum_corrected_pairs(const ConvTile& tile, const std::int32_t* correction,
                                              PairSums* acc) {
  const __m512i zero = _mm512_setzero_si512();
  const __m512i low = _mm512_sub_epi32(zero, _mm512_loadu_si512(correction));
  const __m512i rest =
      _mm512_sub_epi32(zero, twice(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(correction + 16))));
  (start(acc[row / 2], low, rest), ...);
  sum_pairs<kind, row...>(tile, acc);
}

/// Two rows at a time: finish(sums, row, next), next = row where there is no second.
template <std::size_t row, std::size_t rows, class Finish>
OCTAVO_ALWAYS_INLINE void finish_pair(const PairSums* sums, const Finish& finish) {
  if constexpr (row % 2 == 0) finish(sums[row / 2], row, row + 1 < rows ? row + 1 : row);
}

struct LastPairStep {
  const std::uint8_t* a;
  PairStep b;
};

/// Read before part_pair(): behind it, it costs registers of the loop.
OCTAVO_ALWAYS_INLINE LastPairStep last_pair_step(const ConvTile& tile) {
  const std::int64_t t = tile.segments - 1, step = tile.steps - 1;
  return {tile.a + tile.offsets[t] + step * 4,
          pair_step<TileKind::plain>(tile.b + tile.b_offsets[t] + step * tile.b_step, nullptr)};
}

/// The same behind the last step of the two rows.
template <std::size_t... row, class Finish>
OCTAVO_ALWAYS_INLINE void finish_last_step(const ConvTile& tile, const LastPairStep& last, PairSums* sums,
                                           const Finish& finish) {
  constexpr std::size_t rows = sizeof...(row);
  const auto operand = [&](std::size_t i) OCTAVO_INLINE_BODY { return broadcast4(last.a + tile.rows[i]); };
  ((multiply_pair<row, rows>(sums, operand, last.b), finish_pair<row, rows>(sums, finish)), ...);
}

/// Scales of the results in the lanes of PairSums.
struct PairScales {
  __m512 low, rest;
  __mmask8 columns;  // of the rest
  OCTAVO_ALWAYS_INLINE explicit PairScales(const ConvFinishRows& args)
      : columns(static_cast<__mmask8>(first_lanes(args.columns - 16))) {
    const __m512 a = _mm512_set1_ps(*args.a_scale), b = _mm512_set1_ps(*args.b_scale);
    low = _mm512_mul_ps(a, args.b_scale_vector ? _mm512_loadu_ps(args.b_scale) : b);
    rest = _mm512_mul_ps(a, args.b_scale_vector ? load_rest(args.b_scale) : b);
  }
  OCTAVO_ALWAYS_INLINE __m512 load_rest(const float* row) const {
    return _mm512_broadcast_f32x8(_mm256_maskz_loadu_ps(columns, row + 16));
  }
};

/// 16 bfloat16 of one row, and 8 of the rest.
template <bool masked>
OCTAVO_ALWAYS_INLINE void store_row(Bf16* row, __m256i low, __m128i rest, __mmask8 columns) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(row), low);
  if constexpr (masked)
    _mm_mask_storeu_epi16(row + 16, columns, rest);
  else
    _mm_storeu_si128(reinterpret_cast<__m128i*>(row + 16), rest);
}

/// One row, and the next if there are two.
template <bool masked>
OCTAVO_ALWAYS_INLINE void store_rows(Bf16* row, Bf16* next, bool two, __m512i low, __m256i rest,
                                     __mmask8 columns) {
  store_row<masked>(row, _mm512_castsi512_si256(low), _mm256_castsi256_si128(rest), columns);
  if (two)
    store_row<masked>(next, _mm512_extracti64x4_epi64(low, 1), _mm256_extracti128_si256(rest, 1), columns);
}

}  // namespace
}  // namespace octavo::kernels
