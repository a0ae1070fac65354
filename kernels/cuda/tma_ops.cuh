// The instructions of TMA and of barriers in shared memory (sm_90a), which CUDA C++ has no names for: PTX
// ISA, "cp.async.bulk.tensor" and "mbarrier". Addresses are those of shared memory.
#pragma once

#include <cuda.h>

#include "host_device.h"

namespace octavo::kernels::cuda {

/// A barrier of 8 bytes whose phases end after `arrivals` of threads and as many bytes as they expect.
__device__ inline void init_barrier(std::uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
/// Barriers that this thread made become visible to TMA; a barrier of the block then says so to the others.
__device__ inline void show_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
/// What this thread wrote to shared memory comes before what TMA copies there, once a barrier says so.
__device__ inline void show_to_copies() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
/// At the barrier with this address of block `rank` of the cluster.
__device__ inline void arrive_at(std::uint32_t barrier, int rank) {
  asm volatile(
      "{\n"
      ".reg .b32 there;\n"
      "mapa.shared::cluster.u32 there, %0, %1;\n"
      "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n"
      "}" ::"r"(barrier),
      "r"(rank)
      : "memory");
}
/// Arrives, and lets the phase last until so many bytes more have been copied.
__device__ inline void arrive_expecting(std::uint32_t barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
/// Until the last phase of this parity has ended: of a new barrier the one before the first, 1, has.
__device__ inline void wait_phase(std::uint32_t barrier, int parity) {
  std::uint32_t done;
  do {
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%1], %2;\n"
        "selp.u32 %0, 1, 0, done;\n"
        "}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
  } while (done == 0);
}

__device__ inline void prefetch_map(const CUtensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}
/// A box to shared memory, which counts for the barrier when it has arrived.
__device__ inline void copy_box(std::uint32_t to, const CUtensorMap& map, std::uint32_t barrier, int x, int y,
                                int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, "
      "%5}], [%2];" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(x), "r"(y), "r"(z)
      : "memory");
}
/// The same to the same place in every block of the cluster that is a bit of `blocks`, and for its barrier.
__device__ inline void copy_box_to(unsigned blocks, std::uint32_t to, const CUtensorMap& map,
                                   std::uint32_t barrier, int x, int y, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], "
      "[%1, {%3, %4, %5}], [%2], %6;" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(x), "r"(y), "r"(z), "h"(static_cast<unsigned short>(blocks))
      : "memory");
}
__device__ inline void copy_box(std::uint32_t to, const CUtensorMap& map, std::uint32_t barrier, int c, int w,
                                int h, int n) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, "
      "%5, %6}], [%2];" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(c), "r"(w), "r"(h), "r"(n)
      : "memory");
}
/// Pixels one after the other from base (w, h) of image n on, each read at (w + offset_w, h + offset_h).
__device__ inline void copy_pixels(std::uint32_t to, const CUtensorMap& map, std::uint32_t barrier, int c,
                                   int w, int h, int n, int offset_w, int offset_h) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, {%3, "
      "%4, "
      "%5, %6}], [%2], {%7, %8};" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(c), "r"(w), "r"(h), "r"(n), "h"(static_cast<short>(offset_w)),
      "h"(static_cast<short>(offset_h))
      : "memory");
}

/// All threads of the cluster wait for each other, in memory of all its blocks too.
__device__ inline void sync_cluster() {
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
/// The same value, of which the compiler knows nothing: what follows from it is made again where it is used,
/// and takes no registers until then.
__device__ inline int made_anew(int value) {
  asm volatile("" : "+r"(value));
  return value;
}
/// The first `count` threads of the block wait for each other.
template <int count>
__device__ inline void sync_first() {
  asm volatile("bar.sync 1, %0;" ::"n"(count) : "memory");
}

}  // namespace octavo::kernels::cuda
