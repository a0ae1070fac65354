// Matrix descriptors of wgmma taken apart, by the PTX ISA's "Matrix Descriptor Format" and its table of
// swizzled layouts: independent of how kernels/cuda/wgmma_s8.h makes them.
#pragma once

#include <cstdint>
#include <stdexcept>

namespace octavo::kernels::test {

/// Where segment `segment`, of two, of row `row` of a matrix with k contiguous lies in shared memory.
inline std::uint32_t matrix_segment(std::uint64_t descriptor, int row, int segment) {
  const auto bytes = [&](int bit) { return static_cast<std::uint32_t>(descriptor >> bit & 0x3FFF) * 16; };
  constexpr std::uint64_t unused = 0x3FULL << 56 | 0xFULL << 52 | 0x7ULL << 46 | 0x3ULL << 30 | 0x3ULL << 14;
  if ((descriptor & unused) != 0) throw std::logic_error("bits that a descriptor does not have");
  if ((descriptor >> 49 & 7) != 0) throw std::logic_error("a matrix that starts within a pattern");
  constexpr std::uint32_t widths[] = {16, 128, 64, 32};  // of a row of a pattern, by the mode of the swizzle
  const std::uint32_t width = widths[descriptor >> 62];
  const auto r = static_cast<std::uint32_t>(row), s = static_cast<std::uint32_t>(segment);
  const std::uint32_t address =
      bytes(0) + r / 8 * bytes(32) + r % 8 * width + s * (width == 16 ? bytes(16) : 16);
  return address ^ (address >> 7 & (width / 16 - 1)) << 4;
}

}  // namespace octavo::kernels::test
