// Runs of up to 16 bits of a bit mask: element i is bit i % 8 of byte i / 8.
#pragma once

#include "host_device.h"

namespace octavo::kernels::cuda {

/// Element `first` in bit 0; only bytes that hold one of `count` elements are read.
OCTAVO_HD constexpr std::uint32_t load_bits(const std::uint8_t* bits, std::int64_t first, int count) {
  if (count == 0) return 0;
  const std::uint8_t* bytes = bits + first / 8;
  const int shift = static_cast<int>(first % 8), last = (shift + count - 1) / 8;
  std::uint32_t word = bytes[0];
  if (last > 0) word |= std::uint32_t{bytes[1]} << 8;
  if (last > 1) word |= std::uint32_t{bytes[2]} << 16;
  return word >> shift;
}

/// Runs of whole bytes are stored; others share words, zeroed before, and `block` joins them to it.
template <class Block>
OCTAVO_HD constexpr void store_bits(std::uint8_t* bits, bool whole_bytes, std::int64_t first, int count,
                                    std::uint32_t run, Block& block) {
  run &= (1u << count) - 1;
  if (whole_bytes) {
    if (count > 0) bits[first / 8] = static_cast<std::uint8_t>(run);
    if (count > 8) bits[first / 8 + 1] = static_cast<std::uint8_t>(run >> 8);
    return;
  }
  const int shift = static_cast<int>(first % 32);
  if (run << shift != 0) block.join_bits(bits + first / 32 * 4, run << shift);
  if (shift > 16 && run >> (32 - shift) != 0) block.join_bits(bits + first / 32 * 4 + 4, run >> (32 - shift));
}

/// Bit i: lo < v[i] < hi.
template <int count>
OCTAVO_HD constexpr std::uint32_t bits_between(float lo, float hi, const float (&v)[count]) {
  std::uint32_t bits = 0;
  OCTAVO_UNROLL
  for (int i = 0; i < count; ++i) bits |= std::uint32_t{lo < v[i] && v[i] < hi} << i;
  return bits;
}

}  // namespace octavo::kernels::cuda
