// Asking for memory ahead of a loop that streams through it.
#pragma once

#include <cstdint>

namespace octavo {

/// Elements that a streaming loop takes between two calls of fetch_ahead.
constexpr std::int64_t fetch_block = 256;

/// The lines of the floats [at + 2048, at + 2048 + fetch_block): prefetchers of the hardware stay so close to
/// the loop that a core gets half of its share of the memory's bandwidth.
inline void fetch_ahead(const float* at) {
  for (std::int64_t i = 0; i < fetch_block; i += 16) __builtin_prefetch(at + 2048 + i);
}

}  // namespace octavo
