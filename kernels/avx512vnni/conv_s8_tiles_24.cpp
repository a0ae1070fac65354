// Tiles of 24 columns of the integer convolution, left as sums or finished as floats before they leave the
// registers.
#include "avx512vnni/conv_s8_sums_24.h"
#include "avx512vnni/conv_s8_tables.h"
#include "avx512vnni/float_vectors.h"

namespace octavo::kernels {
namespace {

/// Rows of 32 columns, the last 8 of them 0.
template <std::size_t row, std::size_t rows>
OCTAVO_ALWAYS_INLINE void store_pair(std::int32_t* acc, const PairSums* sums) {
  if constexpr (row % 2 == 0) {
    const PairSums& pair = sums[row / 2];
    std::int32_t* const target = acc + row * 32;
    _mm512_store_si512(target, pair.first);
    _mm512_store_si512(target + 16, _mm512_zextsi256_si512(_mm512_castsi512_si256(pair.rest)));
    if constexpr (row + 1 < rows) {
      _mm512_store_si512(target + 32, pair.second);
      _mm512_store_si512(target + 48, _mm512_zextsi256_si512(_mm512_extracti64x4_epi64(pair.rest, 1)));
    }
  }
}

template <TileKind kind, std::size_t... row>
[[gnu::noipa]] void pair_tile(const ConvTile& args) {
  const __m512i zero = _mm512_setzero_si512();
  constexpr std::size_t rows = sizeof...(row);
  PairSums acc[pairs_of(rows)];
  (start(acc[row / 2], zero, zero), ...);
  sum_pairs<kind, row...>(args, acc);
  (store_pair<row, rows>(args.acc, acc), ...);
}

/// The sums of the columns in one row more.
template <std::size_t... row>
[[gnu::noipa]] void summed_pair_tile(const ConvTile& args) {
  const __m512i zero = _mm512_setzero_si512();
  constexpr std::size_t columns = sizeof...(row), rows = columns + 1;
  PairSums acc[pairs_of(rows)];
  (start(acc[row / 2], zero, zero), ...);
  start(acc[columns / 2], zero, zero);
  sum_pairs<TileKind::summed, row...>(args, acc);
  (store_pair<row, rows>(args.acc, acc), ...);
  store_pair<columns, rows>(args.acc, acc);
}

// ---- Finished in registers: one plane, one scale of A, finite scales and bias. To leave the last step for
// the end gains nothing here.

/// What the rows of a tile share. Adding -0 changes nothing.
struct PairFinish {
  PairScales scales;
  __m512 low_bias, rest_bias;
  OCTAVO_ALWAYS_INLINE explicit PairFinish(const ConvFinishRows& args) : scales(args) {
    low_bias = args.bias ? _mm512_loadu_ps(args.bias) : _mm512_set1_ps(-0.0F);
    rest_bias = args.bias ? scales.load_rest(args.bias) : _mm512_set1_ps(-0.0F);
  }
  OCTAVO_ALWAYS_INLINE __m512 low(__m512i sums) const {
    return _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), scales.low), low_bias);
  }
  OCTAVO_ALWAYS_INLINE __m512 rest(__m512i sums) const {
    return _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), scales.rest), rest_bias);
  }
};

/// Columns from 16 on of two rows.
OCTAVO_ALWAYS_INLINE __m512 load_rests(const float* row, const float* next, __mmask8 columns) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_maskz_loadu_ps(columns, row + 16)),
                            _mm256_maskz_loadu_ps(columns, next + 16), 1);
}
OCTAVO_ALWAYS_INLINE __m512 load_rests(const Bf16* row, const Bf16* next, __mmask8 columns) {
  return widen_floats(
      _mm256_set_m128i(_mm_maskz_loadu_epi16(columns, next + 16), _mm_maskz_loadu_epi16(columns, row + 16)));
}

/// Values of two rows.
struct PairValues {
  __m512 first, second, rest;
};

template <bool masked>
OCTAVO_ALWAYS_INLINE void store_values(float* row, float* next, bool two, const PairValues& v,
                                       __mmask8 columns) {
  const auto store = [&](float* to, __m512 low, __m256 high) OCTAVO_INLINE_BODY {
    _mm512_storeu_ps(to, low);
    if constexpr (masked)
      _mm256_mask_storeu_ps(to + 16, columns, high);
    else
      _mm256_storeu_ps(to + 16, high);
  };
  store(row, v.first, _mm512_castps512_ps256(v.rest));
  if (two) store(next, v.second, _mm512_extractf32x8_ps(v.rest, 1));
}

template <bool masked>
OCTAVO_ALWAYS_INLINE void store_values(Bf16* row, Bf16* next, bool two, const PairValues& v,
                                       __mmask8 columns) {
  store_rows<masked>(row, next, two, narrow_two(v.first, v.second),
                     _mm512_castsi512_si256(narrow_two(v.rest, v.rest)), columns);
}

template <bool adds, bool masked, class Element, std::size_t... row>
OCTAVO_ALWAYS_INLINE void finish_rows(const ConvFinishRows& args, const PairSums* sums) {
  const PairFinish finish(args);
  const std::int64_t* const out_index = args.out_index;
  auto* const out = args.out.as<Element>();
  const __mmask8 columns = masked ? finish.scales.columns : 0xff;
  const auto pair = [&](const PairSums& of, std::size_t i, std::size_t j) OCTAVO_INLINE_BODY {
    Element *const at = out + out_index[i], *const next = i == j ? at : out + out_index[j];
    PairValues values{finish.low(of.first), finish.low(of.second), finish.rest(of.rest)};
    if constexpr (adds) {
      values.first = _mm512_add_ps(values.first, load_floats(at));
      values.second = _mm512_add_ps(values.second, load_floats(next));
      values.rest = _mm512_add_ps(values.rest, load_rests(at, next, columns));
    }
    store_values<masked>(at, next, i != j, values, columns);
  };
  (finish_pair<row, sizeof...(row)>(sums, pair), ...);
}

template <class Element, std::size_t... row>
OCTAVO_ALWAYS_INLINE void finish_rows(const ConvFinishRows& args, const PairSums* sums) {
  const bool masked = args.columns != 24;
  if (args.accumulate)
    masked ? finish_rows<true, true, Element, row...>(args, sums)
           : finish_rows<true, false, Element, row...>(args, sums);
  else
    masked ? finish_rows<false, true, Element, row...>(args, sums)
           : finish_rows<false, false, Element, row...>(args, sums);
}

template <std::size_t... row>
[[gnu::noipa]] void finished_pair_tile(const ConvTile& tile, const ConvFinishRows& args) {
  PairSums acc[pairs_of(sizeof...(row))], sums[pairs_of(sizeof...(row))];
  sum_corrected_pairs<TileKind::plain, row...>(tile, args.correction, acc);
  (part_pair<row>(sums, acc), ...);
  if (args.out.type == FloatType::bf16)
    finish_rows<Bf16, row...>(args, sums);
  else
    finish_rows<float, row...>(args, sums);
}

struct PairTiles {
  template <TileKind kind, std::size_t... row>
  static constexpr ConvTileFunction tile = pair_tile<kind, row...>;
  template <std::size_t... row>
  static constexpr ConvTileFunction summed = summed_pair_tile<row...>;
  template <std::size_t... row>
  static constexpr ConvFinishedTile finished = finished_pair_tile<row...>;
};

}  // namespace

const ConvTiles tiles_24_avx512vnni = all_tiles<PairTiles>();

}  // namespace octavo::kernels
