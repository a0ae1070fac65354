// Register tiles of the integer convolution with vpmaddwd on widened operands (vpmaddubsw would saturate): 3
// rows x 16 columns.
#include <immintrin.h>

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

OCTAVO_INLINE __m256i widen_b(const std::int8_t* source) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(source)));
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
template <std::size_t... row>
__attribute__((noipa)) void half_tile(const ConvTile& args, std::int64_t column) {
  Accumulators acc[sizeof...(row)];
  (clear(acc[row]), ...);
  const std::uint8_t* const* rows = args.rows;
  const std::int64_t b_step = args.b_step, length = args.steps * 4;
  for (std::int64_t t = 0; t < args.segments; ++t) {
    if (args.shifts && args.shifts[t]) (shift(acc[row], _mm_cvtsi32_si128(args.shifts[t])), ...);
    const std::int8_t* b = args.b + column * 4 + args.b_offsets[t];
    std::int64_t at = args.offsets[t];
    for (const std::int64_t end = at + length; at != end; at += 4, b += b_step) {
      const __m256i low = widen_b(b), high = widen_b(b + 16);
      (multiply(acc[row], rows[row] + at, low, high), ...);
    }
  }
  (store(args.acc + row * 16 + column, acc[row]), ...);
}

template <std::size_t... row>
void tile(const ConvTile& args) {
  half_tile<row...>(args, 0);
  half_tile<row...>(args, 8);
}

constexpr ConvTileFunction tiles[] = {nullptr,
                                      tile<0>,
                                      tile<0, 1>,
                                      tile<0, 1, 2>,
                                      tile<0, 1, 2, 3>,
                                      tile<0, 1, 2, 3, 4>,
                                      tile<0, 1, 2, 3, 4, 5>};

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

void column_sums(const ConvColumnSums& args) {
  const std::int64_t columns = args.columns;
  std::memset(args.acc, 0, static_cast<std::size_t>(columns) * sizeof(std::int32_t));
  for (std::int64_t t = 0; t < args.segments; ++t) {
    if (args.shifts && args.shifts[t])
      for (std::int64_t j = 0; j < columns; ++j)
        args.acc[j] = static_cast<std::int32_t>(static_cast<std::uint32_t>(args.acc[j]) << args.shifts[t]);
    for (std::int64_t q = 0; q < args.steps; ++q) {
      const std::int8_t* b = args.b + args.index[t] * args.b_segment + q * args.b_step;
      if (args.copy)
        std::memcpy(args.copy + args.index[t] * args.copy_segment + q * columns * 4, b,
                    static_cast<std::size_t>(columns * 4));
      for (std::int64_t j = 0; j < columns; ++j)
        args.acc[j] += b[j * 4] + b[j * 4 + 1] + b[j * 4 + 2] + b[j * 4 + 3];
    }
  }
}

}  // namespace

extern const ConvIsa conv_isa_avx2;
const ConvIsa conv_isa_avx2 = {{6, 0},      {tiles, nullptr}, finish_rows,        add_sums, finish_columns,
                               column_sums, pack_rows_plain,  pack_columns_plain, nullptr};

}  // namespace octavo::kernels
