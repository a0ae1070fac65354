// Vectors of 8 floats from and to memory of either type.
#pragma once

#include <immintrin.h>

#include "floats.h"

namespace octavo::kernels {
namespace {

inline __m256 load_floats(const float* from) { return _mm256_loadu_ps(from); }
inline __m256 load_floats(const Bf16* from) {
  const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

/// As to_bf16().
inline __m128i narrow_floats(__m256 v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  const __m256i upper = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256(upper, 1));
}

inline void store_floats(float* to, __m256 v) { _mm256_storeu_ps(to, v); }
inline void store_floats(Bf16* to, __m256 v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), narrow_floats(v));
}

}  // namespace
}  // namespace octavo::kernels
