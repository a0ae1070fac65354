// Register tiles of the integer convolution with vpdpbusd: 14 rows x 32 or 16 columns, left as sums or
// finished as floats before they leave the registers.
#include <algorithm>
#include <cstring>
#include <utility>

#include "avx512vnni/conv_s8.h"
#include "avx512vnni/float_vectors.h"

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
}

/// 16 columns: two steps at once, so that a broadcast (of eight bytes) again meets two vectors; loads would
/// be the limit otherwise. An odd last step meets zeros in place of its partner.
template <std::size_t... row>
OCTAVO_ALWAYS_INLINE void sum_narrow(const ConvTile& args, Accumulators* acc) {
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
}

/// Sums of neighbouring lanes of a narrow tile, back in the order of the columns.
OCTAVO_ALWAYS_INLINE __m512i join_lanes(const Accumulators& acc) {
  const __m512 low = _mm512_castsi512_ps(acc.low), high = _mm512_castsi512_ps(acc.high);
  const __m512i even = _mm512_castps_si512(_mm512_shuffle_ps(low, high, 0x88));
  const __m512i odd = _mm512_castps_si512(_mm512_shuffle_ps(low, high, 0xdd));
  return _mm512_add_epi32(even, odd);
}

OCTAVO_ALWAYS_INLINE void store_wide(std::int32_t* target, const Accumulators& acc) {
  _mm512_store_si512(target, acc.low);
  _mm512_store_si512(target + 16, acc.high);
}

template <std::size_t... row>
[[gnu::noipa]] void wide_tile(const ConvTile& args) {
  const __m512i zero = _mm512_setzero_si512();
  Accumulators acc[sizeof...(row)];
  (start(acc[row], zero, zero), ...);
  sum_wide<row...>(args, acc);
  (store_wide(args.acc + row * 32, acc[row]), ...);
}

template <std::size_t... row>
[[gnu::noipa]] void narrow_tile(const ConvTile& args) {
  const __m512i zero = _mm512_setzero_si512();
  Accumulators acc[sizeof...(row)];
  (start(acc[row], zero, zero), ...);
  sum_narrow<row...>(args, acc);
  (_mm512_store_si512(args.acc + row * 16, join_lanes(acc[row])), ...);
}

// ---- Finished in registers: one plane, one scale of A, finite scales and bias.

enum class Way : std::uint8_t { store, stream, add };

/// What the rows of a tile share. Adding -0 changes nothing.
struct Finish {
  __m512 scale[2], bias[2];
  __mmask16 columns[2];
  const std::int64_t* out_index;
  OCTAVO_ALWAYS_INLINE Finish(const ConvFinishRows& args, int vectors) : out_index(args.out_index) {
    for (int v = 0; v < vectors; ++v) {
      columns[v] = first_lanes(args.columns - 16 * v);
      const __m512 b = args.b_scale_vector ? _mm512_maskz_loadu_ps(columns[v], args.b_scale + 16 * v)
                                           : _mm512_set1_ps(*args.b_scale);
      scale[v] = _mm512_mul_ps(_mm512_set1_ps(*args.a_scale), b);
      bias[v] = args.bias ? _mm512_maskz_loadu_ps(columns[v], args.bias + 16 * v) : _mm512_set1_ps(-0.0F);
    }
  }
  template <Way way, bool masked, class Element>
  OCTAVO_ALWAYS_INLINE __m512 value(__m512i sums, const Element* row, int v) const {
    __m512 value = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), scale[v]), bias[v]);
    if constexpr (way == Way::add && masked)
      value = _mm512_add_ps(value, load_floats(row + 16 * v, columns[v]));
    else if constexpr (way == Way::add)
      value = _mm512_add_ps(value, load_floats(row + 16 * v));
    return value;
  }
};

/// One row of a wide tile.
template <Way way, bool masked>
OCTAVO_ALWAYS_INLINE void finish_wide(const Finish& finish, const Accumulators& acc, float* row) {
  const __m512 first = finish.value<way, masked>(acc.low, row, 0),
               second = finish.value<way, masked>(acc.high, row, 1);
  if constexpr (way == Way::stream)
    stream_floats(row, first), stream_floats(row + 16, second);
  else if constexpr (masked)
    store_floats(row, first, finish.columns[0]), store_floats(row + 16, second, finish.columns[1]);
  else
    store_floats(row, first), store_floats(row + 16, second);
}

template <Way way, bool masked>
OCTAVO_ALWAYS_INLINE void finish_wide(const Finish& finish, const Accumulators& acc, Bf16* row) {
  const __m512i values =
      narrow_two(finish.value<way, masked>(acc.low, row, 0), finish.value<way, masked>(acc.high, row, 1));
  if constexpr (way == Way::stream)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(row), values);
  else if constexpr (masked)
    _mm512_mask_storeu_epi16(row, _mm512_kunpackw(finish.columns[1], finish.columns[0]), values);
  else
    _mm512_storeu_si512(row, values);
}

/// Two rows of a narrow tile, which may be the same.
template <Way way, bool masked>
OCTAVO_ALWAYS_INLINE void finish_narrow(const Finish& finish, const Accumulators& acc, float* row,
                                        const Accumulators& next_acc, float* next) {
  const __m512 first = finish.value<way, masked>(join_lanes(acc), row, 0),
               second = finish.value<way, masked>(join_lanes(next_acc), next, 0);
  if constexpr (way == Way::stream)
    stream_floats(row, first), stream_floats(next, second);
  else if constexpr (masked)
    store_floats(row, first, finish.columns[0]), store_floats(next, second, finish.columns[0]);
  else
    store_floats(row, first), store_floats(next, second);
}

template <Way way, bool masked>
OCTAVO_ALWAYS_INLINE void finish_narrow(const Finish& finish, const Accumulators& acc, Bf16* row,
                                        const Accumulators& next_acc, Bf16* next) {
  const __m512i values = narrow_two(finish.value<way, masked>(join_lanes(acc), row, 0),
                                    finish.value<way, masked>(join_lanes(next_acc), next, 0));
  const __m256i first = _mm512_castsi512_si256(values), second = _mm512_extracti64x4_epi64(values, 1);
  if constexpr (masked) {
    _mm256_mask_storeu_epi16(row, finish.columns[0], first);
    _mm256_mask_storeu_epi16(next, finish.columns[0], second);
  } else {  // half lines are never streamed
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(row), first);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(next), second);
  }
}

template <bool wide, Way way, bool masked, class Element, std::size_t... row>
OCTAVO_ALWAYS_INLINE void finish_rows(const ConvFinishRows& args, const Accumulators* acc) {
  constexpr std::size_t last = sizeof...(row) - 1;
  const Finish finish(args, wide ? 2 : 1);
  auto* const out = args.out.as<Element>();
  const auto at = [&](std::size_t i) { return out + finish.out_index[i]; };
  if constexpr (wide)
    (finish_wide<way, masked>(finish, acc[row], at(row)), ...);
  else
    (..., (row % 2 == 0 ? finish_narrow<way, masked>(finish, acc[row], at(row), acc[std::min(row + 1, last)],
                                                     at(std::min(row + 1, last)))
                        : void()));
}

template <bool wide, class Element, std::size_t... row>
OCTAVO_ALWAYS_INLINE void finish_rows(const ConvFinishRows& args, const Accumulators* acc) {
  if (args.columns != (wide ? 32 : 16))
    args.accumulate ? finish_rows<wide, Way::add, true, Element, row...>(args, acc)
                    : finish_rows<wide, Way::store, true, Element, row...>(args, acc);
  else if (args.accumulate)
    finish_rows<wide, Way::add, false, Element, row...>(args, acc);
  else if (args.stream)
    finish_rows<wide, Way::stream, false, Element, row...>(args, acc);
  else
    finish_rows<wide, Way::store, false, Element, row...>(args, acc);
}

/// The same sums, to GCC others: what it spills of them while they are finished stays in registers in the
/// loop.
OCTAVO_ALWAYS_INLINE void part(Accumulators& sums, const Accumulators& acc) {
  asm("" : "=v"(sums.low) : "0"(acc.low));
  asm("" : "=v"(sums.high) : "0"(acc.high));
}

/// The correction is where the sums begin.
template <bool wide, std::size_t... row>
[[gnu::noipa]] void finished_tile(const ConvTile& tile, const ConvFinishRows& args) {
  const __m512i zero = _mm512_setzero_si512();
  const __m512i first = _mm512_sub_epi32(zero, _mm512_loadu_si512(args.correction));
  Accumulators acc[sizeof...(row)];
  if constexpr (wide) {
    const __m512i second = _mm512_sub_epi32(zero, _mm512_loadu_si512(args.correction + 16));
    (start(acc[row], first, second), ...);
    sum_wide<row...>(tile, acc);
  } else {
    const __m512i low = _mm512_unpacklo_epi32(first, zero), high = _mm512_unpackhi_epi32(first, zero);
    (start(acc[row], low, high), ...);
    sum_narrow<row...>(tile, acc);
  }
  Accumulators sums[sizeof...(row)];
  (part(sums[row], acc[row]), ...);
  if (args.out.type == FloatType::bf16)
    finish_rows<wide, Bf16, row...>(args, sums);
  else
    finish_rows<wide, float, row...>(args, sums);
}

// ---- Tables by rows.

template <bool wide, std::size_t... row>
constexpr ConvTileFunction tile_of(std::index_sequence<row...>) {
  return wide ? wide_tile<row...> : narrow_tile<row...>;
}

template <bool wide, std::size_t... row>
constexpr ConvFinishedTile finished_of(std::index_sequence<row...>) {
  return finished_tile<wide, row...>;
}

template <bool wide, std::size_t... rows>
constexpr ConvTiles tiles_of(std::index_sequence<rows...>) {
  ConvTiles tiles{{nullptr, tile_of<wide>(std::make_index_sequence<rows + 1>())...}, {}};
  // Tiles of large images have one of these two numbers of rows.
  constexpr std::size_t most = ConvIsa::most_rows;
  tiles.finished[most - 1] = finished_of<wide>(std::make_index_sequence<most - 1>());
  tiles.finished[most] = finished_of<wide>(std::make_index_sequence<most>());
  return tiles;
}

}  // namespace

const ConvTiles narrow_tiles_avx512vnni = tiles_of<false>(std::make_index_sequence<ConvIsa::most_rows>());
const ConvTiles wide_tiles_avx512vnni = tiles_of<true>(std::make_index_sequence<ConvIsa::most_rows>());

}  // namespace octavo::kernels
