// Streams of random numbers by name.
#pragma once

#include <cstdint>
#include <string_view>

namespace octavo {

/// FNV-1a: the stream of a name, the same in every plan and run.
constexpr std::uint64_t stream_of(std::string_view name) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return hash;
}

}  // namespace octavo
