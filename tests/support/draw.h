// Drawn floats for tests.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace octavo::test {

inline std::vector<float> normal_floats(std::int64_t count, unsigned seed, float mean, float deviation) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(mean, deviation);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = normal(generator);
  return values;
}

/// Few different ones: several pixels of a window share a maximum.
inline std::vector<float> tied_floats(std::int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_int_distribution<int> any(-64, 64);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = static_cast<float>(any(generator)) / 7.0F;
  return values;
}

}  // namespace octavo::test
