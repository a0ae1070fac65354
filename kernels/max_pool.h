// Max pooling over images [n, h, w, c], FP32 or bfloat16.
#pragma once

#include <algorithm>

#include "kernels.h"

namespace octavo::kernels {

/// The part of an axis that belongs together.
struct PoolSpan {
  std::int64_t begin, end;
};

struct PoolAxis {
  std::int64_t size, outputs, kernel, stride, pad;
  /// What of the window of an output lies inside the image.
  PoolSpan window(std::int64_t output) const {
    const std::int64_t first = output * stride - pad;
    return {std::max<std::int64_t>(first, 0), std::min(first + kernel, size)};
  }
  /// Outputs whose windows hold an input.
  PoolSpan holders(std::int64_t input) const {
    const std::int64_t last = input + pad, first = std::max<std::int64_t>(last - kernel + 1, 0);
    return {(first + stride - 1) / stride, std::min(last / stride + 1, outputs)};
  }
};

struct MaxPool {
  PoolAxis h, w;
  std::int64_t c;
};

/// One row of results of one image, [h or outputs][w or outputs][c].
struct MaxPoolIsa {
  /// out = the largest of each window; where, if not null, the first input pixel (row * w + column) that has
  /// it. A NaN counts as the largest, the last one of several.
  void (*forward)(const MaxPool&, FloatSource in, std::int64_t row, FloatTarget out, std::int32_t* where);
  /// dX of an input row: each pixel takes dY of the windows that chose it, added in their order from 0; in
  /// bfloat16 each sum is rounded.
  void (*backward)(const MaxPool&, FloatSource grad, const std::int32_t* where, std::int64_t row,
                   FloatTarget out);
};
/// Those of the active instruction set.
const MaxPoolIsa& max_pool_isa();

}  // namespace octavo::kernels
