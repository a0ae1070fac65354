// Which input pixels the pixels of forward and grad_input read, one image axis at a time.
#pragma once

#include "kernels.h"

namespace octavo::kernels {

/// Output pixel first + i * step, i < size, reads input pixel i * in_step + taps[t].in for every tap.
struct ConvAxis {
  struct Tap {
    std::int64_t in, index;
  };
  std::int64_t first = 0, step = 1, size = 0, in_step = 1;
  std::vector<Tap> taps;  // ascending in `in`
};

/// forward has one class on each axis; grad_input has one for each remainder by the stride, each with its own
/// taps (perhaps none).
struct ConvAxes {
  std::vector<ConvAxis> h, w;
};
ConvAxes conv_axes(const ConvShape& shape, Product product);

/// The `rows` view of A for forward or grad_input, with the border that the taps read.
View conv_rows_view(const ConvShape& shape, Product product, std::int64_t channel_unit);

}  // namespace octavo::kernels
