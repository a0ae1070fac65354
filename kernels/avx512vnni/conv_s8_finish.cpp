// From integer sums of a tile to results.
#include "avx512vnni/conv_s8.h"
#include "avx512vnni/float_vectors.h"

namespace octavo::kernels {
namespace {

/// out = v * scale [+ bias] [+ out], in this order.
template <class Element>
OCTAVO_ALWAYS_INLINE void write_floats(Element* out, __mmask16 mask, __m512 value, __m512 scale,
                                       const float* bias, bool accumulate) {
  value = _mm512_mul_ps(value, scale);
  if (bias) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, bias));
  if (accumulate) value = _mm512_add_ps(value, load_floats(out, mask));
  store_floats(out, value, mask);
}

void write_integers(std::int64_t* out, __mmask16 mask, __m512i low, __m512i high) {
  _mm512_mask_storeu_epi64(out, static_cast<__mmask8>(mask), low);
  _mm512_mask_storeu_epi64(out + 8, static_cast<__mmask8>(mask >> 8), high);
}

/// acc - correction of 16 columns, modulo 2^32, in two vectors of int64.
OCTAVO_ALWAYS_INLINE void widen(const std::int32_t* acc, __m512i correction, __m512i& low, __m512i& high) {
  const __m512i v = _mm512_sub_epi32(_mm512_load_si512(acc), correction);
  low = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(v));
  high = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(v, 1));
}

/// 16 sums to float, rounded once.
OCTAVO_ALWAYS_INLINE __m512 to_float(const std::int64_t* sums) {
  const __m256 low = _mm512_cvtepi64_ps(_mm512_loadu_si512(sums));
  const __m256 high = _mm512_cvtepi64_ps(_mm512_loadu_si512(sums + 8));
  return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

/// The sums of 16 columns of one row, from whichever of the two is there.
template <bool wide>
OCTAVO_ALWAYS_INLINE __m512 row_values(const std::int64_t* sums, const std::int32_t* acc, std::int64_t at,
                                       __m512i correction) {
  if constexpr (wide) return to_float(sums + at);
  return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_load_si512(acc + at), correction));
}

void finish_row_integers(const ConvFinishRows& args) {
  for (std::int64_t j = 0; j < args.columns; j += 16) {
    const __mmask16 mask = first_lanes(args.columns - j);
    const __m512i correction = _mm512_loadu_si512(args.correction + j);
    for (std::int64_t i = 0; i < args.rows; ++i) {
      const std::int64_t at = i * args.pitch + j;
      __m512i low, high;
      if (args.sums)
        low = _mm512_load_si512(args.sums + at), high = _mm512_load_si512(args.sums + at + 8);
      else
        widen(args.acc + at, correction, low, high);
      write_integers(args.integers + args.out_index[i] + j, mask, low, high);
    }
  }
}

template <bool wide, class Element>
void finish_float_rows(const ConvFinishRows& args) {
  const std::int64_t rows = args.rows, pitch = args.pitch, *const out_index = args.out_index;
  const std::int64_t* const sums = args.sums;
  const std::int32_t* const acc = args.acc;
  const float* const a_scale = args.a_scale;
  const std::int64_t a_step = args.a_scale_vector ? 1 : 0;
  const bool accumulate = args.accumulate;
  for (std::int64_t j = 0; j < args.columns; j += 16) {
    const __mmask16 mask = first_lanes(args.columns - j);
    const __m512i correction = _mm512_loadu_si512(args.correction + j);
    const __m512 b_scale =
        args.b_scale_vector ? _mm512_maskz_loadu_ps(mask, args.b_scale + j) : _mm512_set1_ps(*args.b_scale);
    const float* const bias = args.bias ? args.bias + j : nullptr;
    Element* const out = args.out.as<Element>() + j;
    for (std::int64_t i = 0, at = j; i < rows; ++i, at += pitch) {
      const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(a_scale[i * a_step]), b_scale);
      write_floats(out + out_index[i], mask, row_values<wide>(sums, acc, at, correction), scale, bias,
                   accumulate);
    }
  }
}

void finish_column_integers(const ConvFinishColumns& args) {
  for (std::int64_t j = 0; j < args.columns; ++j)
    for (std::int64_t i = 0; i < args.rows; ++i) {
      const std::int64_t at = i * args.pitch + j;
      if (args.odd_integers) args.odd_integers[j * args.out_pitch + i] = args.odd ? args.odd[at] : 0;
      args.integers[j * args.out_pitch + i] =
          args.sums ? args.sums[at]
                    : static_cast<std::int32_t>(static_cast<std::uint32_t>(args.acc[at]) -
                                                static_cast<std::uint32_t>(args.correction[j]));
    }
}

/// 16 joined sums from element `at` on.
OCTAVO_ALWAYS_INLINE __m512 joined_to_float(const ConvFinishColumns& args, std::int64_t at) {
  const __m512 even = to_float(args.sums + at);
  if (!args.odd) return even;
  return _mm512_add_ps(even, _mm512_mul_ps(to_float(args.odd + at), _mm512_set1_ps(sqrt2)));
}

/// Columns of results, 16 rows from row i on.
struct ColumnsOut {
  const ConvFinishColumns& args;
  std::int64_t i;
  __mmask16 rows;
  __m512 a_scale;
  ColumnsOut(const ConvFinishColumns& finish, std::int64_t row)
      : args(finish), i(row), rows(first_lanes(finish.rows - row)) {
    a_scale =
        args.a_scale_vector ? _mm512_maskz_loadu_ps(rows, args.a_scale + i) : _mm512_set1_ps(*args.a_scale);
  }
  OCTAVO_ALWAYS_INLINE void write(std::int64_t column, __m512 values) const {
    const float b_scale = args.b_scale[args.b_scale_vector ? column : 0];
    write_floats(args.out + column * args.out_pitch + i, rows, values,
                 _mm512_mul_ps(a_scale, _mm512_set1_ps(b_scale)), nullptr, args.accumulate);
  }
};

/// 16 columns of at most 16 rows, from joined sums.
void finish_joined(const ConvFinishColumns& args, std::int64_t i, std::int64_t j) {
  const ColumnsOut out(args, i);
  __m512 m[16];
  for (std::int64_t row = 0; row < 16; ++row)
    m[row] = joined_to_float(args, (i + row < args.rows ? i + row : i) * args.pitch + j);
  transpose(m);
  for (std::int64_t column = 0; column < 16 && j + column < args.columns; ++column)
    out.write(j + column, m[column]);
}

/// Four columns of rows r, r + 4, r + 8, r + 12.
OCTAVO_ALWAYS_INLINE __m512i load_every_fourth(const std::int32_t* acc, const std::int64_t* rows) {
  const auto quad = [&](int i) OCTAVO_INLINE_BODY {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(acc + rows[i]));
  };
  __m512i v = _mm512_castsi128_si512(quad(0));
  v = _mm512_inserti32x4(v, quad(4), 1);
  v = _mm512_inserti32x4(v, quad(8), 2);
  return _mm512_inserti32x4(v, quad(12), 3);
}

/// At most 16 rows, four columns at a time: they are transposed as they are loaded, and few registers hold
/// them.
void finish_sums(const ConvFinishColumns& args, std::int64_t i) {
  const ColumnsOut out(args, i);
  std::int64_t rows[16];
  for (std::int64_t row = 0; row < 16; ++row) rows[row] = (i + row < args.rows ? i + row : i) * args.pitch;
  for (std::int64_t j = 0; j < args.columns; j += 4) {
    const __m512i a = load_every_fourth(args.acc + j, rows), b = load_every_fourth(args.acc + j, rows + 1),
                  c = load_every_fourth(args.acc + j, rows + 2),
                  d = load_every_fourth(args.acc + j, rows + 3);
    const __m512i ab_low = _mm512_unpacklo_epi32(a, b), ab_high = _mm512_unpackhi_epi32(a, b),
                  cd_low = _mm512_unpacklo_epi32(c, d), cd_high = _mm512_unpackhi_epi32(c, d);
    const __m512i columns[4] = {_mm512_unpacklo_epi64(ab_low, cd_low), _mm512_unpackhi_epi64(ab_low, cd_low),
                                _mm512_unpacklo_epi64(ab_high, cd_high),
                                _mm512_unpackhi_epi64(ab_high, cd_high)};
    for (std::int64_t e = 0; e < 4 && j + e < args.columns; ++e)
      out.write(j + e,
                _mm512_cvtepi32_ps(_mm512_sub_epi32(columns[e], _mm512_set1_epi32(args.correction[j + e]))));
  }
}

}  // namespace

void finish_rows_avx512vnni(const ConvFinishRows& args) {
  if (args.integers) return finish_row_integers(args);
  with_type(args.out.type, [&](auto element) {
    using Element = decltype(element);
    args.sums ? finish_float_rows<true, Element>(args) : finish_float_rows<false, Element>(args);
  });
}

void add_sums_avx512vnni(std::int64_t* sums, const std::int32_t* acc, const std::int32_t* correction,
                         std::int64_t rows, std::int64_t pitch, int shift, bool first) {
  const __m128i bits = _mm_cvtsi32_si128(shift);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < pitch; j += 16) {
      __m512i low, high;
      widen(acc + i * pitch + j, _mm512_loadu_si512(correction + j), low, high);
      low = _mm512_sll_epi64(low, bits), high = _mm512_sll_epi64(high, bits);
      std::int64_t* target = sums + i * pitch + j;
      if (!first) {
        low = _mm512_add_epi64(low, _mm512_loadu_si512(target));
        high = _mm512_add_epi64(high, _mm512_loadu_si512(target + 8));
      }
      _mm512_storeu_si512(target, low);
      _mm512_storeu_si512(target + 8, high);
    }
}

void finish_columns_avx512vnni(const ConvFinishColumns& args) {
  if (args.integers) return finish_column_integers(args);
  for (std::int64_t i = 0; i < args.rows; i += 16) {
    if (!args.sums) {
      finish_sums(args, i);
      continue;
    }
    for (std::int64_t j = 0; j < args.columns; j += 16) finish_joined(args, i, j);
  }
}

}  // namespace octavo::kernels
