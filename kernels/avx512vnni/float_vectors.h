// Vectors of 16 floats from and to memory of either type.
#pragma once

#include <immintrin.h>

#include <array>

#include "floats.h"

namespace octavo::kernels {
namespace {

/// Each word to the upper half of a lane, in one instruction.
OCTAVO_ALWAYS_INLINE __m512 widen_floats(__m256i halves) {
  alignas(64) static constexpr auto words = [] {
    std::array<std::uint16_t, 32> at{};
    for (std::uint16_t i = 0; i < 32; ++i) at[i] = i / 2;
    return at;
  }();
  return _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(0xAAAAAAAA, _mm512_load_si512(words.data()),
                                                            _mm512_castsi256_si512(halves)));
}

/// As to_bf16().
inline __m256i narrow_floats(__m512 v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16));
}

/// Two vectors as by narrow_floats(), in half the instructions. A NaN must be one that arithmetic makes, or
/// comes from a bfloat16: its lower half is 0, and it stays one.
OCTAVO_ALWAYS_INLINE __m512i narrow_two(__m512 first, __m512 second) {
  alignas(64) static constexpr auto words = [] {
    std::array<std::array<std::uint16_t, 32>, 2> at{};
    for (std::uint16_t i = 0; i < 32; ++i)
      at[0][i] = static_cast<std::uint16_t>(2 * i), at[1][i] = static_cast<std::uint16_t>(2 * i + 1);
    return at;
  }();
  const __m512i a = _mm512_castps_si512(first), b = _mm512_castps_si512(second);
  const __m512i lower = _mm512_permutex2var_epi16(a, _mm512_load_si512(words[0].data()), b);
  const __m512i upper = _mm512_permutex2var_epi16(a, _mm512_load_si512(words[1].data()), b);
  const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi16(1));
  const __m512i half = _mm512_set1_epi16(static_cast<std::int16_t>(0x8000));
  const __mmask32 up = _mm512_cmpgt_epu16_mask(lower, _mm512_sub_epi16(half, odd));
  return _mm512_mask_add_epi16(upper, up, upper, _mm512_set1_epi16(1));
}

inline __m512 load_floats(const float* from) { return _mm512_loadu_ps(from); }
inline __m512 load_floats(const Bf16* from) {
  return widen_floats(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
inline __m512 load_floats(const float* from, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, from); }
inline __m512 load_floats(const Bf16* from, __mmask16 mask) {
  return widen_floats(_mm256_maskz_loadu_epi16(mask, from));
}

inline void store_floats(float* to, __m512 v) { _mm512_storeu_ps(to, v); }
inline void store_floats(Bf16* to, __m512 v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), narrow_floats(v));
}
inline void store_floats(float* to, __m512 v, __mmask16 mask) { _mm512_mask_storeu_ps(to, mask, v); }
inline void store_floats(Bf16* to, __m512 v, __mmask16 mask) {
  _mm256_mask_storeu_epi16(to, mask, narrow_floats(v));
}

/// Around the caches; halves of a line of Bf16 should follow each other.
inline void stream_floats(float* to, __m512 v) { _mm512_stream_ps(to, v); }
inline void stream_floats(Bf16* to, __m512 v) {
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), narrow_floats(v));
}

}  // namespace
}  // namespace octavo::kernels
