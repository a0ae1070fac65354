// Tiles of the integer convolution that become bfloat16 by the CPU's own conversion (AVX512-BF16): whole
// products, without bias or anything to add.
#include "avx512vnni/conv_s8_tables.h"

namespace octavo::kernels {
namespace {

OCTAVO_ALWAYS_INLINE __m512 scaled(__m512i sums, __m512 scale) {
  return _mm512_mul_ps(_mm512_cvtepi32_ps(sums), scale);
}

OCTAVO_ALWAYS_INLINE __m512i convert(__m512 first, __m512 second) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first));
}

/// What the rows of a tile share.
struct Conversion {
  __m512 scale[2];
  __mmask16 columns[2];
  const std::int64_t* out_index;
  Bf16* out;
  OCTAVO_ALWAYS_INLINE Conversion(const ConvFinishRows& args, int vectors)
      : out_index(args.out_index), out(args.out.as<Bf16>()) {
    for (int v = 0; v < vectors; ++v) {
      columns[v] = first_lanes(args.columns - 16 * v);
      const __m512 b = args.b_scale_vector ? _mm512_maskz_loadu_ps(columns[v], args.b_scale + 16 * v)
                                           : _mm512_set1_ps(*args.b_scale);
      scale[v] = _mm512_mul_ps(_mm512_set1_ps(*args.a_scale), b);
    }
  }
};

template <bool stream, bool masked>
OCTAVO_ALWAYS_INLINE void convert_wide(const Conversion& to, const Accumulators& acc, Bf16* row) {
  const __m512i values = convert(scaled(acc.low, to.scale[0]), scaled(acc.high, to.scale[1]));
  if constexpr (stream)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(row), values);
  else if constexpr (masked)
    _mm512_mask_storeu_epi16(row, _mm512_kunpackw(to.columns[1], to.columns[0]), values);
  else
    _mm512_storeu_si512(row, values);
}

/// Two rows of a narrow tile, which may be the same.
template <bool masked>
OCTAVO_ALWAYS_INLINE void convert_narrow(const Conversion& to, const Accumulators& acc, Bf16* row,
                                         const Accumulators& next_acc, Bf16* next) {
  const __m512i values =
      convert(scaled(join_lanes(acc), to.scale[0]), scaled(join_lanes(next_acc), to.scale[0]));
  const __m256i first = _mm512_castsi512_si256(values), second = _mm512_extracti64x4_epi64(values, 1);
  if constexpr (masked) {
    _mm256_mask_storeu_epi16(row, to.columns[0], first);
    _mm256_mask_storeu_epi16(next, to.columns[0], second);
  } else {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(row), first);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(next), second);
  }
}

template <bool wide, bool stream, bool masked, std::size_t... row>
OCTAVO_ALWAYS_INLINE void convert_rows(const ConvTile& tile, const ConvFinishRows& args, const LastStep& last,
                                       Accumulators* sums) {
  const Conversion to(args, wide ? 2 : 1);
  const auto at = [&](std::size_t i) OCTAVO_INLINE_BODY { return to.out + to.out_index[i]; };
  finish_each<wide, row...>(tile, last, sums, [&](std::size_t i, std::size_t next) OCTAVO_INLINE_BODY {
    if constexpr (wide)
      convert_wide<stream, masked>(to, sums[i], at(i));
    else
      convert_narrow<masked>(to, sums[i], at(i), sums[next], at(next));
  });
}

template <bool wide, std::size_t... row>
[[gnu::noipa]] void converted_tile(const ConvTile& tile, const ConvFinishRows& args) {
  Accumulators acc[sizeof...(row)], sums[sizeof...(row)];
  const LastStep last = sum_corrected<wide, row...>(tile, args.correction, acc);
  (part(sums[row], acc[row]), ...);
  if (args.columns != (wide ? 32 : 16))
    convert_rows<wide, false, true, row...>(tile, args, last, sums);
  else if (wide && args.stream)  // half lines are never streamed
    convert_rows<wide, true, false, row...>(tile, args, last, sums);
  else
    convert_rows<wide, false, false, row...>(tile, args, last, sums);
}

template <bool wide>
struct ConvertedTiles {
  template <std::size_t... row>
  static constexpr ConvFinishedTile finished = converted_tile<wide, row...>;
};

}  // namespace

const ConvFinishedTiles narrow_tiles_avx512bf16 = finished_tiles<ConvertedTiles<false>>();
const ConvFinishedTiles wide_tiles_avx512bf16 = finished_tiles<ConvertedTiles<true>>();

}  // namespace octavo::kernels
