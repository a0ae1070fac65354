// Functions that a kernel and the host emulation of it share: one source, so that what the tests walk through
// on a CPU is the arithmetic of the device.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define OCTAVO_HD __host__ __device__
#define OCTAVO_UNROLL _Pragma("unroll")
#else
#define OCTAVO_HD
#define OCTAVO_UNROLL
#endif

/// The architecture that is compiled for, 0 on the host; a test that runs kernel sources on the host sets it.
#if defined(__CUDA_ARCH__) && !defined(OCTAVO_ARCH)
#define OCTAVO_ARCH __CUDA_ARCH__
#elif !defined(OCTAVO_ARCH)
#define OCTAVO_ARCH 0
#endif

/// Parameters that all threads share where they lie came with sm_70; before, a thread has what it reads of
/// them.
#if OCTAVO_ARCH > 0 && OCTAVO_ARCH < 700 && defined(__CUDACC__)
#undef __grid_constant__
#define __grid_constant__
#endif

/// Whether this is code for sm_90a, which alone has wgmma: neither sm_90 nor what comes after it has.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || (!defined(__CUDACC__) && OCTAVO_ARCH == 900)
#define OCTAVO_WGMMA 1
#else
#define OCTAVO_WGMMA 0
#endif

namespace octavo::kernels::cuda {

/// The unit of every copy and of every row of an operand: 16 bytes of the contraction.
constexpr int segment_bytes = 16;
OCTAVO_HD constexpr std::int64_t whole_segments(std::int64_t count) {
  return (count + segment_bytes - 1) / segment_bytes * segment_bytes;
}
/// A grid has fewer blocks along x, and so many at most along y, where parts of a contraction lie.
constexpr std::int64_t most_blocks = std::int64_t{1} << 31, most_parts = 65535;
OCTAVO_HD constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace octavo::kernels::cuda
