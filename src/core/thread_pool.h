// The one thread pool. Work is cut into chunks whose number and borders never depend on the thread count,
// so results do not either.
#pragma once

#include <cstdint>
#include <memory>

#include "function_ref.h"

namespace octavo {

class ThreadPool {
 public:
  explicit ThreadPool(int threads);  ///< 1 runs everything in the caller
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  /// Calls body(chunk) once for every chunk in [0, chunks), in any order, on all threads; returns when all
  /// are done. The first exception thrown by a body is rethrown here. Not reentrant: a body must not call it.
  void run(std::int64_t chunks, FunctionRef<void(std::int64_t)> body);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// First element of `chunk` when `size` elements are cut into `chunks` nearly equal parts.
constexpr std::int64_t chunk_begin(std::int64_t size, std::int64_t chunks, std::int64_t chunk) {
  return size / chunks * chunk + (chunk < size % chunks ? chunk : size % chunks);
}

}  // namespace octavo
