// Depthwise integer convolution with vpdpbusd: 64 channels, four taps (or four pixels) in one instruction.
#include <immintrin.h>

#include "avx512vnni/float_vectors.h"
#include "depthwise_s8_rows.h"

namespace octavo::kernels {
namespace {

struct Ops {
  using Vector = __m512i;
  using Floats = __m512;
  static constexpr int quarters = 4, unit_taps = 4;
  static constexpr std::int64_t width = quarters * 4;  // channels of a vector
  static constexpr bool slides = true;

  static Vector load(const void* source) { return _mm512_loadu_si512(source); }
  static __mmask16 first(std::int64_t count) { return static_cast<__mmask16>((1U << count) - 1U); }
  static Vector load_first(const std::int32_t* source, std::int64_t count) {
    return _mm512_maskz_loadu_epi32(first(count), source);
  }
  template <class Element>
  static __m512 load_first(const Element* source, std::int64_t count) {
    return load_floats(source, first(count));
  }
  template <class Element>
  static void store_first(Element* target, __m512 value, std::int64_t count) {
    store_floats(target, value, first(count));
  }
  template <class Element>
  static void store_all(Element* target, __m512 value) {
    store_floats(target, value);
  }
  static void store_two(float* target, __m512 first, __m512 second) {
    store_floats(target, first), store_floats(target + 16, second);
  }
  static void store_two(Bf16* target, __m512 first, __m512 second) {
    _mm512_storeu_si512(target, narrow_two(first, second));
  }
  template <class Element>
  static void stream(Element* target, __m512 value) {
    stream_floats(target, value);
  }
  static void stream_two(float* target, __m512 first, __m512 second) {
    stream_floats(target, first), stream_floats(target + 16, second);
  }
  static void stream_two(Bf16* target, __m512 first, __m512 second) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(target), narrow_two(first, second));
  }
  static void store(std::int32_t* target, Vector value) { _mm512_storeu_si512(target, value); }
  static __m512 broadcast(float value) { return _mm512_set1_ps(value); }
  static __m512 to_float(Vector value) { return _mm512_cvtepi32_ps(value); }
  static __m512 to_float(const std::int64_t (&sums)[16]) {
    const __m256 low = _mm512_cvtepi64_ps(_mm512_load_si512(sums));
    const __m256 high = _mm512_cvtepi64_ps(_mm512_load_si512(sums + 8));
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
  }
  static Vector subtract(Vector a, Vector b) { return _mm512_sub_epi32(a, b); }
  static Vector times_128(Vector value) { return _mm512_slli_epi32(value, 7); }
  static Vector ones() { return _mm512_set1_epi8(1); }
  static Vector remove_offset(Vector value) { return _mm512_xor_si512(value, _mm512_set1_epi8(-128)); }
  static Vector dot(Vector acc, Vector a, Vector b) { return _mm512_dpbusd_epi32(acc, a, b); }

  /// In lane l, out[q] has the taps of channels 16 l + 4 q to 16 l + 4 q + 3.
  static void interleave(const Vector (&taps)[4], Vector (&out)[4]) {
    const Vector ab_low = _mm512_unpacklo_epi8(taps[0], taps[1]),
                 ab_high = _mm512_unpackhi_epi8(taps[0], taps[1]);
    const Vector cd_low = _mm512_unpacklo_epi8(taps[2], taps[3]),
                 cd_high = _mm512_unpackhi_epi8(taps[2], taps[3]);
    out[0] = _mm512_unpacklo_epi16(ab_low, cd_low);
    out[1] = _mm512_unpackhi_epi16(ab_low, cd_low);
    out[2] = _mm512_unpacklo_epi16(ab_high, cd_high);
    out[3] = _mm512_unpackhi_epi16(ab_high, cd_high);
  }
  static void interleave(const std::uint8_t* const (&taps)[4], Vector (&out)[4]) {
    interleave({load(taps[0]), load(taps[1]), load(taps[2]), load(taps[3])}, out);
  }

  /// The same with channels in order: four of them change places before.
  template <int vectors>
  static void interleave_in_order(const std::uint8_t* const (&taps)[4], Vector (&out)[vectors]) {
    const Vector order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const auto lanes = [order](const std::uint8_t* tap) {
      return _mm512_permutexvar_epi32(order, load(tap));
    };
    Vector all[4];
    interleave({lanes(taps[0]), lanes(taps[1]), lanes(taps[2]), lanes(taps[3])}, all);
    for (int v = 0; v < vectors; ++v) out[v] = all[v];
  }

  /// From [quarter][lane] to the order of the channels: a transpose of 4 x 4 lanes.
  static void reorder(Vector (&v)[4]) {
    const Vector a = _mm512_shuffle_i32x4(v[0], v[1], 0x44), b = _mm512_shuffle_i32x4(v[2], v[3], 0x44);
    const Vector c = _mm512_shuffle_i32x4(v[0], v[1], 0xee), d = _mm512_shuffle_i32x4(v[2], v[3], 0xee);
    v[0] = _mm512_shuffle_i32x4(a, b, 0x88);
    v[1] = _mm512_shuffle_i32x4(a, b, 0xdd);
    v[2] = _mm512_shuffle_i32x4(c, d, 0x88);
    v[3] = _mm512_shuffle_i32x4(c, d, 0xdd);
  }
};

}  // namespace

extern const DepthwiseIsa depthwise_isa_avx512vnni;
const DepthwiseIsa depthwise_isa_avx512vnni = {
    64, 4, 1, Ops::slides, depthwise_pixels<Ops>, depthwise_rows<Ops>};

}  // namespace octavo::kernels
