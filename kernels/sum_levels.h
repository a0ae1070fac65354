// How the parts of one long sum are joined exactly: each part is an integer times a power of two.
#pragma once

#include <algorithm>
#include <bit>
#include <stdexcept>

#include "kernels.h"

namespace octavo::kernels {

/// An int32 sum times 2^t is added to accumulator t / width, shifted by t % width; the whole is then the sum
/// over accumulators l of accumulator l times 2^(l * width). One int64 does when the whole cannot exceed it;
/// wraps on the way are harmless.
struct SumLevels {
  static constexpr std::int64_t most = 8;
  std::int64_t count = 1, width = 64;

  /// For `terms` products of operands of so many planes, times at most 2^most_shift, in at most `parts` int32
  /// sums for each pair of planes.
  static SumLevels of(std::int64_t terms, std::int64_t parts, int a_planes, int b_planes, int most_shift) {
    const auto largest = [](int planes) { return planes == 1 ? 255 : largest_integer(planes); };
    const Int128 bound = Int128{terms} * largest(a_planes) * largest(b_planes) << most_shift;
    if (bound < Int128{1} << 63) return {};
    // 9 < 2^4 pairs of planes times `parts` sums below 2^31 times 2^(width - 1) stay below 2^62.
    SumLevels levels;
    levels.width = std::max(1, 28 - static_cast<int>(std::bit_width(static_cast<std::uint64_t>(parts))));
    levels.count = (8 * (a_planes + b_planes - 2) + most_shift) / levels.width + 1;
    if (levels.count > most)
      throw std::logic_error("grad_weight: too many samples for planes and scale classes");
    return levels;
  }

  /// The sum of accumulators that lie `stride` elements apart.
  Int128 total(const std::int64_t* sums, std::int64_t stride) const {
    Int128 sum = 0;
    for (std::int64_t level = 0; level < count; ++level)
      // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): all are written
      sum += Int128{sums[level * stride]} << (level * width);
    return sum;
  }
};

/// Modulo 2^64: a sum that fits may leave int64 on the way.
constexpr std::int64_t wrapping_add(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}

/// The sums of one result over samples of even and of odd classes; without classes all are even.
template <class Int>
struct ClassSums {
  Int even = 0, odd = 0;
};

/// One result of a product: `a` and `b` are its indices into the scale vectors, `odd_index` the place of its
/// odd sum among the integers.
template <class Int>
void store_sum(const ConvArgs& args, std::int64_t index, std::int64_t odd_index, const ClassSums<Int>& sums,
               std::int64_t a, std::int64_t b, const float* bias = nullptr) {
  if (args.integers) {
    args.integers[index] = static_cast<std::int64_t>(sums.even);
    if (args.sample_class) args.integers[odd_index] = static_cast<std::int64_t>(sums.odd);
    return;
  }
  const float scale = args.a_scale[args.a_scale_vector ? a : 0] * args.b_scale[args.b_scale_vector ? b : 0];
  float value = static_cast<float>(sums.even);
  if (args.sample_class) value = value + static_cast<float>(sums.odd) * sqrt2;
  value = value * scale;
  if (bias) value = value + *bias;
  args.out.set(index, args.accumulate ? value + FloatSource(args.out)[index] : value);
}

}  // namespace octavo::kernels
