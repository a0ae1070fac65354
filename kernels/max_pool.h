// Max pooling over images [n, h, w, c], FP32 or bfloat16.
#pragma once

#include "kernels.h"
#include "pool_axis.h"

namespace octavo::kernels {

using PoolAxis = PoolAxisOf<std::int64_t>;

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
