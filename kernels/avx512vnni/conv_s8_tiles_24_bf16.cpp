// Tiles of 24 columns of the integer convolution that become bfloat16 by the CPU's own conversion
// (AVX512-BF16): whole products, without bias or anything to add.
#include "avx512vnni/conv_s8_sums_24.h"
#include "avx512vnni/conv_s8_tables.h"

namespace octavo::kernels {
namespace {

OCTAVO_ALWAYS_INLINE __m512 scaled(__m512i sums, __m512 scale) {
  return _mm512_mul_ps(_mm512_cvtepi32_ps(sums), scale);
}

template <bool masked, std::size_t... row>
OCTAVO_ALWAYS_INLINE void convert_rows(const ConvTile& tile, const ConvFinishRows& args,
                                       const LastPairStep& last, PairSums* sums) {
  const PairScales scales(args);
  const std::int64_t* const out_index = args.out_index;
  auto* const out = args.out.as<Bf16>();
  const auto pair = [&](const PairSums& of, std::size_t i, std::size_t j) OCTAVO_INLINE_BODY {
    Bf16 *const at = out + out_index[i], *const next = i == j ? at : out + out_index[j];
    const auto low = reinterpret_cast<__m512i>(
        _mm512_cvtne2ps_pbh(scaled(of.second, scales.low), scaled(of.first, scales.low)));
    const auto rest = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(scaled(of.rest, scales.rest)));
    store_rows<masked>(at, next, i != j, low, rest, scales.columns);
  };
  finish_last_step<row...>(tile, last, sums, pair);
}

template <std::size_t... row>
[[gnu::noipa]] void converted_pair_tile(const ConvTile& tile, const ConvFinishRows& args) {
  PairSums acc[pairs_of(sizeof...(row))], sums[pairs_of(sizeof...(row))];
  sum_corrected_pairs<TileKind::finished, row...>(tile, args.correction, acc);
  const LastPairStep last = last_pair_step(tile);
  (part_pair<row>(sums, acc), ...);
  if (args.columns != 24)
    convert_rows<true, row...>(tile, args, last, sums);
  else
    convert_rows<false, row...>(tile, args, last, sums);
}

struct ConvertedPairTiles {
  template <std::size_t... row>
  static constexpr ConvFinishedTile finished = converted_pair_tile<row...>;
};

}  // namespace

const ConvFinishedTiles tiles_24_avx512bf16 = finished_tiles<ConvertedPairTiles>();

}  // namespace octavo::kernels
