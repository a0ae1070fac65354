// Register tiles of the integer convolution with vpmaddwd on widened operands (vpmaddubsw would saturate): 3
// rows x 16 columns.
#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "conv_s8_tiled.h"

namespace octavo::kernels {
namespace {

#define OCTAVO_INLINE __attribute__((always_inline)) inline

/// Sums of four columns each; every column is two lanes.
struct Accumulators {
  __m256i low, high;
};

OCTAVO_INLINE void clear(Accumulators& acc) { acc.low = acc.high = _mm256_setzero_si256(); }

OCTAVO_INLINE void shift(Accumulators& acc, __m128i bits) {
  acc.low = _mm256_sll_epi32(acc.low, bits);
  acc.high = _mm256_sll_epi32(acc.high, bits);
}

template <bool masked>
OCTAVO_INLINE __m256i widen_b(const std::int8_t* source, const std::uint32_t* mask) {
  __m128i step = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
  if constexpr (masked) step = _mm_and_si128(step, _mm_set1_epi32(static_cast<int>(*mask)));
  return _mm256_cvtepi8_epi16(step);
}

OCTAVO_INLINE void multiply(Accumulators& acc, const std::uint8_t* row, __m256i low, __m256i high) {
  std::int32_t value;
  std::memcpy(&value, row, 4);
  const __m256i a = _mm256_cvtepu8_epi16(_mm_set1_epi32(value));
  acc.low = _mm256_add_epi32(acc.low, _mm256_madd_epi16(a, low));
  acc.high = _mm256_add_epi32(acc.high, _mm256_madd_epi16(a, high));
}

OCTAVO_INLINE void store(std::int32_t* target, const Accumulators& acc) {
  _mm256_store_si256(reinterpret_cast<__m256i*>(target),
                     _mm256_permute4x64_epi64(_mm256_hadd_epi32(acc.low, acc.high), 0xd8));
}

/// Eight columns from `column` on. noipa and fold expressions keep the accumulators in registers, as in the
/// tiles of avx512vnni.
template <bool masked, std::size_t... row>
__attribute__((noipa)) void half_tile(const ConvTile& args, std::int64_t column) {
  Accumulators acc[sizeof...(row)];
  (clear(acc[row]), ...);
  const std::int64_t* const rows = args.rows;
  const std::int64_t b_step = args.b_step, length = args.steps * 4;
  for (std::int64_t t = 0; t < args.segments; ++t) {
    if (args.shifts && args.shifts[t]) (shift(acc[row], _mm_cvtsi32_si128(args.shifts[t])), ...);
    const std::int8_t* b = args.b + column * 4 + args.b_offsets[t];
    const std::uint8_t* at = args.a + args.offsets[t];
    const std::uint32_t* mask = args.masks;
    for (const std::uint8_t* const end = at + length; at != end;
         at += 4, b += b_step, mask += masked ? 1 : 0) {
      const __m256i low = widen_b<masked>(b, mask), high = widen_b<masked>(b + 16, mask);
      (multiply(acc[row], at + rows[row], low, high), ...);
    }
  }
  (store(args.acc + row * 16 + column, acc[row]), ...);
}

template <bool masked, std::size_t... row>
void tile(const ConvTile& args) {
  half_tile<masked, row...>(args, 0);
  half_tile<masked, row...>(args, 8);
}

template <bool masked>
constexpr std::array<ConvTileFunction, ConvTiles::most_rows + 1> tiles_by_rows = {
    nullptr,
    tile<masked, 0>,
    tile<masked, 0, 1>,
    tile<masked, 0, 1, 2>,
    tile<masked, 0, 1, 2, 3>,
    tile<masked, 0, 1, 2, 3, 4>,
    tile<masked, 0, 1, 2, 3, 4, 5>};
constexpr ConvTiles tiles = {tiles_by_rows<false>, {}, tiles_by_rows<true>, {}};

/// Subtraction modulo 2^32.
OCTAVO_INLINE std::int32_t corrected(std::int32_t acc, std::int32_t correction) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(acc) - static_cast<std::uint32_t>(correction));
}

template <class Element>
void finish_row(const ConvFinishRows& args, std::int64_t row, float a_scale, Element* out) {
  const std::int64_t at = row * args.pitch;
  float values[ConvIsa::widest];
  if (args.sums)
    for (std::int64_t j = 0; j < args.columns; ++j) values[j] = static_cast<float>(args.sums[at + j]);
  else
    for (std::int64_t j = 0; j < args.columns; ++j)
      values[j] = static_cast<float>(corrected(args.acc[at + j], args.correction[j]));
  for (std::int64_t j = 0; j < args.columns; ++j)
    values[j] *= a_scale * args.b_scale[args.b_scale_vector ? j : 0];
  if (args.bias)
    for (std::int64_t j = 0; j < args.columns; ++j) values[j] += args.bias[j];
  if (args.accumulate)
    for (std::int64_t j = 0; j < args.columns; ++j) values[j] += to_float(out[j]);
  for (std::int64_t j = 0; j < args.columns; ++j) assign(out[j], values[j]);
}

void finish_rows(const ConvFinishRows& args) {
  for (std::int64_t i = 0; i < args.rows; ++i) {
    if (args.integers) {
      for (std::int64_t j = 0; j < args.columns; ++j) {
        const std::int64_t at = i * args.pitch + j;
        args.integers[args.out_index[i] + j] =
            args.sums ? args.sums[at] : corrected(args.acc[at], args.correction[j]);
      }
    } else {
      with_type(args.out.type, [&](auto element) {
        finish_row(args, i, args.a_scale[args.a_scale_vector ? i : 0],
                   args.out.as<decltype(element)>() + args.out_index[i]);
      });
    }
  }
}

void add_sums(std::int64_t* sums, const std::int32_t* acc, const std::int32_t* correction, std::int64_t rows,
              std::int64_t pitch, int shift, bool first) {
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < pitch; ++j) {
      const auto value = static_cast<std::uint64_t>(corrected(acc[i * pitch + j], correction[j])) << shift;
      std::int64_t& sum = sums[i * pitch + j];
      sum = static_cast<std::int64_t>((first ? 0 : static_cast<std::uint64_t>(sum)) + value);
    }
}

void finish_columns(const ConvFinishColumns& args) {
  for (std::int64_t j = 0; j < args.columns; ++j)
    for (std::int64_t i = 0; i < args.rows; ++i) {
      const std::int64_t at = i * args.pitch + j, index = j * args.out_pitch + i;
      const std::int64_t sum = args.sums ? args.sums[at] : corrected(args.acc[at], args.correction[j]);
      if (args.integers) {
        args.integers[index] = sum;
        if (args.odd_integers) args.odd_integers[index] = args.odd ? args.odd[at] : 0;
        continue;
      }
      const float scale =
          args.a_scale[args.a_scale_vector ? i : 0] * args.b_scale[args.b_scale_vector ? j : 0];
      float value = static_cast<float>(sum);
      if (args.odd) value = value + static_cast<float>(args.odd[at]) * sqrt2;
      value = value * scale;
      args.out[index] = args.accumulate ? value + args.out[index] : value;
    }
}

/// `count` bytes of at most 8, the rest 0. Loads may overlap: what a narrow store left is slow to load whole.
OCTAVO_INLINE std::uint64_t first_8(const std::int8_t* from, std::int64_t count) {
  const auto byte = [from](std::int64_t i) {
    return std::uint64_t{static_cast<std::uint8_t>(from[i])} << 8 * i;
  };
  if (count <= 0) return 0;
  if (count < 4) return byte(0) | byte(count / 2) | byte(count - 1);
  std::uint32_t first, last;
  std::memcpy(&first, from, 4);
  std::memcpy(&last, from + count - 4, 4);
  return first | std::uint64_t{last} << 8 * (count - 4);
}

/// Not inline, so that the loops over whole vectors are unrolled.
__attribute__((noinline)) __m128i part_of_16(const std::int8_t* from, std::int64_t count) {
  const std::uint64_t low = first_8(from, count < 8 ? count : 8), high = first_8(from + 8, count - 8);
  return _mm_set_epi64x(static_cast<std::int64_t>(high), static_cast<std::int64_t>(low));
}

/// The first `count` of 16 bytes, the rest 0; count may exceed them and be below 0.
OCTAVO_INLINE __m128i first_16(const std::int8_t* from, std::int64_t count) {
  if (count >= 16) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return count <= 0 ? _mm_setzero_si128() : part_of_16(from, count);
}

OCTAVO_INLINE __m256i first_32(const std::int8_t* from, std::int64_t count) {
  if (count >= 32) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm256_set_m128i(first_16(from + 16, count - 16), first_16(from, count));
}

/// Transposes 8 rows of 8 groups of four bytes.
OCTAVO_INLINE void transpose(__m256i (&m)[8]) {
  __m256i t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_epi32(m[i], m[i + 1]);
    t[i + 1] = _mm256_unpackhi_epi32(m[i], m[i + 1]);
  }
  for (int i = 0; i < 8; i += 4)
    for (int half = 0; half < 2; ++half) {
      m[i + 2 * half] = _mm256_unpacklo_epi64(t[i + half], t[i + 2 + half]);
      m[i + 2 * half + 1] = _mm256_unpackhi_epi64(t[i + half], t[i + 2 + half]);
    }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm256_permute2x128_si256(m[i], m[i + 4], 0x20);
    t[i + 4] = _mm256_permute2x128_si256(m[i], m[i + 4], 0x31);
  }
  for (int i = 0; i < 8; ++i) m[i] = t[i];
}

/// Sums of four neighbouring bytes each.
OCTAVO_INLINE __m256i sums_of_four(__m256i v) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), v), _mm256_set1_epi16(1));
}

OCTAVO_INLINE void add_to_sums(std::int32_t* sums, __m256i more) {
  auto* target = reinterpret_cast<__m256i*>(sums);
  _mm256_storeu_si256(target, _mm256_add_epi32(_mm256_loadu_si256(target), more));
}

/// sums[j] += the bytes of column j that the mask leaves of a step.
OCTAVO_INLINE void add_step(std::int32_t* sums, const std::int8_t* b, std::int64_t columns,
                            std::uint32_t mask) {
  const __m256i masks = _mm256_set1_epi32(static_cast<int>(mask));
  for (std::int64_t j = 0; j < columns; j += 8)
    add_to_sums(sums + j, sums_of_four(_mm256_and_si256(
                              masks, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + j * 4)))));
}

OCTAVO_INLINE void shift_sums(std::int32_t* sums, std::int64_t columns, std::int32_t bits) {
  for (std::int64_t j = 0; j < columns; ++j)
    sums[j] = static_cast<std::int32_t>(static_cast<std::uint32_t>(sums[j]) << bits);
}

/// Until the end the sums of the taps are those of their holes.
void column_sums(const ConvColumnSums& args) {
  const std::int64_t columns = args.columns;
  const std::size_t taps = args.holes ? args.holes->begin.size() - 1 : 1;
  const auto sums = [&](std::size_t tap) {
    return args.acc + static_cast<std::int64_t>(tap) * args.acc_pitch;
  };
  std::int32_t all[ConvIsa::widest] = {};
  for (std::size_t tap = 0; tap < taps; ++tap) std::fill_n(sums(tap), columns, 0);
  for (std::int64_t t = 0; t < args.segments; ++t) {
    const std::int32_t bits = args.shifts ? args.shifts[t] : 0;
    const std::int8_t* const b = args.b + args.index[t] * args.b_segment;
    shift_sums(all, columns, bits);
    for (std::int64_t q = 0; q < args.steps; ++q) {
      if (args.copy)
        std::memcpy(args.copy + args.index[t] * args.copy_segment + q * columns * 4, b + q * args.b_step,
                    static_cast<std::size_t>(columns * 4));
      add_step(all, b + q * args.b_step, columns, ~0U);
    }
    for (std::size_t tap = 0; args.holes && tap < taps; ++tap) {
      shift_sums(sums(tap), columns, bits);
      for (std::int64_t i = args.holes->begin[tap]; i < args.holes->begin[tap + 1]; ++i) {
        const ConvHoles::Hole& hole = args.holes->list[static_cast<std::size_t>(i)];
        add_step(sums(tap), b + hole.quad * args.b_step, columns, hole.mask);
      }
    }
  }
  for (std::size_t tap = 0; tap < taps; ++tap)
    for (std::int64_t j = 0; j < columns; ++j) sums(tap)[j] = corrected(all[j], sums(tap)[j]);
}

/// 8 columns of 32 inputs are a matrix of 8 by 8 groups of four bytes. All columns of these inputs follow
/// each other, as they share the lines of the target.
void pack_rows(const ConvPack& args) {
  for (std::int64_t first = 0; first < args.inputs; first += 32)
    for (std::int64_t j = 0; j < args.columns; j += 8) {
      const std::int64_t count = args.inputs - first;
      __m256i m[8];
      for (std::int64_t i = 0; i < 8; ++i)
        m[i] = first_32(args.source + (j + i) * args.row + first, j + i < args.columns ? count : 0);
      transpose(m);
      __m256i sums = _mm256_setzero_si256();
      std::int8_t* target = args.target + first / 4 * args.step + j * 4;
      for (std::int64_t q = 0; q < 8 && 4 * q < count; ++q, target += args.step) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(target), m[q]);
        sums = _mm256_add_epi32(sums, sums_of_four(m[q]));
      }
      add_to_sums(args.sums + j, sums);
    }
}

/// Bytes of four rows, column by column: 16 columns.
OCTAVO_INLINE void interleave(const __m128i (&v)[4], __m256i& low, __m256i& high) {
  const __m128i ab_low = _mm_unpacklo_epi8(v[0], v[1]), ab_high = _mm_unpackhi_epi8(v[0], v[1]);
  const __m128i cd_low = _mm_unpacklo_epi8(v[2], v[3]), cd_high = _mm_unpackhi_epi8(v[2], v[3]);
  low = _mm256_set_m128i(_mm_unpackhi_epi16(ab_low, cd_low), _mm_unpacklo_epi16(ab_low, cd_low));
  high = _mm256_set_m128i(_mm_unpackhi_epi16(ab_high, cd_high), _mm_unpacklo_epi16(ab_high, cd_high));
}

void pack_columns(const ConvPack& args) {
  for (std::int64_t j = 0; j < args.columns; j += 16) {
    const std::int64_t count = args.columns - j;
    __m256i low_sums = _mm256_setzero_si256(), high_sums = _mm256_setzero_si256();
    std::int8_t* target = args.target + j * 4;
    for (std::int64_t input = 0; input < args.inputs; input += 4, target += args.step) {
      __m128i rows[4];
      __m256i low, high;
      for (std::int64_t e = 0; e < 4; ++e)
        rows[e] = first_16(args.source + (input + e) * args.row + j, input + e < args.inputs ? count : 0);
      interleave(rows, low, high);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(target), low);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(target + 32), high);
      low_sums = _mm256_add_epi32(low_sums, sums_of_four(low));
      high_sums = _mm256_add_epi32(high_sums, sums_of_four(high));
    }
    add_to_sums(args.sums + j, low_sums);
    add_to_sums(args.sums + j + 8, high_sums);
  }
}

}  // namespace

extern const ConvIsa conv_isa_avx2;
const ConvIsa conv_isa_avx2 = {{6, 0},         {&tiles, nullptr}, {},        finish_rows,  add_sums,
                               finish_columns, column_sums,       pack_rows, pack_columns, nullptr};

}  // namespace octavo::kernels
