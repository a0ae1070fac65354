// Register tiles of the integer convolution with vpdpbusd: 14 rows x 32 or 16 columns.
#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "avx512vnni/float_vectors.h"
#include "conv_s8_tiled.h"

namespace octavo::kernels {
namespace {

#define OCTAVO_INLINE __attribute__((always_inline)) inline

struct Accumulators {
  __m512i low, high;
};

OCTAVO_INLINE void clear(Accumulators& acc) { acc.low = acc.high = _mm512_setzero_si512(); }

OCTAVO_INLINE void shift(Accumulators& acc, __m128i bits) {
  acc.low = _mm512_sll_epi32(acc.low, bits);
  acc.high = _mm512_sll_epi32(acc.high, bits);
}

OCTAVO_INLINE void multiply(Accumulators& acc, __m512i a, __m512i low, __m512i high) {
  acc.low = _mm512_dpbusd_epi32(acc.low, a, low);
  acc.high = _mm512_dpbusd_epi32(acc.high, a, high);
}

/// The start of a row's next segment, which no prefetcher foresees.
OCTAVO_INLINE void fetch(const std::uint8_t* source) {
  _mm_prefetch(source, _MM_HINT_T0);
  _mm_prefetch(source + 64, _MM_HINT_T0);
}

OCTAVO_INLINE __m512i broadcast4(const std::uint8_t* source) {
  std::int32_t value;
  std::memcpy(&value, source, 4);
  return _mm512_set1_epi32(value);
}

OCTAVO_INLINE __m512i broadcast8(const std::uint8_t* source) {
  std::int64_t value;
  std::memcpy(&value, source, 8);
  return _mm512_set1_epi64(value);
}

// In both tiles rows are unrolled by fold expressions: a loop over an array of accumulators is unrolled after
// GCC 12 has decided what lives in registers, and the accumulators then stay in memory. noipa keeps argument
// values out of the loop for the same reason.

/// 32 columns: each broadcast of four bytes meets the two halves of a step.
template <std::size_t... row>
__attribute__((noipa)) void wide_tile(const ConvTile& args) {
  Accumulators acc[sizeof...(row)];
  (clear(acc[row]), ...);
  const std::uint8_t* const* rows = args.rows;
  const std::int64_t b_step = args.b_step, length = args.steps * 4;
  for (std::int64_t t = 0; t < args.segments; ++t) {
    if (args.scattered && t + 1 < args.segments) (fetch(rows[row] + args.offsets[t + 1]), ...);
    if (args.shifts && args.shifts[t]) (shift(acc[row], _mm_cvtsi32_si128(args.shifts[t])), ...);
    const std::int8_t* b = args.b + args.b_offsets[t];
    std::int64_t at = args.offsets[t];
    for (const std::int64_t end = at + length; at != end; at += 4, b += b_step) {
      const __m512i low = _mm512_loadu_si512(b), high = _mm512_loadu_si512(b + 64);
      (multiply(acc[row], broadcast4(rows[row] + at), low, high), ...);
    }
  }
  ((_mm512_store_si512(args.acc + row * 32, acc[row].low),
    _mm512_store_si512(args.acc + row * 32 + 16, acc[row].high)),
   ...);
}

/// Sums of neighbouring lanes, back in the order of the columns.
OCTAVO_INLINE void store_narrow(std::int32_t* target, const Accumulators& acc) {
  const __m512 low = _mm512_castsi512_ps(acc.low), high = _mm512_castsi512_ps(acc.high);
  const __m512i even = _mm512_castps_si512(_mm512_shuffle_ps(low, high, 0x88));
  const __m512i odd = _mm512_castps_si512(_mm512_shuffle_ps(low, high, 0xdd));
  _mm512_store_si512(target, _mm512_add_epi32(even, odd));
}

/// 16 columns: two steps at once, so that a broadcast (of eight bytes) again meets two vectors; loads would
/// be the limit otherwise. An odd last step meets zeros in place of its partner.
template <std::size_t... row>
__attribute__((noipa)) void narrow_tile(const ConvTile& args) {
  Accumulators acc[sizeof...(row)];
  (clear(acc[row]), ...);
  const std::uint8_t* const* rows = args.rows;
  const std::int64_t b_step = args.b_step, length = args.steps / 2 * 8;
  for (std::int64_t t = 0; t < args.segments; ++t) {
    if (args.scattered && t + 1 < args.segments) (fetch(rows[row] + args.offsets[t + 1]), ...);
    if (args.shifts && args.shifts[t]) (shift(acc[row], _mm_cvtsi32_si128(args.shifts[t])), ...);
    const std::int8_t* b = args.b + args.b_offsets[t];
    std::int64_t at = args.offsets[t];
    for (const std::int64_t end = at + length; at != end; at += 8, b += 2 * b_step) {
      const __m512i even = _mm512_loadu_si512(b), odd = _mm512_loadu_si512(b + b_step);
      const __m512i low = _mm512_unpacklo_epi32(even, odd), high = _mm512_unpackhi_epi32(even, odd);
      (multiply(acc[row], broadcast8(rows[row] + at), low, high), ...);
    }
    if (args.steps % 2) {
      const __m512i even = _mm512_loadu_si512(b), odd = _mm512_setzero_si512();
      const __m512i low = _mm512_unpacklo_epi32(even, odd), high = _mm512_unpackhi_epi32(even, odd);
      (multiply(acc[row], broadcast4(rows[row] + at), low, high), ...);
    }
  }
  (store_narrow(args.acc + row * 16, acc[row]), ...);
}

template <std::size_t... row>
constexpr ConvTileFunction tile_of(bool wide, std::index_sequence<row...>) {
  return wide ? wide_tile<row...> : narrow_tile<row...>;
}

template <bool wide, std::size_t... rows>
struct TileTable {
  static constexpr ConvTileFunction functions[] = {nullptr,
                                                   tile_of(wide, std::make_index_sequence<rows + 1>())...};
};

template <bool wide, std::size_t... rows>
constexpr const ConvTileFunction* tile_table(std::index_sequence<rows...>) {
  return TileTable<wide, rows...>::functions;
}

__mmask16 first_lanes(std::int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffff : (1 << count) - 1);
}

/// out = v * scale [+ bias] [+ out], in this order.
template <class Element>
OCTAVO_INLINE void write_floats(Element* out, __mmask16 mask, __m512 value, __m512 scale, const float* bias,
                                bool accumulate) {
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
OCTAVO_INLINE void widen(const std::int32_t* acc, __m512i correction, __m512i& low, __m512i& high) {
  const __m512i v = _mm512_sub_epi32(_mm512_load_si512(acc), correction);
  low = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(v));
  high = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(v, 1));
}

/// 16 sums to float, rounded once.
OCTAVO_INLINE __m512 to_float(const std::int64_t* sums) {
  const __m256 low = _mm512_cvtepi64_ps(_mm512_loadu_si512(sums));
  const __m256 high = _mm512_cvtepi64_ps(_mm512_loadu_si512(sums + 8));
  return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

/// The sums of 16 columns of one row, from whichever of the two is there.
template <bool wide>
OCTAVO_INLINE __m512 row_values(const std::int64_t* sums, const std::int32_t* acc, std::int64_t at,
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

/// 16 columns from j on: how their sums become floats.
struct PlainColumns {
  __m512i correction;
  __m512 b_scale, scale;
  PlainColumns(const ConvFinishRows& args, std::int64_t j)
      : correction(_mm512_loadu_si512(args.correction + j)),
        b_scale(args.b_scale_vector ? _mm512_loadu_ps(args.b_scale + j) : _mm512_set1_ps(*args.b_scale)),
        scale(_mm512_mul_ps(_mm512_set1_ps(*args.a_scale), b_scale)) {}
};

/// The common case: whole vectors, nothing to add; a row of two vectors, which may be one line, at once.
/// `wide`: int64 sums; `by_row`: a scale of A for each row. Local copies of the arguments, here and below:
/// the stores could change the originals.
template <bool stream, bool wide, bool by_row, int vectors, class Element>
void finish_plain_columns(const ConvFinishRows& args, std::int64_t first) {
  const PlainColumns columns[2] = {{args, first}, {args, first + (vectors - 1) * 16}};
  const std::int64_t rows = args.rows, pitch = args.pitch, *const out_index = args.out_index;
  const std::int64_t* const sums = args.sums;
  const std::int32_t* const acc = args.acc;
  const float* const a_scale = args.a_scale;
  Element* const out = args.out.as<Element>() + first;
  for (std::int64_t i = 0, at = first; i < rows; ++i, at += pitch)
    for (int v = 0; v < vectors; ++v) {
      const __m512 scale =
          by_row ? _mm512_mul_ps(_mm512_set1_ps(a_scale[i]), columns[v].b_scale) : columns[v].scale;
      const __m512 value =
          _mm512_mul_ps(row_values<wide>(sums, acc, at + v * 16, columns[v].correction), scale);
      if constexpr (stream)
        stream_floats(out + out_index[i] + v * 16, value);
      else
        store_floats(out + out_index[i] + v * 16, value);
    }
}

template <bool stream, bool wide, bool by_row, class Element>
void finish_plain_rows(const ConvFinishRows& args) {
  std::int64_t j = 0;
  for (; j + 32 <= args.columns; j += 32) finish_plain_columns<stream, wide, by_row, 2, Element>(args, j);
  if (j < args.columns) finish_plain_columns<stream, wide, by_row, 1, Element>(args, j);
}

/// Every row starts at a multiple of 64 bytes when the outputs of a pixel are whole lines.
bool can_stream(const ConvFinishRows& args) {
  const std::int64_t size = float_bytes(args.out.type), line = 64 / size;
  if (!args.stream || args.columns % line != 0) return false;
  std::int64_t bits = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(args.out.data)) / size;
  for (std::int64_t i = 0; i < args.rows; ++i) bits |= args.out_index[i];
  return bits % line == 0;
}

template <bool wide, class Element>
void finish_any_rows(const ConvFinishRows& args) {
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

template <bool wide, class Element>
void finish_float_rows(const ConvFinishRows& args) {
  if (args.columns % 16 != 0 || args.bias || args.accumulate) return finish_any_rows<wide, Element>(args);
  if (can_stream(args))
    args.a_scale_vector ? finish_plain_rows<true, wide, true, Element>(args)
                        : finish_plain_rows<true, wide, false, Element>(args);
  else
    args.a_scale_vector ? finish_plain_rows<false, wide, true, Element>(args)
                        : finish_plain_rows<false, wide, false, Element>(args);
}

void finish_rows(const ConvFinishRows& args) {
  if (args.integers) return finish_row_integers(args);
  with_type(args.out.type, [&](auto element) {
    using Element = decltype(element);
    args.sums ? finish_float_rows<true, Element>(args) : finish_float_rows<false, Element>(args);
  });
}

void add_sums(std::int64_t* sums, const std::int32_t* acc, const std::int32_t* correction, std::int64_t rows,
              std::int64_t pitch, int shift, bool first) {
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

/// Transposes 16 rows of 16 floats.
OCTAVO_INLINE void transpose(__m512 (&m)[16]) {
  __m512 t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(m[i], m[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(m[i], m[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int half = 0; half < 2; ++half) {
      m[i + 2 * half] = _mm512_shuffle_ps(t[i + half], t[i + 2 + half], 0x44);
      m[i + 2 * half + 1] = _mm512_shuffle_ps(t[i + half], t[i + 2 + half], 0xee);
    }
  for (int i = 0; i < 16; i += 8)
    for (int q = 0; q < 4; ++q) {
      t[i + q] = _mm512_shuffle_f32x4(m[i + q], m[i + q + 4], 0x88);
      t[i + q + 4] = _mm512_shuffle_f32x4(m[i + q], m[i + q + 4], 0xdd);
    }
  for (int q = 0; q < 8; ++q) {
    m[q] = _mm512_shuffle_f32x4(t[q], t[q + 8], 0x88);
    m[q + 8] = _mm512_shuffle_f32x4(t[q], t[q + 8], 0xdd);
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

/// 16 sums from element `at` on, which lies in column j.
OCTAVO_INLINE __m512 sums_to_float(const ConvFinishColumns& args, std::int64_t at, std::int64_t j) {
  if (!args.sums)
    return _mm512_cvtepi32_ps(
        _mm512_sub_epi32(_mm512_load_si512(args.acc + at), _mm512_loadu_si512(args.correction + j)));
  const __m512 even = to_float(args.sums + at);
  if (!args.odd) return even;
  return _mm512_add_ps(even, _mm512_mul_ps(to_float(args.odd + at), _mm512_set1_ps(sqrt2)));
}

/// 16 columns of at most 16 rows.
void finish_block(const ConvFinishColumns& args, std::int64_t i, std::int64_t j) {
  const __mmask16 mask = first_lanes(args.rows - i);
  __m512 m[16];
  for (std::int64_t row = 0; row < 16; ++row)
    m[row] = sums_to_float(args, (i + row < args.rows ? i + row : i) * args.pitch + j, j);
  transpose(m);
  const __m512 a_scale =
      args.a_scale_vector ? _mm512_maskz_loadu_ps(mask, args.a_scale + i) : _mm512_set1_ps(*args.a_scale);
  for (std::int64_t column = 0; column < 16 && j + column < args.columns; ++column) {
    const float b_scale = args.b_scale[args.b_scale_vector ? j + column : 0];
    write_floats(args.out + (j + column) * args.out_pitch + i, mask, m[column],
                 _mm512_mul_ps(a_scale, _mm512_set1_ps(b_scale)), nullptr, args.accumulate);
  }
}

void finish_columns(const ConvFinishColumns& args) {
  if (args.integers) return finish_column_integers(args);
  for (std::int64_t i = 0; i < args.rows; i += 16)
    for (std::int64_t j = 0; j < args.columns; j += 16) finish_block(args, i, j);
}

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

void column_sums(const ConvColumnSums& args) {
  for (std::int64_t column = 0; column < args.columns; column += 16)
    args.copy ? sum_16_columns<true>(args, column) : sum_16_columns<false>(args, column);
}

__mmask64 first_bytes(std::int64_t count) {
  return count >= 64 ? ~__mmask64{0} : (__mmask64{1} << (count < 0 ? 0 : count)) - 1;
}

OCTAVO_INLINE void add_to_sums(std::int32_t* sums, __m512i more) {
  _mm512_storeu_si512(sums, _mm512_add_epi32(_mm512_loadu_si512(sums), more));
}

OCTAVO_INLINE void store_packed(const ConvPack& args, std::int8_t* target, __m512i v) {
  if (args.stream)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(target), v);
  else
    _mm512_storeu_si512(target, v);
}

/// 16 columns of 64 inputs are a matrix of 16 by 16 groups of four bytes. All columns of these inputs follow
/// each other, as they share the lines of the target.
void pack_rows(const ConvPack& args) {
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
void pack_columns(const ConvPack& args) {
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

}  // namespace

extern const ConvOuterTiles outer_tiles_avx512vnni;
extern const ConvIsa conv_isa_avx512vnni;
const ConvIsa conv_isa_avx512vnni = {
    {14, 14},
    {tile_table<false>(std::make_index_sequence<14>()), tile_table<true>(std::make_index_sequence<14>())},
    finish_rows,
    add_sums,
    finish_columns,
    column_sums,
    pack_rows,
    pack_columns,
    &outer_tiles_avx512vnni};

}  // namespace octavo::kernels
