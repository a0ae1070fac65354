#include "core/thread_pool.h"

#include <immintrin.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace octavo {

struct ThreadPool::Impl {
  std::vector<std::thread> workers;
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<std::uint64_t> generation{0};
  std::atomic<bool> stop{false};

  const FunctionRef<void(std::int64_t)>* body = nullptr;
  std::int64_t chunks = 0;
  std::atomic<std::int64_t> next{0};
  std::atomic<int> busy{0};
  std::exception_ptr error;

  void drain() {
    for (std::int64_t chunk = next.fetch_add(1); chunk < chunks; chunk = next.fetch_add(1)) {
      try {
        (*body)(chunk);
      } catch (...) {
        std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
      }
    }
  }

  // Kernels follow each other within microseconds, so a worker looks for work a while before it sleeps.
  void wait_for_work(std::uint64_t seen) {
    for (int spin = 0; spin < 4000; ++spin) {
      if (generation.load(std::memory_order_acquire) != seen || stop) return;
      _mm_pause();
    }
    std::unique_lock lock(mutex);
    wake.wait(lock, [&] { return stop || generation != seen; });
  }

  void work() {
    std::uint64_t seen = 0;
    for (;;) {
      wait_for_work(seen);
      if (stop) return;
      seen = generation.load(std::memory_order_acquire);
      drain();
      busy.fetch_sub(1, std::memory_order_release);
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
  {
    std::lock_guard lock(impl_->mutex);
    impl_->body = &body;
    impl_->chunks = chunks;
    impl_->next = 0;
    impl_->error = nullptr;
    impl_->busy = static_cast<int>(impl_->workers.size());
    impl_->generation.fetch_add(1, std::memory_order_release);
  }
  impl_->wake.notify_all();
  impl_->drain();
  for (int spin = 0; impl_->busy.load(std::memory_order_acquire) != 0; ++spin) {
    if (spin < 20000)
      _mm_pause();
    else
      std::this_thread::yield();
  }
  if (impl_->error) std::rethrow_exception(impl_->error);
}

}  // namespace octavo
