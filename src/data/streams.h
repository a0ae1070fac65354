// Random streams of the data side. Each is keyed apart from the others and from every gradient slot.
#pragma once

#include "random.h"

namespace octavo {

enum class Stream : std::uint64_t {
  order = 0x6461746101,  // "data" and a number
  augment = 0x6461746102,
  subset = 0x6461746103,
  shapes = 0x6461746104,
};

constexpr kernels::RandomKey stream_key(Stream stream, std::uint64_t seed, std::uint64_t a,
                                        std::uint64_t b = 0) {
  return kernels::random_key(kernels::mix64(seed) ^ static_cast<std::uint64_t>(stream), a, b);
}

/// Uniform in [0, bound) for bounds below 2^32; the bias is below bound / 2^32.
constexpr std::uint64_t random_below(kernels::RandomKey key, std::uint32_t counter, std::uint64_t bound) {
  return (static_cast<std::uint64_t>(kernels::random_bits(key, counter)) * bound) >> 32;
}

}  // namespace octavo
