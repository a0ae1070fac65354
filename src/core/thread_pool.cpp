#include "core/thread_pool.h"

#include <immintrin.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

namespace octavo {

struct ThreadPool::Impl {
  std::vector<std::thread> workers;
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<bool> stop{false};

  // Number of the run in the upper half, chunks that nobody has taken yet in the lower one. Who takes a chunk
  // holds the run open, and with it the fields below; a worker that comes too late finds no chunk.
  std::atomic<std::uint64_t> open{0};
  const FunctionRef<void(std::int64_t)>* body = nullptr;
  std::int64_t chunks = 0;
  std::atomic<std::int64_t> done{0};
  std::exception_ptr error;

  static std::int64_t left(std::uint64_t open) { return static_cast<std::uint32_t>(open); }

  void drain() {
    for (std::uint64_t seen = open.load(std::memory_order_acquire); left(seen) != 0;) {
      if (!open.compare_exchange_weak(seen, seen - 1, std::memory_order_acquire)) continue;
      try {
        (*body)(chunks - left(seen));
      } catch (...) {
        std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
      }
      done.fetch_add(1, std::memory_order_release);
      seen = open.load(std::memory_order_acquire);
    }
  }

  // Kernels follow each other within microseconds, so a worker looks for work a while before it sleeps.
  void wait_for_work() {
    const auto called = [&] { return stop || left(open.load(std::memory_order_acquire)) != 0; };
    for (int spin = 0; spin < 4000; ++spin) {
      if (called()) return;
      _mm_pause();
    }
    std::unique_lock lock(mutex);
    wake.wait(lock, called);
  }

  void work() {
    for (;;) {
      wait_for_work();
      if (stop) return;
      drain();
    }
  }
};

ThreadPool::ThreadPool(int threads) : impl_(std::make_unique<Impl>()) {
  for (int i = 1; i < threads; ++i) impl_->workers.emplace_back([this] { impl_->work(); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stop = true;
  }
  impl_->wake.notify_all();
  for (auto& worker : impl_->workers) worker.join();
}

int ThreadPool::threads() const { return static_cast<int>(impl_->workers.size()) + 1; }

void ThreadPool::run(std::int64_t chunks, FunctionRef<void(std::int64_t)> body) {
  if (impl_->workers.empty() || chunks <= 1) {
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) body(chunk);
    return;
  }
  if (chunks > std::numeric_limits<std::uint32_t>::max())
    throw std::logic_error("a parallel section of more than 2^32 - 1 chunks");
  {
    std::lock_guard lock(impl_->mutex);
    impl_->body = &body;
    impl_->chunks = chunks;
    impl_->done = 0;
    impl_->error = nullptr;
    const std::uint64_t number = (impl_->open.load(std::memory_order_relaxed) >> 32) + 1;
    impl_->open.store(number << 32 | static_cast<std::uint64_t>(chunks), std::memory_order_release);
  }
  impl_->wake.notify_all();
  impl_->drain();
  // Only chunks that somebody has taken are waited for: a worker that the system does not run costs nothing.
  for (int spin = 0; impl_->done.load(std::memory_order_acquire) != chunks; ++spin) {
    if (spin < 20000)
      _mm_pause();
    else
      std::this_thread::yield();
  }
  if (impl_->error) std::rethrow_exception(impl_->error);
}

}  // namespace octavo
