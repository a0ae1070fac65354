// Tiles of the integer convolution, left as sums or finished as floats before they leave the registers.
#include "avx512vnni/conv_s8_tables.h"
#include "avx512vnni/float_vectors.h"

namespace octavo::kernels {
namespace {

OCTAVO_ALWAYS_INLINE void store_wide(std::int32_t* target, const Accumulators& acc) {
  _mm512_store_si512(target, acc.low);
  _mm512_store_si512(target + 16, acc.high);
}

template <TileKind kind, std::size_t... row>
[[gnu::noipa]] void wide_tile(const ConvTile& args) {
  const __m512i zero = _mm512_setzero_si512();
  Accumulators acc[sizeof...(row)];
  (start(acc[row], zero, zero), ...);
  sum_wide<kind, row...>(args, acc);
  (store_wide(args.acc + row * 32, acc[row]), ...);
}

template <TileKind kind, std::size_t... row>
[[gnu::noipa]] void narrow_tile(const ConvTile& args) {
  const __m512i zero = _mm512_setzero_si512();
  Accumulators acc[sizeof...(row)];
  (start(acc[row], zero, zero), ...);
  sum_narrow<kind, row...>(args, acc);
  (_mm512_store_si512(args.acc + row * 16, join_lanes(acc[row])), ...);
}

// ---- The sums of the columns in one row more.

template <std::size_t... row>
[[gnu::noipa]] void summed_wide_tile(const ConvTile& args) {
  const __m512i zero = _mm512_setzero_si512();
  Accumulators acc[sizeof...(row) + 1];
  (start(acc[row], zero, zero), ...);
  start(acc[sizeof...(row)], zero, zero);
  sum_wide<TileKind::summed, row...>(args, acc);
  (store_wide(args.acc + row * 32, acc[row]), ...);
  store_wide(args.acc + sizeof...(row) * 32, acc[sizeof...(row)]);
}

template <std::size_t... row>
[[gnu::noipa]] void summed_narrow_tile(const ConvTile& args) {
  const __m512i zero = _mm512_setzero_si512();
  Accumulators acc[sizeof...(row) + 1];
  (start(acc[row], zero, zero), ...);
  start(acc[sizeof...(row)], zero, zero);
  sum_narrow<TileKind::summed, row...>(args, acc);
  (_mm512_store_si512(args.acc + row * 16, join_lanes(acc[row])), ...);
  _mm512_store_si512(args.acc + sizeof...(row) * 16, join_lanes(acc[sizeof...(row)]));
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

/// What finishing the rows of a tile takes.
struct Rows {
  const ConvTile& tile;
  const ConvFinishRows& args;
  const LastStep& last;
  Accumulators* sums;
};

template <bool wide, Way way, bool masked, class Element, std::size_t... row>
OCTAVO_ALWAYS_INLINE void finish_rows(const Rows& rows) {
  const Finish finish(rows.args, wide ? 2 : 1);
  auto* const out = rows.args.out.as<Element>();
  Accumulators* const sums = rows.sums;
  const auto at = [&](std::size_t i) OCTAVO_INLINE_BODY { return out + finish.out_index[i]; };
  finish_each<wide, row...>(rows.tile, rows.last, sums,
                            [&](std::size_t i, std::size_t next) OCTAVO_INLINE_BODY {
                              if constexpr (wide)
                                finish_wide<way, masked>(finish, sums[i], at(i));
                              else
                                finish_narrow<way, masked>(finish, sums[i], at(i), sums[next], at(next));
                            });
}

template <bool wide, class Element, std::size_t... row>
OCTAVO_ALWAYS_INLINE void finish_rows(const Rows& rows) {
  if (rows.args.columns != (wide ? 32 : 16))
    rows.args.accumulate ? finish_rows<wide, Way::add, true, Element, row...>(rows)
                         : finish_rows<wide, Way::store, true, Element, row...>(rows);
  else if (rows.args.accumulate)
    finish_rows<wide, Way::add, false, Element, row...>(rows);
  else if (rows.args.stream)
    finish_rows<wide, Way::stream, false, Element, row...>(rows);
  else
    finish_rows<wide, Way::store, false, Element, row...>(rows);
}

template <bool wide, std::size_t... row>
[[gnu::noipa]] void finished_tile(const ConvTile& tile, const ConvFinishRows& args) {
  Accumulators acc[sizeof...(row)];
  const LastStep last = sum_corrected<wide, row...>(tile, args.correction, acc);
  Accumulators sums[sizeof...(row)];
  (part(sums[row], acc[row]), ...);
  const Rows rows{tile, args, last, sums};
  if (args.out.type == FloatType::bf16)
    finish_rows<wide, Bf16, row...>(rows);
  else
    finish_rows<wide, float, row...>(rows);
}

template <bool wide>
struct WholeTiles {
  template <TileKind kind, std::size_t... row>
  static constexpr ConvTileFunction tile = wide ? wide_tile<kind, row...> : narrow_tile<kind, row...>;
  template <std::size_t... row>
  static constexpr ConvTileFunction summed = wide ? summed_wide_tile<row...> : summed_narrow_tile<row...>;
  template <std::size_t... row>
  static constexpr ConvFinishedTile finished = finished_tile<wide, row...>;
};

}  // namespace

const ConvTiles narrow_tiles_avx512vnni = all_tiles<WholeTiles<false>>();
const ConvTiles wide_tiles_avx512vnni = all_tiles<WholeTiles<true>>();

}  // namespace octavo::kernels
