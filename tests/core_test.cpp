// Tensors, checked shapes, the thread pool.
#include "core/memory.h"
#include "core/thread_pool.h"
#include "octavo/tensor.h"
#include "support/catch.h"

#include <array>
#include <atomic>
#include <fstream>
#include <limits>

using namespace octavo;

TEST_CASE("shape arithmetic is checked") {
  CHECK(Shape({128, 32, 32, 16}).elements() == 2097152);
  CHECK(Shape({128, 32, 32, 16}).str() == "128x32x32x16");
  CHECK(Shape{}.elements() == 1);
  CHECK_THROWS_AS(Shape({std::int64_t{1} << 40, std::int64_t{1} << 40}).elements(), Error);
  CHECK_THROWS_AS(Shape({-1, 2}).elements(), Error);
}

TEST_CASE("a tensor refuses to be read as another type") {
  Tensor tensor = Tensor::zeros({3, 5});
  CHECK(tensor.as<float>().size() == 15);
  CHECK_THROWS_WITH(tensor.as<std::int8_t>(), ContainsSubstring("f32 read as s8"));
}

TEST_CASE("the pool runs every chunk once and passes exceptions on") {
  for (int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 200; ++round) {
      std::vector<std::atomic<int>> hits(37);
      pool.run(37, [&](std::int64_t chunk) { ++hits[static_cast<std::size_t>(chunk)]; });
      for (auto& hit : hits) REQUIRE(hit == 1);
    }
    CHECK_THROWS_AS(pool.run(9,
                             [](std::int64_t chunk) {
                               if (chunk == 5) throw Error(Errc::data, "five");
                             }),
                    Error);
    std::atomic<int> after{0};
    pool.run(4, [&](std::int64_t) { ++after; });
    CHECK(after == 4);
  }
}

TEST_CASE("runs that follow each other at once do not meet a late worker's chunks") {
  ThreadPool pool(8);  // more than cores: most workers come when a run is over
  std::int64_t wrong = 0;
  for (std::int64_t run = 0; run < 20000; ++run) {
    const std::int64_t chunks = 2 + run % 7;
    std::array<std::atomic<int>, 8> hits{};
    pool.run(chunks, [&](std::int64_t chunk) { ++hits[static_cast<std::size_t>(chunk)]; });
    for (std::int64_t i = 0; i < 8; ++i) wrong += hits[static_cast<std::size_t>(i)] != (i < chunks);
  }
  CHECK(wrong == 0);
}

TEST_CASE("chunks cover a size without gaps") {
  for (std::int64_t size : {0, 1, 7, 16, 100})
    for (std::int64_t chunks : {1, 3, 8}) {
      CHECK(chunk_begin(size, chunks, 0) == 0);
      CHECK(chunk_begin(size, chunks, chunks) == size);
    }
}

TEST_CASE("the memory limit is that of the machine or of the process, whichever is smaller") {
  std::ifstream in("/proc/meminfo");
  std::string word;
  std::int64_t kib = 0;
  in >> word >> kib;
  REQUIRE(word == "MemTotal:");
  CHECK(memory_limit() > 0);
  CHECK(peak_resident_bytes() > 1 << 20);
  CHECK(peak_resident_bytes() < kib * 1024);
  std::ifstream swaps("/proc/swaps");
  std::string line;
  std::getline(swaps, line);
  if (!std::getline(swaps, line)) CHECK(memory_limit() <= kib * 1024);
  CHECK(saturating_add(3, 4) == 7);
  CHECK(saturating_add(std::int64_t{1} << 62, std::int64_t{1} << 62) ==
        std::numeric_limits<std::int64_t>::max());
  CHECK(bytes_text(0) == "0 bytes");
  CHECK(bytes_text(1023) == "1023 bytes");
  CHECK(bytes_text(12345678) == "12345678 bytes (11.8 MiB)");
}
