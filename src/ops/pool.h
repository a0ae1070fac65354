// What max and average pooling share: window attributes and output sizes.
#pragma once

#include <array>

#include "octavo/op.h"
#include "pool_axis.h"

namespace octavo {

struct Window : Attributes {
  std::array<std::int64_t, 2> kernel, stride, pad;
  bool count_include_pad = true;  // average pooling only
};

std::shared_ptr<Window> read_window(AttrReader& reader);
std::vector<TensorType> infer_window(const Signature& signature);

/// Axis 0 (rows) or 1 (columns).
kernels::PoolAxisOf<std::int64_t> pool_axis(const Signature& signature, std::size_t axis);

}  // namespace octavo
