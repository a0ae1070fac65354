// The one random generator of octavo: counter-based, the same on every device, cheap in 32-bit lanes.
// A draw depends on (seed, step, slot, element index) alone, never on threads, blocking or history.
#pragma once

#include <cstdint>

namespace octavo::kernels {

/// Key of one stream: all draws of one slot in one step.
struct RandomKey {
  std::uint32_t a = 0, b = 0;
};

/// splitmix64 finalizer (Steele et al., "Fast splittable pseudorandom number generators", 2014).
constexpr std::uint64_t mix64(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

constexpr RandomKey random_key(std::uint64_t seed, std::uint64_t step, std::uint64_t slot) {
  const std::uint64_t key = mix64(mix64(mix64(seed) ^ step) ^ slot);
  return {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
}

/// 32 random bits for `counter`: two multiply-xorshift rounds between the two key words.
constexpr std::uint32_t random_bits(RandomKey key, std::uint32_t counter) {
  std::uint32_t x = counter * 0x9E3779B9u + key.a;
  x = (x ^ (x >> 16)) * 0x21F0AAADu;
  x = (x ^ (x >> 15) ^ key.b) * 0x735A2D97u;
  return x ^ (x >> 15);
}

/// Key of the draws of block `index / 32`: counters repeat after 2^28 blocks.
constexpr RandomKey random_block_key(RandomKey key, std::uint64_t block) {
  return {key.a ^ (static_cast<std::uint32_t>(block >> 28) * 0x85EBCA6Bu), key.b};
}

/// 16 random bits for element `index`. Lanes 0-15 of a block of 32 elements take the low halves of 16 draws,
/// lanes 16-31 the high halves, so that a vector unit needs no shuffles.
constexpr std::uint32_t random_bits16(RandomKey key, std::uint64_t index) {
  const std::uint64_t block = index >> 5;
  const std::uint32_t counter =
      static_cast<std::uint32_t>(block) * 16 + static_cast<std::uint32_t>(index & 15);
  return random_bits(random_block_key(key, block), counter) >> (index & 16) & 0xFFFFu;
}

/// Uniform in [0, 1) with 24 bits, for initializers, dropout and augmentation.
constexpr float random_uniform(RandomKey key, std::uint32_t counter) {
  return static_cast<float>(random_bits(key, counter) >> 8) * 0x1p-24f;
}

}  // namespace octavo::kernels
