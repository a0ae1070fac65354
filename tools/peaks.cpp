#include "peaks.h"

#include <emmintrin.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <vector>

#include "kernels.h"

namespace octavo {
namespace {

using kernels::Isa;

// Inline assembly: in intrinsics the compiler adds moves, and the peak halves. Twelve independent sums hide
// the latency.
#define OCTAVO_TWELVE(instruction, r)                                                                  \
  instruction " %%" r "15, %%" r "14, %%" r "0\n " instruction " %%" r "15, %%" r "14, %%" r           \
              "1\n" instruction " %%" r "15, %%" r "14, %%" r "2\n " instruction " %%" r "15, %%" r    \
              "14, %%" r "3\n" instruction " %%" r "15, %%" r "14, %%" r "4\n " instruction " %%" r    \
              "15, %%" r "14, %%" r "5\n" instruction " %%" r "15, %%" r "14, %%" r "6\n " instruction \
              " %%" r "15, %%" r "14, %%" r "7\n" instruction " %%" r "15, %%" r "14, %%" r            \
              "8\n " instruction " %%" r "15, %%" r "14, %%" r "9\n" instruction " %%" r "15, %%" r    \
              "14, %%" r "10\n " instruction " %%" r "15, %%" r "14, %%" r "11\n"
#define OCTAVO_LOOP(instruction, r)                                                                       \
  asm volatile("vzeroall\n 1:\n" OCTAVO_TWELVE(instruction, r) "dec %0\n jnz 1b\n vzeroupper\n"           \
               : "+r"(rounds)                                                                             \
               :                                                                                          \
               : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
                 "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc")

void multiply_int8(std::int64_t rounds) { OCTAVO_LOOP("vpdpbusd", "zmm"); }
void multiply_fp32_zmm(std::int64_t rounds) { OCTAVO_LOOP("vfmadd231ps", "zmm"); }
void multiply_fp32_ymm(std::int64_t rounds) { OCTAVO_LOOP("vfmadd231ps", "ymm"); }

double rate(ThreadPool& pool, void (*loop)(std::int64_t), double operations) {
  constexpr std::int64_t rounds = 100000;
  const int chunks = pool.threads();
  const double seconds = shortest([&] { pool.run(chunks, [&](std::int64_t) { loop(rounds); }); }, 0.02);
  return 12 * operations * static_cast<double>(rounds * chunks) / seconds / 1e9;
}

struct Free {
  void operator()(char* pointer) const { std::free(pointer); }
};
using Memory = std::unique_ptr<char, Free>;

Memory touched(std::int64_t bytes) {
  Memory memory(static_cast<char*>(std::aligned_alloc(4096, static_cast<std::size_t>(bytes))));
  std::memset(memory.get(), 1, static_cast<std::size_t>(bytes));
  return memory;
}

void stream_copy(char* to, const char* from, std::int64_t bytes) {
  for (std::int64_t i = 0; i < bytes; i += 16)
    _mm_stream_si128(reinterpret_cast<__m128i*>(to + i),
                     _mm_load_si128(reinterpret_cast<const __m128i*>(from + i)));
  _mm_sfence();
}

void stream_ones(char* to, std::int64_t bytes) {
  for (std::int64_t i = 0; i < bytes; i += 16)
    _mm_stream_si128(reinterpret_cast<__m128i*>(to + i), _mm_set1_epi8(1));
  _mm_sfence();
}

/// The exclusive or of all bytes, in four chains.
void read_through(const char* from, std::int64_t bytes, std::int64_t* sink) {
  __m128i all[4] = {};
  for (std::int64_t i = 0; i + 64 <= bytes; i += 64)
    for (int lane = 0; lane < 4; ++lane)
      all[lane] =
          _mm_xor_si128(all[lane], _mm_load_si128(reinterpret_cast<const __m128i*>(from + i + 16 * lane)));
  *sink = _mm_cvtsi128_si64(_mm_xor_si128(_mm_xor_si128(all[0], all[1]), _mm_xor_si128(all[2], all[3])));
}

}  // namespace

double measure_int8_peak(ThreadPool& pool) {
  return kernels::isa_supported(Isa::avx512vnni) ? rate(pool, multiply_int8, 128) : 0;
}

double measure_fp32_peak(ThreadPool& pool) {
  if (kernels::isa_supported(Isa::avx512vnni)) return rate(pool, multiply_fp32_zmm, 32);
  return kernels::isa_supported(Isa::avx2) ? rate(pool, multiply_fp32_ymm, 16) : 0;
}

double measure_copy(ThreadPool& pool, std::int64_t bytes) {
  constexpr std::int64_t block = 64 << 10;
  const std::int64_t blocks = std::max<std::int64_t>(1, bytes / block);
  const Memory from = touched(blocks * block), to = touched(blocks * block);
  const auto seconds = [&](const auto& copy) {
    return shortest(
        [&] {
          pool.run(blocks, [&](std::int64_t i) { copy(to.get() + i * block, from.get() + i * block); });
        },
        0.05);
  };
  const double best = std::min(seconds([](char* a, const char* b) { std::memcpy(a, b, block); }),
                               seconds([](char* a, const char* b) { stream_copy(a, b, block); }));
  return 2e-9 * static_cast<double>(blocks * block) / best;
}

double measure_stream(ThreadPool& pool, std::int64_t read, std::int64_t written) {
  constexpr std::int64_t block = 64 << 10;
  const std::int64_t blocks = std::max<std::int64_t>(1, (read + written) / block);
  const auto share = [&](std::int64_t bytes) { return (bytes / blocks + 63) / 64 * 64; };
  const std::int64_t in = share(read), out = share(written);
  const Memory from = touched(blocks * in + 64), to = touched(blocks * out + 64);
  std::vector<std::int64_t> sink(static_cast<std::size_t>(blocks));
  const auto seconds = [&](const auto& write) {
    return shortest(
        [&] {
          pool.run(blocks, [&](std::int64_t i) {
            read_through(from.get() + i * in, in, &sink[static_cast<std::size_t>(i)]);
            write(to.get() + i * out, out);
          });
        },
        0.05);
  };
  return std::min(seconds([](char* a, std::int64_t n) { std::memset(a, 1, static_cast<std::size_t>(n)); }),
                  seconds(stream_ones));
}

std::int64_t last_cache_bytes() {
  std::int64_t bytes = 0;
  for (int level = 0; level < 8; ++level) {
    std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(level) + "/size");
    std::int64_t size = 0;
    char unit = 0;
    if (file >> size >> unit) bytes = std::max(bytes, unit == 'M' ? size << 20 : size << 10);
  }
  return bytes > 0 ? bytes : 32 << 20;
}

void Peaks::measure_arithmetic(ThreadPool& pool) {
  int8_gops = std::max(int8_gops, measure_int8_peak(pool));
  fp32_gops = std::max(fp32_gops, measure_fp32_peak(pool));
}

void Peaks::measure_copies(ThreadPool& pool) {
  cache_gbps = std::max(cache_gbps, measure_copy(pool, cache_bytes / 4));
  memory_gbps = std::max(memory_gbps, measure_copy(pool, std::max<std::int64_t>(128 << 20, 4 * cache_bytes)));
}

}  // namespace octavo
