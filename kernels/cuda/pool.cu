// Pooling: an element of the result a thread.
#include "pool.h"

#include <algorithm>

#include "launch.h"
#include "pool_checks.h"
#include "pool_kernels.cuh"

namespace octavo::kernels::cuda {
namespace {

std::string check_global(const char* name, const GlobalPool& s, const FloatSource& from,
                         const FloatTarget& to) {
  const std::string what = std::string("cuda/") + name + " of " + std::to_string(s.n) + "x" +
                           std::to_string(s.pixels) + "x" + std::to_string(s.c) + ": ";
  if (s.n < 1 || s.c < 1 || s.pixels < 1) throw std::invalid_argument(what + "sizes start at 1");
  check_pair(from, to, what);
  return what;
}

}  // namespace

void run_max_pool(const PoolShape& shape, const FloatSource& x, const FloatTarget& y, std::int32_t* where,
                  cudaStream_t stream) {
  const std::string what = describe_pool("max_pool", shape);
  check_pool(shape, what);
  check_pair(x, y, what);
  check_optional_pointer(where, "where", what, alignof(std::int32_t));
  with_type(x.type, [&](auto tag) {
    using T = decltype(tag);
    launch(max_pool_kernel<T>, {blocks_for(shape.outputs(), pool_threads), pool_threads, stream}, what, shape,
           x.as<T>(), y.as<T>(), where);
  });
}

void run_max_pool_gradient(const PoolShape& shape, const FloatSource& dy, const std::int32_t* where,
                           const FloatTarget& dx, cudaStream_t stream) {
  const std::string what = describe_pool("max_pool_gradient", shape);
  check_pool(shape, what);
  check_pair(dy, dx, what);
  check_pointer(where, "where", what, alignof(std::int32_t));
  with_type(dy.type, [&](auto tag) {
    using T = decltype(tag);
    launch(max_pool_gradient_kernel<T>, {blocks_for(shape.inputs(), pool_threads), pool_threads, stream},
           what, shape, dy.as<T>(), where, dx.as<T>());
  });
}

void run_avg_pool(const PoolShape& shape, const float* x, float* y, cudaStream_t stream) {
  const std::string what = describe_pool("avg_pool", shape);
  check_pool(shape, what);
  check_pair(x, y, what);
  launch(avg_pool_kernel, {blocks_for(shape.outputs(), pool_threads), pool_threads, stream}, what, shape, x,
         y);
}

void run_avg_pool_gradient(const PoolShape& shape, const float* dy, float* dx, cudaStream_t stream) {
  const std::string what = describe_pool("avg_pool_gradient", shape);
  check_pool(shape, what);
  check_pair(dy, dx, what);
  launch(avg_pool_gradient_kernel, {blocks_for(shape.inputs(), pool_threads), pool_threads, stream}, what,
         shape, dy, dx);
}

void run_global_mean(const GlobalPool& s, const FloatSource& x, const FloatTarget& y, cudaStream_t stream) {
  const std::string what = check_global("global_mean", s, x, y);
  with_type(x.type, [&](auto tag) {
    using T = decltype(tag);
    launch(global_mean_kernel<T>, {blocks_for(std::int64_t{s.n} * s.c, pool_threads), pool_threads, stream},
           what, x.as<T>(), s.n, s.pixels, s.c, y.as<T>());
  });
}

void run_global_mean_gradient(const GlobalPool& s, const FloatSource& dy, const FloatTarget& dx,
                              cudaStream_t stream) {
  const std::string what = check_global("global_mean_gradient", s, dy, dx);
  with_type(dy.type, [&](auto tag) {
    using T = decltype(tag);
    launch(global_mean_gradient_kernel<T>,
           {blocks_for(s.n * s.pixels * s.c, pool_threads), pool_threads, stream}, what, dy.as<T>(), s.n,
           s.pixels, s.c, dx.as<T>());
  });
}

}  // namespace octavo::kernels::cuda
