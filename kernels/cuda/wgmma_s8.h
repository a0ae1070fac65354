// What wgmma.m64nNk32 (sm_90a) reads and leaves where, from the PTX ISA, "Asynchronous Warpgroup Level Matrix
// Instructions": "Register Fragments and Shared Memory Matrix Layouts", "Strides", "Matrix Descriptor
// Format". A is [m][k] and B is [n][k] in shared memory, both with k contiguous ("K-major").
#pragma once

#include "mma_s8.h"

namespace octavo::kernels::cuda {

/// Of a warpgroup, four warps; n is that of the tile.
struct WgmmaM64K32 {
  static constexpr int m = 64, k = 32, threads = 128;
  /// Warp w of the group holds rows 16 w.. as fragments of mma.m16n8k32, side by side.
  OCTAVO_HD static constexpr Place c(int thread, int reg) {
    return {thread / 32 * 16 + thread % 32 / 4 + reg / 2 % 2 * 8, reg / 4 * 8 + thread % 4 * 2 + reg % 2};
  }
};

/// Rows of 64 bytes, eight to a pattern, with the 64-byte swizzle: bits 7 and 8 of an address are added to
/// bits 4 and 5 without carry, which is swizzled() of shared_tile.h where tiles start at multiples of a
/// pattern.
constexpr int wgmma_row_bytes = 64, wgmma_pattern_bytes = 8 * wgmma_row_bytes;
constexpr std::uint64_t swizzle_64_bytes = 2;

/// In units of 16 bytes: bits 0 to 13 the start, 16 to 29 the leading distance (not read where rows are
/// swizzled), 32 to 45 the distance of each next eight rows; 49 to 51 which row of a pattern the matrix
/// starts with; 62 and 63 the swizzle.
OCTAVO_HD constexpr std::uint64_t matrix_descriptor(std::uint32_t address) {
  return (address & 0x3FFFF) >> 4 | std::uint64_t{1} << 16 | std::uint64_t{wgmma_pattern_bytes >> 4} << 32 |
         swizzle_64_bytes << 62;
}
/// The same matrix from byte 32 k of the contraction on: the swizzle is one of addresses, so that a start
/// within a row moves all of them alike.
OCTAVO_HD constexpr std::uint64_t at_step(std::uint64_t descriptor, int k) {
  return descriptor + static_cast<std::uint64_t>(k * WgmmaM64K32::k >> 4);
}

}  // namespace octavo::kernels::cuda
