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

/// Rows of 64 or 128 bytes, eight to a pattern, with the swizzle of that width: bits 7 and 8, or 7 to 9, of
/// an address are added to bits 4 and 5, or 4 to 6, without carry. For 64 bytes that is swizzled() of
/// shared_tile.h where tiles start at multiples of a pattern.
OCTAVO_HD constexpr int wgmma_pattern_bytes(int row) { return 8 * row; }
constexpr int wgmma_alignment = wgmma_pattern_bytes(128);

/// In units of 16 bytes: bits 0 to 13 the start, 16 to 29 the leading distance (not read where rows are
/// swizzled), 32 to 45 the distance of each next eight rows; 49 to 51 which row of a pattern the matrix
/// starts with; 62 and 63 the swizzle, 1 of 128 bytes and 2 of 64.
OCTAVO_HD constexpr std::uint64_t matrix_descriptor(std::uint32_t address, int row = 64) {
  return (address & 0x3FFFF) >> 4 | std::uint64_t{1} << 16 |
         static_cast<std::uint64_t>(wgmma_pattern_bytes(row) >> 4) << 32 |
         std::uint64_t{row == 128 ? 1U : 2U} << 62;
}
/// The same matrix from byte 32 k of the contraction on: the swizzle is one of addresses, so that a start
/// within a row moves all of them alike.
OCTAVO_HD constexpr std::uint64_t at_step(std::uint64_t descriptor, int k) {
  return descriptor + static_cast<std::uint64_t>(k * WgmmaM64K32::k >> 4);
}

}  // namespace octavo::kernels::cuda
