// Sizes of layers that benchmarks list.
#pragma once

#include "kernels.h"

namespace octavo {

/// A convolution of square images and filters, padded so that stride 1 keeps the size.
inline kernels::ConvShape square(std::int64_t n, std::int64_t size, std::int64_t c, std::int64_t k,
                                 std::int64_t kernel, std::int64_t stride = 1, std::int64_t groups = 1) {
  kernels::ConvShape shape{.n = n, .h = size, .w = size, .c = c, .k = k, .r = kernel, .s = kernel};
  shape.stride_h = shape.stride_w = stride;
  shape.pad_h = shape.pad_w = kernel / 2;
  shape.groups = groups;
  shape.ho = shape.wo = (size + 2 * (kernel / 2) - kernel) / stride + 1;
  return shape;
}

}  // namespace octavo
