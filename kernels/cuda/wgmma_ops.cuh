// The instructions of wgmma (sm_90a), which CUDA C++ has no names for: PTX ISA, "Asynchronous Warpgroup Level
// Matrix Instructions". A warpgroup executes each of them together.
#pragma once

#include "wgmma_s8.h"

namespace octavo::kernels::cuda {

/// What this thread wrote to shared memory, copies that have arrived among it, becomes visible to wgmma,
/// which reads by another way ("Async Proxy"); a barrier then says so to the others. Reads of wgmma that were
/// waited for need no fence before memory is written again.
__device__ inline void show_to_products() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/// Before wgmma adds to sums that other instructions wrote. The compiler keeps the order of volatile assembly
/// alone, so that the sums are named in it.
template <int fragments>
__device__ inline void order_sums(int (&sums)[fragments][4]) {
#pragma unroll
  for (int j = 0; j < fragments; ++j)
    asm volatile("" : "+r"(sums[j][0]), "+r"(sums[j][1]), "+r"(sums[j][2]), "+r"(sums[j][3])::"memory");
}
template <int fragments>
__device__ inline void begin_products(int (&sums)[fragments][4]) {
  order_sums(sums);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ inline void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Until all but the last `pending` groups are done; with none pending the sums may be read.
template <int pending, int fragments>
__device__ inline void wait_products(int (&sums)[fragments][4]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
  if constexpr (pending == 0) order_sums(sums);
}

#define OCTAVO_NAMES_32                                                    \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define OCTAVO_NAMES_64                                                              \
  OCTAVO_NAMES_32                                                                    \
  ", "                                                                               \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define OCTAVO_NAMES_128                                                                         \
  OCTAVO_NAMES_64                                                                                \
  ", "                                                                                           \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "             \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "             \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define OCTAVO_SUMS_4(d, j) "+r"(d[j][0]), "+r"(d[j][1]), "+r"(d[j][2]), "+r"(d[j][3])
#define OCTAVO_SUMS_16(d, j) \
  OCTAVO_SUMS_4(d, j), OCTAVO_SUMS_4(d, j + 1), OCTAVO_SUMS_4(d, j + 2), OCTAVO_SUMS_4(d, j + 3)
#define OCTAVO_SUMS_32(d) OCTAVO_SUMS_16(d, 0), OCTAVO_SUMS_16(d, 4)
#define OCTAVO_SUMS_64(d) OCTAVO_SUMS_32(d), OCTAVO_SUMS_16(d, 8), OCTAVO_SUMS_16(d, 12)
#define OCTAVO_SUMS_128(d)                                                                \
  OCTAVO_SUMS_64(d), OCTAVO_SUMS_16(d, 16), OCTAVO_SUMS_16(d, 20), OCTAVO_SUMS_16(d, 24), \
      OCTAVO_SUMS_16(d, 28)
#define OCTAVO_MULTIPLY(n, type, count, left, right)                                               \
  asm volatile("wgmma.mma_async.sync.aligned.m64n" #n "k32.s32." type ".s8 {" OCTAVO_NAMES_##count \
               "}, " left ", " right ", 1;"                                                        \
               : OCTAVO_SUMS_##count(sums)                                                         \
               : "l"(a), "l"(b))

/// sums += A B of 64 x 8 fragments x 32 bytes, some time before wait_products() returns.
template <bool a_unsigned, int fragments>
__device__ inline void start_product(int (&sums)[fragments][4], std::uint64_t a, std::uint64_t b) {
  static_assert(fragments == 8 || fragments == 16 || fragments == 32, "64, 128 or 256 columns");
  if constexpr (fragments == 8 && a_unsigned) OCTAVO_MULTIPLY(64, "u8", 32, "%32", "%33");
  if constexpr (fragments == 8 && !a_unsigned) OCTAVO_MULTIPLY(64, "s8", 32, "%32", "%33");
  if constexpr (fragments == 16 && a_unsigned) OCTAVO_MULTIPLY(128, "u8", 64, "%64", "%65");
  if constexpr (fragments == 16 && !a_unsigned) OCTAVO_MULTIPLY(128, "s8", 64, "%64", "%65");
  if constexpr (fragments == 32 && a_unsigned) OCTAVO_MULTIPLY(256, "u8", 128, "%128", "%129");
  if constexpr (fragments == 32 && !a_unsigned) OCTAVO_MULTIPLY(256, "s8", 128, "%128", "%129");
}

#undef OCTAVO_MULTIPLY
#undef OCTAVO_SUMS_128
#undef OCTAVO_SUMS_64
#undef OCTAVO_SUMS_32
#undef OCTAVO_SUMS_16
#undef OCTAVO_SUMS_4
#undef OCTAVO_NAMES_128
#undef OCTAVO_NAMES_64
#undef OCTAVO_NAMES_32

}  // namespace octavo::kernels::cuda
