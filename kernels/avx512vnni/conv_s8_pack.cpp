// Packed weights, and the sums of their columns.
#include <algorithm>
#include <utility>

#include "avx512vnni/conv_s8.h"

namespace octavo::kernels {
namespace {

/// 16 columns. Local copies of the arguments: the stores could change the originals.
template <bool gather>
void sum_16_columns(const ConvColumnSums& args, std::int64_t column) {
  const __m512i ones = _mm512_set1_epi8(1);
  const std::int64_t steps = args.steps, b_step = args.b_step, copy_step = args.columns * 4;
  __m512i even = _mm512_setzero_si512(), odd = _mm512_setzero_si512();
  for (std::int64_t t = 0; t < args.segments; ++t) {
    if (args.shifts && args.shifts[t]) {
      const __m128i bits = _mm_cvtsi32_si128(args.shifts[t]);
      even = _mm512_sll_epi32(even, bits), odd = _mm512_sll_epi32(odd, bits);
    }
    const std::int8_t* b = args.b + args.index[t] * args.b_segment + column * 4;
    std::int8_t* copy = gather ? args.copy + args.index[t] * args.copy_segment + column * 4 : nullptr;
    for (std::int64_t q = 0; q < steps; ++q, b += b_step) {
      const __m512i v = _mm512_loadu_si512(b);
      if constexpr (gather) _mm512_storeu_si512(copy, v), copy += copy_step;
      even = _mm512_dpbusd_epi32(even, ones, v);
      std::swap(even, odd);
    }
  }
  _mm512_storeu_si512(args.acc + column, _mm512_add_epi32(even, odd));
}

__mmask64 first_bytes(std::int64_t count) {
  return count >= 64 ? ~__mmask64{0} : (__mmask64{1} << (count < 0 ? 0 : count)) - 1;
}

OCTAVO_ALWAYS_INLINE void add_to_sums(std::int32_t* sums, __m512i more) {
  _mm512_storeu_si512(sums, _mm512_add_epi32(_mm512_loadu_si512(sums), more));
}

OCTAVO_ALWAYS_INLINE void store_packed(const ConvPack& args, std::int8_t* target, __m512i v) {
  if (args.stream)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(target), v);
  else
    _mm512_storeu_si512(target, v);
}

}  // namespace

void column_sums_avx512vnni(const ConvColumnSums& args) {
  for (std::int64_t column = 0; column < args.columns; column += 16)
    args.copy ? sum_16_columns<true>(args, column) : sum_16_columns<false>(args, column);
}

/// 16 columns of 64 inputs are a matrix of 16 by 16 groups of four bytes. All columns of these inputs follow
/// each other, as they share the lines of the target.
void pack_rows_avx512vnni(const ConvPack& args) {
  const __m512i ones = _mm512_set1_epi8(1);
  for (std::int64_t first = 0; first < args.inputs; first += 64)
    for (std::int64_t j = 0; j < args.columns; j += 16) {
      const __mmask64 mask = first_bytes(args.inputs - first);
      __m512 m[16];
      for (std::int64_t i = 0; i < 16; ++i) {
        const std::int8_t* from = args.source + (j + i) * args.row + first;
        m[i] = _mm512_castsi512_ps(_mm512_maskz_loadu_epi8(j + i < args.columns ? mask : 0, from));
      }
      transpose(m);
      __m512i sums = _mm512_setzero_si512();
      std::int8_t* target = args.target + first / 4 * args.step + j * 4;
      for (std::int64_t q = 0; q < 16 && first + 4 * q < args.inputs; ++q, target += args.step) {
        const __m512i v = _mm512_castps_si512(m[q]);
        store_packed(args, target, v);
        sums = _mm512_dpbusd_epi32(sums, ones, v);
      }
      add_to_sums(args.sums + j, sums);
    }
}

/// Bytes of four rows, column by column.
void pack_columns_avx512vnni(const ConvPack& args) {
  const __m512i ones = _mm512_set1_epi8(1);
  for (std::int64_t j = 0; j < args.columns; j += 16) {
    const auto mask = static_cast<__mmask16>(first_bytes(std::min<std::int64_t>(16, args.columns - j)));
    __m512i sums = _mm512_setzero_si512();
    std::int8_t* target = args.target + j * 4;
    for (std::int64_t input = 0; input < args.inputs; input += 4, target += args.step) {
      __m128i v[4];
      for (std::int64_t e = 0; e < 4; ++e)
        v[e] = _mm_maskz_loadu_epi8(input + e < args.inputs ? mask : 0,
                                    args.source + (input + e) * args.row + j);
      const __m128i low = _mm_unpacklo_epi8(v[0], v[1]), high = _mm_unpackhi_epi8(v[0], v[1]);
      const __m128i low2 = _mm_unpacklo_epi8(v[2], v[3]), high2 = _mm_unpackhi_epi8(v[2], v[3]);
      __m512i quads = _mm512_castsi128_si512(_mm_unpacklo_epi16(low, low2));
      quads = _mm512_inserti32x4(quads, _mm_unpackhi_epi16(low, low2), 1);
      quads = _mm512_inserti32x4(quads, _mm_unpacklo_epi16(high, high2), 2);
      quads = _mm512_inserti32x4(quads, _mm_unpackhi_epi16(high, high2), 3);
      store_packed(args, target, quads);
      sums = _mm512_dpbusd_epi32(sums, ones, quads);
    }
    add_to_sums(args.sums + j, sums);
  }
}

}  // namespace octavo::kernels
