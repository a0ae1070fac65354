// Tiles of grad_weight over few pixels: 14 rows x 32 columns.
#include "conv_s8_outer.h"

#include <immintrin.h>

#include <cstring>
#include <utility>

namespace octavo::kernels {
namespace {

#define OCTAVO_INLINE __attribute__((always_inline)) inline

struct Sums {
  __m512i low, high;
};

OCTAVO_INLINE void clear(Sums& sums) { sums.low = sums.high = _mm512_setzero_si512(); }

OCTAVO_INLINE void multiply(Sums& sums, __m512i low, __m512i high, const std::int8_t* g) {
  std::int32_t quad;
  std::memcpy(&quad, g, 4);
  const __m512i value = _mm512_set1_epi32(quad);
  sums.low = _mm512_dpbusd_epi32(sums.low, low, value);
  sums.high = _mm512_dpbusd_epi32(sums.high, high, value);
}

/// Fold expressions and noipa as in the tiles of conv_s8.cpp; stores at the end, as any other use of the sums
/// makes GCC 12 spill them in the loop.
template <std::size_t... row>
__attribute__((noipa)) void multiply_tile(const ConvOuter& args, std::int32_t* acc) {
  Sums sums[sizeof...(row)];
  (clear(sums[row]), ...);
  const std::int64_t pitch = args.steps * 4;
  const std::int8_t* g = args.g;
  const std::uint8_t* x = args.x;
  for (const std::int8_t* const end = g + pitch; g != end; g += 4, x += 128) {
    const __m512i low = _mm512_loadu_si512(x), high = _mm512_loadu_si512(x + 64);
    (multiply(sums[row], low, high, g + row * pitch), ...);
  }
  ((_mm512_store_si512(acc + row * 32, sums[row].low),
    _mm512_store_si512(acc + row * 32 + 16, sums[row].high)),
   ...);
}

__mmask16 first_lanes(std::int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffff : (1 << count) - 1);
}

/// Every row starts at a multiple of 64 bytes and is whole.
bool can_stream(const ConvOuter& args) {
  return args.stream && args.columns % 16 == 0 && args.out_pitch % 16 == 0 &&
         reinterpret_cast<std::uintptr_t>(args.out) % 64 == 0;
}

/// 16 columns.
template <bool stream>
void finish_columns(const ConvOuter& args, const std::int32_t* acc, std::int64_t rows, std::int64_t column) {
  const __mmask16 mask = first_lanes(args.columns - column);
  const __m512 a_scale = args.a_scale_vector ? _mm512_maskz_loadu_ps(mask, args.a_scale + column)
                                             : _mm512_set1_ps(*args.a_scale);
  for (std::int64_t i = 0; i < rows; ++i) {
    float* out = args.out + i * args.out_pitch + column;
    const __m512i sums =
        _mm512_add_epi32(_mm512_load_si512(acc + i * 32 + column), _mm512_set1_epi32(args.start[i]));
    const __m512 scale = _mm512_mul_ps(a_scale, _mm512_set1_ps(args.b_scale[args.b_scale_vector ? i : 0]));
    __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), scale);
    if constexpr (stream) {
      _mm512_stream_ps(out, value);
    } else {
      if (args.accumulate) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, out));
      _mm512_mask_storeu_ps(out, mask, value);
    }
  }
}

template <std::size_t... row>
void outer_tile(const ConvOuter& args) {
  alignas(64) std::int32_t acc[sizeof...(row) * 32];
  multiply_tile<row...>(args, acc);
  const bool stream = can_stream(args);
  for (std::int64_t column = 0; column < args.columns; column += 16)
    stream ? finish_columns<true>(args, acc, sizeof...(row), column)
           : finish_columns<false>(args, acc, sizeof...(row), column);
}

template <std::size_t... row>
constexpr auto tile_of(std::index_sequence<row...>) {
  return &outer_tile<row...>;
}

template <std::size_t... rows>
constexpr ConvOuterTiles tiles_of(std::index_sequence<rows...>) {
  return {nullptr, tile_of(std::make_index_sequence<rows + 1>())...};
}

}  // namespace

extern const ConvOuterTiles outer_tiles_avx512vnni;
const ConvOuterTiles outer_tiles_avx512vnni = tiles_of(std::make_index_sequence<ConvIsa::most_rows>());

}  // namespace octavo::kernels
