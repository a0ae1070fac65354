// Chains with AVX-512.
#include <immintrin.h>

#include "avx512vnni/float_vectors.h"
#include "chain_plan.h"

namespace octavo::kernels {
namespace {

struct Simd {
  using Bytes = __m512i;
  using Floats = __m512;
  static constexpr std::int64_t block = 64;  // bytes of a vector

  using Integers = __m512i;
  static constexpr int width = chain_strip / 16;  // vectors of a strip
  static constexpr int sum_vectors = 4;           // whose sums stay in registers at once

  template <class Element>
  static Floats load(const Element* v) {
    return load_floats(v);
  }
  template <class Element>
  static void store(Element* out, Floats v) {
    store_floats(out, v);
  }
  static Floats positive(Floats v) { return _mm512_max_ps(_mm512_setzero_ps(), v); }  // NaN and -0 stay
  static Floats at_most(float hi, Floats v) { return _mm512_min_ps(_mm512_set1_ps(hi), v); }
  static Floats keep(Floats v, std::uint32_t bits) {
    return _mm512_maskz_mov_ps(static_cast<__mmask16>(bits), v);
  }
  static std::uint32_t between(Floats v, float lo, float hi) {
    return _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(_mm512_set1_ps(lo), v, _CMP_LT_OQ), v,
                                   _mm512_set1_ps(hi), _CMP_LT_OQ);
  }
  /// The larger magnitude; a NaN is none (a quiet one: arithmetic makes no others).
  static Floats farther(Floats magnitude, Floats v) { return _mm512_range_ps(magnitude, v, 0xB); }
  static Integers largest_magnitude(Integers largest, Floats v) {
    return _mm512_max_epu32(largest, _mm512_castps_si512(_mm512_abs_ps(v)));
  }

  /// 16 values to integers; counts maxima and saturations.
  class Quantizer {
   public:
    Quantizer(const Quantize& q, float inverse)
        : odd_(q.grid == Grid::odd),
          flagged_(q.grid == Grid::flagged),
          squared_(q.squares),
          inverse_(_mm512_set1_ps(inverse)),
          lowest_(_mm512_set1_ps(q.is_unsigned ? 0.0f : -q.qmax)),
          limit_(_mm512_set1_ps(q.qmax)),
          saturation_(_mm512_set1_ps(q.qmax + 0.5f)) {}

    template <bool stochastic>
    void block(const float* v, const float* inverse, const std::uint16_t* random, std::int8_t* out) {
      store16(out, round_from<stochastic, false>(v, inverse, random));
    }

    /// A strip; `random` are the 16 bits of each element.
    template <bool stochastic>
    void strip(const Floats* v, const float* inverse, const Integers* random, std::int8_t* out) {
      for (int i = 0; i < width; ++i)
        store16(out + 16 * i, round<stochastic, false>(v[i], load(inverse + 16 * i), random[i]));
    }

    /// Digits to `planes` places; counts q^2 too, of at most 2^20 elements between two flushes.
    template <bool stochastic>
    void wide_block(const float* v, const float* inverse, const std::uint16_t* random, int planes,
                    std::int64_t pitch, std::int8_t* out) {
      const __m512i q = round_from<stochastic, true>(v, inverse, random), a = _mm512_abs_epi32(q);
      const __m512i low = _mm512_and_si512(a, _mm512_set1_epi64(0xFFFFFFFF)), high = _mm512_srli_epi64(a, 32);
      squares_ = _mm512_add_epi64(squares_,
                                  _mm512_add_epi64(_mm512_mul_epu32(low, low), _mm512_mul_epu32(high, high)));
      // The bytes of q + 128 (1 + 256 + 65536) are its digits, each + 128.
      const __m512i bytes = _mm512_add_epi32(q, _mm512_set1_epi32(0x808080));
      const __m128i offset = _mm_set1_epi8(static_cast<char>(0x80));
      for (int plane = 0; plane < planes; ++plane) {
        const __m512i shifted = _mm512_srl_epi32(bytes, _mm_cvtsi32_si128(8 * plane));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + plane * pitch),
                         _mm_xor_si128(_mm512_cvtepi32_epi8(shifted), offset));
      }
    }

    /// Zeros that filled up a block: odd integers make +-1 of them.
    void leave_out(std::int64_t zeros) { left_out_ += odd_ ? zeros : 0; }

    void flush_squares(ChunkCounts& counts) {
      Int128 sum = -left_out_;
      alignas(64) std::uint64_t square[8];
      _mm512_store_si512(square, squares_);
      for (std::uint64_t lane : square) sum += lane;
      if (squared_) counts.sum_square += sum;
      left_out_ = 0, squares_ = _mm512_setzero_si512();
    }

    /// Always inline: a call would take the address of the counters, which then live in memory.
    [[gnu::always_inline]] inline void finish(ChunkCounts& counts) const {
      const std::uint32_t largest = _mm512_reduce_max_epu32(max_);
      counts.max_bits = largest > counts.max_bits ? largest : counts.max_bits;
      counts.saturated += saturated_;
    }

   private:
    static void store16(std::int8_t* out, __m512i q) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(q));
    }

    template <bool stochastic, bool wide>
    __m512i round_from(const float* v, const float* inverse, const std::uint16_t* random) {
      const __m512i bits =
          stochastic ? _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(random)))
                     : _mm512_setzero_si512();
      return round<stochastic, wide>(load(v), inverse != nullptr ? load(inverse) : inverse_, bits);
    }

    /// `wide`: t may be so large that t + u would lose bits.
    template <bool stochastic, bool wide>
    __m512i round(__m512 x, __m512 inverse, __m512i random) {
      max_ = largest_magnitude(max_, x);
      __m512 t = _mm512_mul_ps(x, inverse);
      const __mmask16 saturated = _mm512_cmp_ps_mask(_mm512_abs_ps(t), saturation_, _CMP_GT_OQ);
      saturated_ += __builtin_popcount(saturated);
      if constexpr (wide) {
        // A NaN is not ordered with itself and becomes zero here.
        t = _mm512_maskz_max_ps(_mm512_cmp_ps_mask(t, t, _CMP_ORD_Q), t, lowest_);
        t = _mm512_min_ps(t, limit_);
      } else {
        // A NaN stays, is converted to 2^31, and of that the lowest byte is zero.
        t = _mm512_min_ps(limit_, _mm512_max_ps(lowest_, t));
      }
      if (wide && odd_) t = _mm512_mul_ps(_mm512_sub_ps(t, _mm512_set1_ps(1.0f)), _mm512_set1_ps(0.5f));
      const __mmask16 coarse =
          wide && flagged_ ? _mm512_cmp_ps_mask(_mm512_abs_ps(t), _mm512_set1_ps(128.0f), _CMP_GE_OQ) : 0;
      if (wide) t = _mm512_mask_mul_ps(t, coarse, t, _mm512_set1_ps(0x1p-7f));
      constexpr int down = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
      // random / 65536 is exact, so the fused sum is the plain sum.
      const __m512 u = _mm512_cvtepi32_ps(random), unit = _mm512_set1_ps(0x1p-16f);
      if (stochastic && !wide) return _mm512_cvt_roundps_epi32(_mm512_fmadd_ps(u, unit, t), down);
      if (stochastic) {
        const __m512 whole = _mm512_roundscale_ps(t, down), rest = _mm512_sub_ps(t, whole);
        t = _mm512_add_ps(whole, _mm512_roundscale_ps(_mm512_fmadd_ps(u, unit, rest), down));
      }
      const __m512i q = _mm512_cvtps_epi32(t);
      if (wide && odd_) return _mm512_add_epi32(_mm512_add_epi32(q, q), _mm512_set1_epi32(1));
      return wide ? _mm512_mask_slli_epi32(q, coarse, q, 7) : q;
    }

    bool odd_, flagged_, squared_;
    std::int64_t left_out_ = 0;
    __m512 inverse_, lowest_, limit_, saturation_;
    std::int64_t saturated_ = 0;
    __m512i max_ = _mm512_setzero_si512();
    __m512i squares_ = _mm512_setzero_si512();
  };

  /// Zeros follow the integers up to a multiple of 64.
  template <bool is_unsigned>
  static void sum_squares(const std::int8_t* q, std::int64_t count, ChunkCounts& counts) {
    constexpr std::int64_t exact = 1 << 18;  // elements whose squares cannot overflow a lane
    const __m512i zero = _mm512_setzero_si512();
    for (std::int64_t first = 0; first < count; first += exact) {
      __m512i squares = _mm512_setzero_si512();
      const std::int64_t end = first + exact < count ? first + exact : count;
      for (std::int64_t i = first; i < end; i += 64) {
        const __m512i v = _mm512_loadu_si512(q + i), a = is_unsigned ? v : _mm512_abs_epi8(v);
        if constexpr (is_unsigned) {
          const __m512i low = _mm512_unpacklo_epi8(a, zero), high = _mm512_unpackhi_epi8(a, zero);
          squares = _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(squares, low, low), high, high);
        } else {
          squares = _mm512_dpbusd_epi32(squares, a, a);
        }
      }
      counts.sum_square += _mm512_reduce_add_epi64(
          _mm512_add_epi64(_mm512_cvtepu32_epi64(_mm512_castsi512_si256(squares)),
                           _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(squares, 1))));
    }
  }

  /// random_bits16 of one block of 32 elements.
  static void draw(RandomKey key, std::uint32_t counter, Integers* out) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const auto constant = [](std::uint32_t bits) { return _mm512_set1_epi32(static_cast<int>(bits)); };
    const __m512i weyl = _mm512_mullo_epi32(lane, constant(0x9E3779B9u));  // the same for all blocks
    __m512i x = _mm512_add_epi32(weyl, constant(counter * 0x9E3779B9u + key.a));
    x = _mm512_mullo_epi32(_mm512_xor_si512(x, _mm512_srli_epi32(x, 16)), constant(0x21F0AAADu));
    x = _mm512_xor_si512(_mm512_xor_si512(x, _mm512_srli_epi32(x, 15)), constant(key.b));
    x = _mm512_mullo_epi32(x, constant(0x735A2D97u));
    x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 15));
    out[0] = _mm512_and_si512(x, constant(0xFFFFu));
    out[1] = _mm512_srli_epi32(x, 16);
  }
  static void random32(RandomKey key, std::uint32_t counter, std::uint16_t* out) {
    Integers bits[width];
    draw(key, counter, bits);
    for (int i = 0; i < width; ++i)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 16 * i), _mm512_cvtepi32_epi16(bits[i]));
  }

  /// 16 bytes from each of four pixels, 16 pixels apart.
  static Bytes gather(const std::int8_t* base, const std::int32_t* from) {
    const auto load = [&](int i) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(base + from[i]));
    };
    const __m512i low = _mm512_inserti32x4(_mm512_castsi128_si512(load(0)), load(16), 1);
    return _mm512_inserti32x4(_mm512_inserti32x4(low, load(32), 2), load(48), 3);
  }
  /// Channels [k, k + 16) of four pixels, interleaved, zero from the `there`-th on, to as many as `room` has;
  /// `keep`: beside what is there already.
  static void store_quad(const std::int8_t* const pixel[4], std::int64_t k, std::int64_t there,
                         std::int64_t room, bool keep, std::int8_t* out) {
    const auto load = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixel[i] + k)); };
    const __m512i low = _mm512_inserti32x4(_mm512_castsi128_si512(load(0)), load(1), 1);
    const __m512i pixels = _mm512_inserti32x4(_mm512_inserti32x4(low, load(2), 2), load(3), 3);
    // Four channels of each pixel meet in a lane, where bytes change places.
    const __m512i fours = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i bytes =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m512i quad = _mm512_shuffle_epi8(_mm512_permutexvar_epi32(fours, pixels), bytes);
    if (there >= 16 && !keep) return _mm512_storeu_si512(out, quad);  // and room for as many
    const __mmask16 stored = first_channels(room);
    const __m512i before = _mm512_maskz_loadu_epi32(keep ? stored : 0, out);
    _mm512_mask_storeu_epi32(out, stored, _mm512_mask_or_epi32(before, first_channels(there), before, quad));
  }
  static Bytes low(Bytes a, Bytes b) { return _mm512_unpacklo_epi8(a, b); }
  static Bytes high(Bytes a, Bytes b) { return _mm512_unpackhi_epi8(a, b); }
  static __mmask16 first_channels(std::int64_t count) {
    return static_cast<__mmask16>(count >= 16 ? 0xFFFF : (1 << count) - 1);
  }
  static void store_offset(std::uint8_t* out, Bytes v, std::uint8_t offset, std::int64_t count) {
    v = _mm512_xor_si512(v, _mm512_set1_epi8(static_cast<char>(offset)));
    if (count == block)
      _mm512_storeu_si512(out, v);
    else
      _mm512_mask_storeu_epi8(out, (__mmask64{1} << count) - 1, v);
  }
};

}  // namespace
}  // namespace octavo::kernels

#include "chain_tile.h"

namespace octavo::kernels {

void run_chunk_avx512vnni(const ChainPlan& plan, std::int64_t chunk) { run_tiles(plan, chunk); }

void quantize_run_avx512vnni(const ChainPlan& plan, std::int64_t chunk, const ChainTile& run,
                             const ChainWork& work, std::int8_t* out) {
  const float* v = plan.x ? floats_of(plan.x, run, work.values) : work.values;
  quantize_block(plan, plan.counts()[chunk], run, v, work, out);
}

void quantize_twice_avx512vnni(const QuantizeTwice& args, const ChainTile& run) { quantize_both(args, run); }

std::uint32_t largest_magnitude_avx512vnni(const float* values, std::int64_t count) {
  return largest_of(values, count);
}

}  // namespace octavo::kernels
