// The parts of the integer convolution with vpdpbusd (ConvIsa), and what they share.
#pragma once

#include <immintrin.h>

#include "conv_s8_tiled.h"

namespace octavo::kernels {

extern const ConvTiles narrow_tiles_avx512vnni, wide_tiles_avx512vnni, tiles_24_avx512vnni;
extern const ConvFinishedTiles narrow_tiles_avx512bf16, wide_tiles_avx512bf16, tiles_24_avx512bf16;
void finish_rows_avx512vnni(const ConvFinishRows& args);
void add_sums_avx512vnni(std::int64_t* sums, const std::int32_t* acc, const std::int32_t* correction,
                         std::int64_t rows, std::int64_t pitch, int shift, bool first);
void finish_columns_avx512vnni(const ConvFinishColumns& args);
void column_sums_avx512vnni(const ConvColumnSums& args);
void pack_rows_avx512vnni(const ConvPack& args);
void pack_columns_avx512vnni(const ConvPack& args);
extern const ConvOuterTiles outer_tiles_avx512vnni;

namespace {

inline __mmask16 first_lanes(std::int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffff : (1 << count) - 1);
}

/// Transposes 16 rows of 16 floats.
OCTAVO_ALWAYS_INLINE void transpose(__m512 (&m)[16]) {
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

}  // namespace
}  // namespace octavo::kernels
