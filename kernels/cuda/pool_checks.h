// What pooling is refused for, before its launch. Plain C++: tests use it without CUDA.
#pragma once

#include "../kernels.h"
#include "pointers.h"
#include "pool_windows.h"

namespace octavo::kernels::cuda {

inline std::string describe_pool(const char* name, const PoolShape& s) {
  return std::string("cuda/") + name + " of " + std::to_string(s.n) + "x" + std::to_string(s.rows.size) +
         "x" + std::to_string(s.columns.size) + "x" + std::to_string(s.c) + ": ";
}

/// Indices of pixels are 32-bit; a window holds at least one pixel of the image.
inline void check_pool(const PoolShape& s, const std::string& what) {
  if (s.n < 1 || s.c < 1) throw std::invalid_argument(what + "sizes start at 1");
  for (const PoolAxis& axis : {s.rows, s.columns}) {
    if (axis.size < 1 || axis.outputs < 1 || axis.kernel < 1 || axis.stride < 1 || axis.pad < 0)
      throw std::invalid_argument(what + "sizes start at 1");
    if (2 * std::int64_t{axis.pad} > axis.kernel)
      throw std::invalid_argument(what + "a pad of " + std::to_string(axis.pad) + " is more than half of " +
                                  std::to_string(axis.kernel));
    const std::int64_t room = std::int64_t{axis.size} + 2 * std::int64_t{axis.pad} - axis.kernel;
    if (room < 0 || room / axis.stride + 1 != axis.outputs)
      throw std::invalid_argument(what + std::to_string(axis.outputs) + " windows do not fit " +
                                  std::to_string(axis.size) + " pixels");
  }
  if (std::int64_t{s.rows.size} * s.columns.size >= most_blocks)
    throw std::invalid_argument(what + "2^31 pixels or more in an image");
}

inline void check_tensor(const void* data, FloatType type, const char* name, const std::string& what) {
  check_pointer(data, name, what, static_cast<std::size_t>(float_bytes(type)));
}
inline void check_pair(const FloatSource& from, const FloatTarget& to, const std::string& what) {
  check_tensor(from.data, from.type, "the input", what);
  check_tensor(to.data, to.type, "the output", what);
  if (from.type != to.type) throw std::invalid_argument(what + "input and output have one type");
}

}  // namespace octavo::kernels::cuda
