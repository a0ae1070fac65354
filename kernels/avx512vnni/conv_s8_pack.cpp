// Packed weights, and the sums of their columns.
#include <algorithm>
#include <utility>

#include "avx512vnni/conv_s8.h"

namespace octavo::kernels {
namespace {

/// 16 columns of what the taps leave out of a sample, after a shift.
void add_holes(const ConvColumnSums& args, const std::int8_t* b, std::int32_t* acc, __m128i shift) {
  const __m512i ones = _mm512_set1_epi8(1);
  for (std::size_t tap = 0; tap + 1 < args.holes->begin.size(); ++tap, acc += args.acc_pitch) {
    __m512i sum = _mm512_sll_epi32(_mm512_loadu_si512(acc), shift);
    for (std::int64_t i = args.holes->begin[tap]; i < args.holes->begin[tap + 1]; ++i) {
      const ConvHoles::Hole& hole = args.holes->list[static_cast<std::size_t>(i)];
      const __m512i mask = _mm512_set1_epi32(static_cast<int>(hole.mask));
      sum = _mm512_dpbusd_epi32(sum, ones,
                                _mm512_and_si512(mask, _mm512_loadu_si512(b + hole.quad * args.b_step)));
    }
    _mm512_storeu_si512(acc, sum);
  }
}

/// 16 columns. Local copies of the arguments: the stores could change the originals.
template <bool gather, bool holes>
void sum_16_columns(const ConvColumnSums& args, std::int64_t column) {
  const __m512i ones = _mm512_set1_epi8(1);
  const std::int64_t steps = args.steps, b_step = args.b_step, copy_step = args.columns * 4;
  const std::size_t taps = holes ? args.holes->begin.size() - 1 : 1;
  std::int32_t* const acc = args.acc + column;
  __m512i even = _mm512_setzero_si512(), odd = _mm512_setzero_si512();
  for (std::size_t tap = 0; tap < taps; ++tap)
    _mm512_storeu_si512(acc + static_cast<std::int64_t>(tap) * args.acc_pitch, _mm512_setzero_si512());
  for (std::int64_t t = 0; t < args.segments; ++t) {
    const __m128i shift = _mm_cvtsi32_si128(args.shifts ? args.shifts[t] : 0);
    even = _mm512_sll_epi32(even, shift), odd = _mm512_sll_epi32(odd, shift);
    const std::int8_t* b = args.b + args.index[t] * args.b_segment + column * 4;
    std::int8_t* copy = gather ? args.copy + args.index[t] * args.copy_segment + column * 4 : nullptr;
    for (std::int64_t q = 0; q < steps; ++q, b += b_step) {
      const __m512i v = _mm512_loadu_si512(b);
      if constexpr (gather) _mm512_storeu_si512(copy, v), copy += copy_step;
      even = _mm512_dpbusd_epi32(even, ones, v);
      std::swap(even, odd);
    }
    if constexpr (holes) add_holes(args, b - steps * b_step, acc, shift);
  }
  const __m512i all = _mm512_add_epi32(even, odd);
  for (std::size_t tap = 0; tap < taps; ++tap) {
    std::int32_t* const sums = acc + static_cast<std::int64_t>(tap) * args.acc_pitch;
    _mm512_storeu_si512(sums, _mm512_sub_epi32(all, _mm512_loadu_si512(sums)));
  }
}

template <bool holes>
void sum_columns(const ConvColumnSums& args) {
  for (std::int64_t column = 0; column < args.columns; column += 16)
    args.copy ? sum_16_columns<true, holes>(args, column) : sum_16_columns<false, holes>(args, column);
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
  args.holes ? sum_columns<true>(args) : sum_columns<false>(args);
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
