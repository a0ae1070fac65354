// Asking for memory ahead of a loop that streams through it: prefetchers of the hardware stay so close to the
// loop that a core gets half of its share of the memory's bandwidth, or less.
#pragma once

#include <cstdint>

namespace octavo::kernels {

/// How far ahead, in floats.
constexpr std::int64_t fetch_distance = 2048;

/// Elements that a loop takes between two calls of fetch_ahead.
constexpr std::int64_t fetch_block = 256;

/// The lines of fetch_block floats from `at` + `distance` on.
inline void fetch_ahead(const float* at, std::int64_t distance = fetch_distance) {
  for (std::int64_t i = 0; i < fetch_block; i += 16) __builtin_prefetch(at + distance + i);
}

}  // namespace octavo::kernels
