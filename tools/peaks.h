// What this machine can do at most, measured beside what is compared with it: one arithmetic instruction on
// all threads, and copies.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "core/thread_pool.h"

namespace octavo {

/// Seconds of the shortest of the runs that fit into `budget` seconds, at least three, after one more.
template <class Work>
double shortest(const Work& work, double budget) {
  using Clock = std::chrono::steady_clock;
  work();
  double best = 1e30, spent = 0;
  for (int run = 0; run < 3 || spent < budget; ++run) {
    const Clock::time_point start = Clock::now();
    work();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::min(best, seconds);
    spent += seconds;
  }
  return best;
}

/// GOP/s (a multiply-add counts 2) of vpdpbusd alone; 0 when the CPU lacks it.
double measure_int8_peak(ThreadPool& pool);
/// GOP/s of the widest FP32 multiply-add that the CPU has; 0 when it has none.
double measure_fp32_peak(ThreadPool& pool);
/// GB/s, read and written, of copying `bytes` bytes; the faster of memcpy and stores around the caches.
double measure_copy(ThreadPool& pool, std::int64_t bytes);

/// Seconds of reading so many bytes and writing so many others, a little of each in turn; the faster of plain
/// stores and of stores around the caches. Cores may write at half the rate at which they read, so that the
/// rate of copies says little of products that write more than they read.
double measure_stream(ThreadPool& pool, std::int64_t read, std::int64_t written);

/// Bytes of the last cache level as the system tells it, or 32 MiB.
std::int64_t last_cache_bytes();

struct Peaks {
  double int8_gops = 0, fp32_gops = 0;
  double cache_gbps = 0, memory_gbps = 0;  // copies that fit the last cache, and that are far larger
  std::int64_t cache_bytes = last_cache_bytes();

  /// Clocks and neighbours vary: the larger of what was measured so far and now.
  void measure_arithmetic(ThreadPool& pool);
  void measure_copies(ThreadPool& pool);
};

}  // namespace octavo
