// Depthwise integer convolution with vpmaddwd: 16 channels widened to 16 bits, two taps (or two pixels) at
// once.
#include <immintrin.h>

#include "avx2/float_vectors.h"
#include "depthwise_s8_rows.h"

namespace octavo::kernels {
namespace {

struct Ops {
  using Vector = __m256i;
  using Floats = __m256;
  static constexpr int quarters = 2, unit_taps = 2;
  static constexpr std::int64_t width = quarters * 4;  // channels of a vector
  static constexpr bool slides = false;                // 16 registers do not hold three units

  static Vector load(const void* source) { return _mm256_loadu_si256(static_cast<const __m256i*>(source)); }
  static Vector first(std::int64_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static Vector load_first(const std::int32_t* source, std::int64_t count) {
    return _mm256_maskload_epi32(source, first(count));
  }
  static __m256 load_first(const float* source, std::int64_t count) {
    return _mm256_maskload_ps(source, first(count));
  }
  static __m256 load_first(const Bf16* source, std::int64_t count) {
    alignas(32) float values[8] = {};
    for (std::int64_t i = 0; i < count; ++i) values[i] = kernels::to_float(source[i]);
    return _mm256_load_ps(values);
  }
  static void store_first(Bf16* target, __m256 value, std::int64_t count) {
    alignas(32) float values[8];
    _mm256_store_ps(values, value);
    for (std::int64_t i = 0; i < count; ++i) target[i] = to_bf16(values[i]);
  }
  static void store_first(float* target, __m256 value, std::int64_t count) {
    _mm256_maskstore_ps(target, first(count), value);
  }
  static void stream(float* target, __m256 value) { _mm256_stream_ps(target, value); }
  template <class Element>
  static void store_all(Element* target, __m256 value) {
    store_floats(target, value);
  }
  static void stream(Bf16* target, __m256 value) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(target), narrow_floats(value));
  }
  template <class Element>
  static void store_two(Element* target, __m256 first, __m256 second) {
    store_all(target, first), store_all(target + 8, second);
  }
  template <class Element>
  static void stream_two(Element* target, __m256 first, __m256 second) {
    stream(target, first), stream(target + 8, second);
  }
  static void store(std::int32_t* target, Vector value) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(target), value);
  }
  static __m256 broadcast(float value) { return _mm256_set1_ps(value); }
  static __m256 to_float(Vector value) { return _mm256_cvtepi32_ps(value); }
  static __m256 to_float(const std::int64_t (&sums)[8]) {
    alignas(32) float values[8];
    for (int i = 0; i < 8; ++i) values[i] = static_cast<float>(sums[i]);
    return _mm256_load_ps(values);
  }
  static Vector subtract(Vector a, Vector b) { return _mm256_sub_epi32(a, b); }
  static Vector times_128(Vector value) { return _mm256_slli_epi32(value, 7); }
  static Vector ones() { return _mm256_set1_epi16(1); }
  static Vector remove_offset(Vector value) { return _mm256_sub_epi16(value, _mm256_set1_epi16(128)); }
  static Vector dot(Vector acc, Vector a, Vector b) { return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)); }

  static __m128i load16(const std::uint8_t* source) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
  }
  /// In lane l, out[q] has the taps of channels 8 l + 4 q to 8 l + 4 q + 3.
  static void interleave(const std::uint8_t* const (&taps)[2], Vector (&out)[2]) {
    const Vector a = _mm256_cvtepu8_epi16(load16(taps[0])), b = _mm256_cvtepu8_epi16(load16(taps[1]));
    out[0] = _mm256_unpacklo_epi16(a, b);
    out[1] = _mm256_unpackhi_epi16(a, b);
  }

  /// The same with channels in order.
  template <int vectors>
  static void interleave_in_order(const std::uint8_t* const (&taps)[2], Vector (&out)[vectors]) {
    const auto widen = [](const std::uint8_t* tap) {
      return _mm256_cvtepu8_epi16(_mm_shuffle_epi32(load16(tap), 0xd8));
    };
    const Vector a = widen(taps[0]), b = widen(taps[1]);
    out[0] = _mm256_unpacklo_epi16(a, b);
    if constexpr (vectors == 2) out[1] = _mm256_unpackhi_epi16(a, b);
  }

  /// From [quarter][lane] to the order of the channels.
  static void reorder(Vector (&v)[2]) {
    const Vector low = _mm256_permute2x128_si256(v[0], v[1], 0x20);
    v[1] = _mm256_permute2x128_si256(v[0], v[1], 0x31);
    v[0] = low;
  }
};

}  // namespace

extern const DepthwiseIsa depthwise_isa_avx2;
const DepthwiseIsa depthwise_isa_avx2 = {16, 2, 2, Ops::slides, depthwise_pixels<Ops>, depthwise_rows<Ops>};

}  // namespace octavo::kernels
