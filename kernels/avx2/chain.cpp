// Chains with AVX2.
#include <immintrin.h>

#include <cstring>

#include "avx2/float_vectors.h"
#include "chain_plan.h"

namespace octavo::kernels {
namespace {

struct Simd {
  using Bytes = __m256i;
  using Floats = __m256;
  static constexpr std::int64_t block = 32;  // bytes of a vector

  using Integers = __m256i;
  static constexpr int width = chain_strip / 8;  // vectors of a strip
  static constexpr int sum_vectors = 2;          // whose sums stay in registers at once

  template <class Element>
  static Floats load(const Element* v) {
    return load_floats(v);
  }
  template <class Element>
  static void store(Element* out, Floats v) {
    store_floats(out, v);
  }
  static Floats positive(Floats v) { return _mm256_max_ps(_mm256_setzero_ps(), v); }  // NaN and -0 stay
  static Floats at_most(float hi, Floats v) { return _mm256_min_ps(_mm256_set1_ps(hi), v); }
  static Floats keep(Floats v, std::uint32_t bits) {
    const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i kept = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), lane);
    return _mm256_and_ps(v, _mm256_castsi256_ps(_mm256_cmpeq_epi32(kept, lane)));
  }
  static std::uint32_t between(Floats v, float lo, float hi) {
    const __m256 above = _mm256_cmp_ps(_mm256_set1_ps(lo), v, _CMP_LT_OQ),
                 below = _mm256_cmp_ps(v, _mm256_set1_ps(hi), _CMP_LT_OQ);
    return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_and_ps(above, below)));
  }
  /// The larger magnitude; a NaN is none.
  static Floats farther(Floats magnitude, Floats v) {
    return _mm256_max_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0f), v), magnitude);
  }
  static Integers largest_magnitude(Integers largest, Floats v) {
    const __m256i bits = _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0x7FFFFFFF));
    return _mm256_max_epu32(largest, bits);
  }

  /// 16 values to integers; counts maxima and saturations.
  class Quantizer {
   public:
    Quantizer(const Quantize& q, float inverse)
        : unsigned_(q.is_unsigned),
          odd_(q.grid == Grid::odd),
          flagged_(q.grid == Grid::flagged),
          squared_(q.squares),
          inverse_(_mm256_set1_ps(inverse)),
          lowest_(_mm256_set1_ps(q.is_unsigned ? 0.0f : -q.qmax)),
          limit_(_mm256_set1_ps(q.qmax)),
          saturation_(_mm256_set1_ps(q.qmax + 0.5f)) {}

    template <bool stochastic>
    void block(const float* v, const float* inverse, const std::uint16_t* random, std::int8_t* out) {
      store16(out, round_from<stochastic, false>(v, inverse, random),
              round_from<stochastic, false>(v + 8, inverse != nullptr ? inverse + 8 : nullptr, random + 8));
    }

    /// A strip; `random` are the 16 bits of each element.
    template <bool stochastic>
    void strip(const Floats* v, const float* inverse, const Integers* random, std::int8_t* out) {
      for (int i = 0; i < width; i += 2)
        store16(out + 8 * i, round<stochastic, false>(v[i], load(inverse + 8 * i), random[i]),
                round<stochastic, false>(v[i + 1], load(inverse + 8 * i + 8), random[i + 1]));
    }

    /// Digits to `planes` places; counts q^2 too, of at most 2^20 elements between two flushes.
    template <bool stochastic>
    void wide_block(const float* v, const float* inverse, const std::uint16_t* random, int planes,
                    std::int64_t pitch, std::int8_t* out) {
      // The bytes of q + 128 (1 + 256 + 65536) are its digits, each + 128.
      const __m256i ones = _mm256_set1_epi32(0x808080), byte = _mm256_set1_epi32(0xFF);
      __m256i bytes[2];
      for (int half = 0; half < 2; ++half) {
        const __m256i q = round_from<stochastic, true>(
            v + 8 * half, inverse != nullptr ? inverse + 8 * half : nullptr, random + 8 * half);
        count_squares(_mm256_abs_epi32(q));
        bytes[half] = _mm256_add_epi32(q, ones);
      }
      for (int plane = 0; plane < planes; ++plane) {
        const __m128i shift = _mm_cvtsi32_si128(8 * plane);
        const __m256i words = _mm256_permute4x64_epi64(
            _mm256_packus_epi32(_mm256_and_si256(_mm256_srl_epi32(bytes[0], shift), byte),
                                _mm256_and_si256(_mm256_srl_epi32(bytes[1], shift), byte)),
            0xD8);
        const __m128i packed =
            _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + plane * pitch),
                         _mm_xor_si128(packed, _mm_set1_epi8(static_cast<char>(0x80))));
      }
    }

    /// Zeros that filled up a block: odd integers make +-1 of them.
    void leave_out(std::int64_t zeros) { left_out_ += odd_ ? zeros : 0; }

    void flush_squares(ChunkCounts& counts) {
      alignas(32) std::uint64_t square[4];
      _mm256_store_si256(reinterpret_cast<__m256i*>(square), squares_);
      Int128 sum = -left_out_;
      for (std::uint64_t lane : square) sum += lane;
      if (squared_) counts.sum_square += sum;
      left_out_ = 0, squares_ = _mm256_setzero_si256();
    }

    /// Always inline: a call would take the address of the counters, which then live in memory.
    [[gnu::always_inline]] inline void finish(ChunkCounts& counts) const {
      alignas(32) std::uint32_t largest[8], saturated[8];
      _mm256_store_si256(reinterpret_cast<__m256i*>(largest), max_);
      _mm256_store_si256(reinterpret_cast<__m256i*>(saturated), saturated_);
      for (int i = 0; i < 8; ++i) {
        counts.max_bits = largest[i] > counts.max_bits ? largest[i] : counts.max_bits;
        counts.saturated += saturated[i];
      }
    }

   private:
    void count_squares(__m256i a) {
      const __m256i low = _mm256_and_si256(a, _mm256_set1_epi64x(0xFFFFFFFF)),
                    high = _mm256_srli_epi64(a, 32);
      squares_ = _mm256_add_epi64(squares_,
                                  _mm256_add_epi64(_mm256_mul_epu32(low, low), _mm256_mul_epu32(high, high)));
    }

    void store16(std::int8_t* out, __m256i low, __m256i high) const {
      const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
      const __m128i first = _mm256_castsi256_si128(words), last = _mm256_extracti128_si256(words, 1);
      const __m128i bytes = unsigned_ ? _mm_packus_epi16(first, last) : _mm_packs_epi16(first, last);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
    }

    template <bool stochastic, bool wide>
    __m256i round_from(const float* v, const float* inverse, const std::uint16_t* random) {
      const __m256i bits =
          stochastic ? _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(random)))
                     : _mm256_setzero_si256();
      return round<stochastic, wide>(load(v), inverse != nullptr ? load(inverse) : inverse_, bits);
    }

    /// `wide`: t may be so large that t + u would lose bits.
    template <bool stochastic, bool wide>
    __m256i round(__m256 x, __m256 inverse, __m256i random) {
      const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF));
      max_ = largest_magnitude(max_, x);
      __m256 t = _mm256_mul_ps(x, inverse);
      const __m256 saturated = _mm256_cmp_ps(_mm256_and_ps(t, magnitude), saturation_, _CMP_GT_OQ);
      saturated_ = _mm256_sub_epi32(saturated_, _mm256_castps_si256(saturated));
      t = _mm256_and_ps(t, _mm256_cmp_ps(t, t, _CMP_ORD_Q));  // NaN: zero
      t = _mm256_min_ps(_mm256_max_ps(t, lowest_), limit_);
      if (wide && odd_) t = _mm256_mul_ps(_mm256_sub_ps(t, _mm256_set1_ps(1.0f)), _mm256_set1_ps(0.5f));
      __m256 coarse = _mm256_setzero_ps();
      if (wide && flagged_) {
        coarse = _mm256_cmp_ps(_mm256_and_ps(t, magnitude), _mm256_set1_ps(128.0f), _CMP_GE_OQ);
        t = _mm256_blendv_ps(t, _mm256_mul_ps(t, _mm256_set1_ps(0x1p-7f)), coarse);
      }
      if (stochastic) {
        const __m256 whole = _mm256_floor_ps(t), rest = wide ? _mm256_sub_ps(t, whole) : t;
        // random / 65536 is exact, so the fused sum is the plain sum.
        t = _mm256_floor_ps(_mm256_fmadd_ps(_mm256_cvtepi32_ps(random), _mm256_set1_ps(0x1p-16f), rest));
        if (wide) t = _mm256_add_ps(whole, t);
      }
      const __m256i q = _mm256_cvtps_epi32(t);
      if (wide && odd_) return _mm256_add_epi32(_mm256_add_epi32(q, q), _mm256_set1_epi32(1));
      return wide && flagged_ ? _mm256_blendv_epi8(q, _mm256_slli_epi32(q, 7), _mm256_castps_si256(coarse))
                              : q;
    }

    bool unsigned_, odd_, flagged_, squared_;
    std::int64_t left_out_ = 0;
    __m256 inverse_, lowest_, limit_, saturation_;
    __m256i max_ = _mm256_setzero_si256(), saturated_ = _mm256_setzero_si256();
    __m256i squares_ = _mm256_setzero_si256();
  };

  /// Zeros follow the integers up to a multiple of 64.
  template <bool is_unsigned>
  static void sum_squares(const std::int8_t* q, std::int64_t count, ChunkCounts& counts) {
    constexpr std::int64_t exact = 1 << 18;  // elements whose squares cannot overflow a lane
    const __m256i zero = _mm256_setzero_si256();
    for (std::int64_t first = 0; first < count; first += exact) {
      __m256i squares = _mm256_setzero_si256();
      const std::int64_t end = first + exact < count ? first + exact : count;
      for (std::int64_t i = first; i < end; i += 32) {
        const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q + i));
        const __m256i a = is_unsigned ? v : _mm256_abs_epi8(v);
        if constexpr (is_unsigned) {
          const __m256i low = _mm256_unpacklo_epi8(a, zero), high = _mm256_unpackhi_epi8(a, zero);
          const __m256i both = _mm256_add_epi32(_mm256_madd_epi16(low, low), _mm256_madd_epi16(high, high));
          squares = _mm256_add_epi32(squares, both);
        } else {
          // Two squares of 127 fit 16 bits, so nothing saturates.
          squares =
              _mm256_add_epi32(squares, _mm256_madd_epi16(_mm256_maddubs_epi16(a, a), _mm256_set1_epi16(1)));
        }
      }
      alignas(32) std::uint32_t square[8];
      _mm256_store_si256(reinterpret_cast<__m256i*>(square), squares);
      for (std::uint32_t sum : square) counts.sum_square += sum;
    }
  }

  /// random_bits16 of one block of 32 elements.
  static void draw(RandomKey key, std::uint32_t counter, Integers* out) {
    for (int half = 0; half < 2; ++half) {
      const __m256i x = random8(key, counter + 8 * static_cast<std::uint32_t>(half));
      out[half] = _mm256_and_si256(x, _mm256_set1_epi32(0xFFFF));
      out[half + 2] = _mm256_srli_epi32(x, 16);
    }
  }
  static void random32(RandomKey key, std::uint32_t counter, std::uint16_t* out) {
    Integers bits[width];
    draw(key, counter, bits);
    for (int i = 0; i < width; i += 2)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 8 * i),
                          _mm256_permute4x64_epi64(_mm256_packus_epi32(bits[i], bits[i + 1]), 0xD8));
  }

  /// 16 bytes from each of two pixels, 16 pixels apart.
  static Bytes gather(const std::int8_t* base, const std::int32_t* from) {
    const auto load = [&](int i) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(base + from[i]));
    };
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load(0)), load(16), 1);
  }
  /// Channels [k, k + 16) of four pixels, interleaved, zero from the `there`-th on, to as many as `room` has;
  /// `keep`: beside what is there already.
  static void store_quad(const std::int8_t* const pixel[4], std::int64_t k, std::int64_t there,
                         std::int64_t room, bool keep, std::int8_t* out) {
    alignas(16) static constexpr std::int8_t ramp[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                         8, 9, 10, 11, 12, 13, 14, 15};
    const __m128i mask = _mm_cmpgt_epi8(_mm_set1_epi8(static_cast<char>(there < 16 ? there : 16)),
                                        _mm_load_si128(reinterpret_cast<const __m128i*>(ramp)));
    __m128i v[4];
    for (int i = 0; i < 4; ++i)
      v[i] = _mm_and_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(pixel[i] + k)), mask);
    const __m128i a = _mm_unpacklo_epi8(v[0], v[2]), b = _mm_unpackhi_epi8(v[0], v[2]);
    const __m128i c = _mm_unpacklo_epi8(v[1], v[3]), d = _mm_unpackhi_epi8(v[1], v[3]);
    const __m256i first = _mm256_set_m128i(_mm_unpackhi_epi8(a, c), _mm_unpacklo_epi8(a, c)),
                  second = _mm256_set_m128i(_mm_unpackhi_epi8(b, d), _mm_unpacklo_epi8(b, d));
    if (room >= 16 && !keep) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), first);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 32), second);
      return;
    }
    alignas(32) std::int8_t bytes[64];
    _mm256_store_si256(reinterpret_cast<__m256i*>(bytes), first);
    _mm256_store_si256(reinterpret_cast<__m256i*>(bytes + 32), second);
    for (std::int64_t i = 0; i < 4 * (room < 16 ? room : 16); ++i)
      out[i] = static_cast<std::int8_t>(keep ? out[i] | bytes[i] : bytes[i]);
  }
  static Bytes low(Bytes a, Bytes b) { return _mm256_unpacklo_epi8(a, b); }
  static Bytes high(Bytes a, Bytes b) { return _mm256_unpackhi_epi8(a, b); }
  static void store_offset(std::uint8_t* out, Bytes v, std::uint8_t offset, std::int64_t count) {
    v = _mm256_xor_si256(v, _mm256_set1_epi8(static_cast<char>(offset)));
    if (count == block) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), v);
      return;
    }
    alignas(32) std::uint8_t bytes[32];
    _mm256_store_si256(reinterpret_cast<__m256i*>(bytes), v);
    std::memcpy(out, bytes, static_cast<std::size_t>(count));
  }

 private:
  static __m256i random8(RandomKey key, std::uint32_t counter) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const auto constant = [](std::uint32_t bits) { return _mm256_set1_epi32(static_cast<int>(bits)); };
    const __m256i weyl = _mm256_mullo_epi32(lane, constant(0x9E3779B9u));  // the same for all blocks
    __m256i x = _mm256_add_epi32(weyl, constant(counter * 0x9E3779B9u + key.a));
    x = _mm256_mullo_epi32(_mm256_xor_si256(x, _mm256_srli_epi32(x, 16)), constant(0x21F0AAADu));
    x = _mm256_xor_si256(_mm256_xor_si256(x, _mm256_srli_epi32(x, 15)), constant(key.b));
    x = _mm256_mullo_epi32(x, constant(0x735A2D97u));
    return _mm256_xor_si256(x, _mm256_srli_epi32(x, 15));
  }
};

}  // namespace
}  // namespace octavo::kernels

#include "chain_tile.h"

namespace octavo::kernels {

void run_chunk_avx2(const ChainPlan& plan, std::int64_t chunk) { run_tiles(plan, chunk); }

void quantize_run_avx2(const ChainPlan& plan, std::int64_t chunk, const ChainTile& run, const ChainWork& work,
                       std::int8_t* out) {
  const float* v = plan.x ? floats_of(plan.x, run, work.values) : work.values;
  quantize_block(plan, plan.counts()[chunk], run, v, work, out);
}

void quantize_twice_avx2(const QuantizeTwice& args, const ChainTile& run) { quantize_both(args, run); }

std::uint32_t largest_magnitude_avx2(const float* values, std::int64_t count) {
  return largest_of(values, count);
}

}  // namespace octavo::kernels
