// Which element of a matrix each byte of each lane's registers holds, from the PTX ISA ("Matrix fragments for
// mma.m16n8k32" and "mma.m8n8k16", 8-bit types). A is [m][k], B is [n][k], both with k contiguous; C is
// [m][n].
#pragma once

#include "host_device.h"

namespace octavo::kernels::cuda {

struct Place {
  int row, column;
  constexpr bool operator==(const Place&) const = default;
};

/// sm_80 and later.
struct MmaM16N8K32 {
  static constexpr int m = 16, n = 8, k = 32, a_registers = 4, b_registers = 2, c_registers = 4;
  OCTAVO_HD static constexpr Place a(int lane, int reg, int byte) {
    return {lane / 4 + reg % 2 * 8, lane % 4 * 4 + byte + reg / 2 * 16};
  }
  OCTAVO_HD static constexpr Place b(int lane, int reg, int byte) {
    return {lane / 4, lane % 4 * 4 + byte + reg * 16};
  }
  OCTAVO_HD static constexpr Place c(int lane, int reg) {
    return {lane / 4 + reg / 2 * 8, lane % 4 * 2 + reg % 2};
  }
};

/// sm_75.
struct MmaM8N8K16 {
  static constexpr int m = 8, n = 8, k = 16, a_registers = 1, b_registers = 1, c_registers = 2;
  OCTAVO_HD static constexpr Place a(int lane, int, int byte) { return {lane / 4, lane % 4 * 4 + byte}; }
  OCTAVO_HD static constexpr Place b(int lane, int, int byte) { return {lane / 4, lane % 4 * 4 + byte}; }
  OCTAVO_HD static constexpr Place c(int lane, int reg) { return {lane / 4, lane % 4 * 2 + reg}; }
};

/// A 16 x 8 x 32 product from four of 8 x 8 x 16: register of A, of B, and the first of C. The registers are
/// those of the large instruction, so both paths load and store alike.
struct QuarterStep {
  int a, b, c;
};
OCTAVO_HD constexpr QuarterStep quarter_step(int i) { return {i % 2 * 2 + i / 2, i % 2, i / 2 * 2}; }

}  // namespace octavo::kernels::cuda
