// What max and average pooling share: window attributes and output sizes.
#pragma once

#include <array>

#include "octavo/op.h"

namespace octavo {

struct Window : Attributes {
  std::array<std::int64_t, 2> kernel, stride, pad;
  bool count_include_pad = true;  // average pooling only
};

std::shared_ptr<Window> read_window(AttrReader& reader);
std::vector<TensorType> infer_window(const Signature& signature);

/// The part of a window along one axis that lies inside the image.
struct Span {
  std::int64_t begin, end;
};
inline Span window_span(const Window& window, std::size_t axis, std::int64_t output, std::int64_t size) {
  const std::int64_t begin = output * window.stride[axis] - window.pad[axis];
  return {std::max<std::int64_t>(begin, 0), std::min(begin + window.kernel[axis], size)};
}

}  // namespace octavo
