// Quality of the random generator behind stochastic rounding, and its independence of step, slot and
// neighbour.
#include <array>
#include <bit>
#include <cmath>

#include "random.h"
#include "support/catch.h"

using namespace octavo::kernels;

namespace {

/// Mean of u = bits / 65536 over `count` consecutive elements, less the exact mean of 16 random bits.
double mean_bias(RandomKey key, std::uint64_t count) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < count; ++i) sum += random_bits16(key, i);
  return static_cast<double>(sum) / static_cast<double>(count) / 65536.0 - 65535.0 / 131072.0;
}

/// Standard error of the mean of `count` uniform draws.
double standard_error(std::uint64_t count) { return std::sqrt(1.0 / 12.0 / static_cast<double>(count)); }

/// Correlation of two streams of draws given by index.
template <class First, class Second>
double correlation(std::uint64_t count, First first, Second second) {
  double sum = 0;
  for (std::uint64_t i = 0; i < count; ++i)
    sum += (static_cast<double>(first(i)) - 32767.5) * (static_cast<double>(second(i)) - 32767.5);
  return sum / static_cast<double>(count) / (65536.0 * 65536.0 / 12.0);
}

void check_rounding_bias(std::uint64_t count) {
  for (float value : {0.3f, 0.01f, 0.999f}) {
    std::uint64_t up = 0;
    for (std::uint64_t i = 0; i < count; ++i)
      up += std::floor(value + static_cast<float>(random_bits16(random_key(11, 5, 2), i)) * 0x1p-16f) > 0.0f;
    const double share = static_cast<double>(up) / static_cast<double>(count);
    // A multiple of 2^-16 is met; what is left is that step and five standard errors.
    CHECK(std::fabs(share - static_cast<double>(value)) <=
          0x1p-16 + 5 * std::sqrt(value * (1 - value) / static_cast<double>(count)));
  }
}

void check_means(std::uint64_t count) {
  for (std::uint64_t seed : {0u, 1u, 2u, 77u})
    CHECK(std::fabs(mean_bias(random_key(seed, 1000, 3), count)) < 5 * standard_error(count));
}

}  // namespace

TEST_CASE("stochastic rounding has no bias over 2^24 draws") {
  check_means(1 << 24);
  check_rounding_bias(1 << 24);
}

TEST_CASE("stochastic rounding has no bias over 2^28 draws", "[.slow]") {
  check_means(1 << 28);
  check_rounding_bias(1 << 28);
}

TEST_CASE("every bit of a draw is one half of the time") {
  constexpr std::uint64_t count = 1 << 22;
  for (std::uint64_t seed : {0u, 1u, 123u}) {
    std::array<std::uint64_t, 16> ones{};
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint32_t bits = random_bits16(random_key(seed, 0, 0), i);
      for (unsigned bit = 0; bit < 16; ++bit) ones[bit] += bits >> bit & 1;
    }
    for (std::uint64_t one : ones)
      CHECK(std::fabs(static_cast<double>(one) / count - 0.5) <
            5 * 0.5 / std::sqrt(static_cast<double>(count)));
  }
}

TEST_CASE("values of a draw are evenly spread") {
  constexpr std::uint64_t count = 1 << 24;
  constexpr int cells = 4096;
  for (std::uint64_t seed : {4u, 5u}) {
    std::array<std::uint32_t, cells> high{}, low{};
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint32_t bits = random_bits16(random_key(seed, 9, 9), i);
      ++high[bits >> 4];
      ++low[bits & 4095];
    }
    for (const auto& counts : {high, low}) {
      double chi = 0;
      const double expected = static_cast<double>(count) / cells;
      for (std::uint32_t n : counts) chi += (n - expected) * (n - expected) / expected;
      // Chi-square with 4095 degrees of freedom: mean 4095, standard deviation 90.5.
      CHECK(std::fabs(chi - 4095) < 5 * 90.5);
    }
  }
}

TEST_CASE("neighbours, steps and slots are not correlated") {
  constexpr std::uint64_t count = 1 << 22;
  const double bound = 5 / std::sqrt(static_cast<double>(count));
  const RandomKey key = random_key(1, 100, 4);
  const auto draw = [](RandomKey k) { return [k](std::uint64_t i) { return random_bits16(k, i); }; };
  for (std::uint64_t distance : {1, 2, 3, 7, 15, 16, 17, 32, 48, 64, 512, 1024, 32768})
    CHECK(std::fabs(correlation(count, draw(key),
                                [&](std::uint64_t i) { return random_bits16(key, i + distance); })) < bound);
  for (std::uint64_t step : {99u, 101u, 102u, 228u})
    CHECK(std::fabs(correlation(count, draw(key), draw(random_key(1, step, 4)))) < bound);
  for (std::uint64_t slot : {0u, 3u, 5u, 6u, 260u})
    CHECK(std::fabs(correlation(count, draw(key), draw(random_key(1, 100, slot)))) < bound);
  CHECK(std::fabs(correlation(count, draw(key), draw(random_key(2, 100, 4)))) < bound);
}

TEST_CASE("every bit of a draw changes half of the time when the index does") {
  constexpr std::uint32_t count = 1 << 18;
  const RandomKey key = random_key(8, 8, 8);
  for (std::uint32_t flip = 1; flip != 0; flip <<= 1) {
    std::array<std::uint32_t, 32> changes{};
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t difference = random_bits(key, i) ^ random_bits(key, i ^ flip);
      for (unsigned bit = 0; bit < 32; ++bit) changes[bit] += difference >> bit & 1;
    }
    for (std::uint32_t change : changes) CHECK(std::fabs(change / static_cast<double>(count) - 0.5) < 0.02);
  }
}

TEST_CASE("draws do not repeat before 2^38 elements") {
  const RandomKey key = random_key(1, 2, 3);
  int same = 0;
  for (std::uint64_t i = 0; i < 4096; ++i) {
    same += random_bits16(key, i) == random_bits16(key, i + (std::uint64_t{1} << 33));
    same += random_bits16(key, i) == random_bits16(key, i + (std::uint64_t{1} << 37));
  }
  CHECK(same < 8);
}
