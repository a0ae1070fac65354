// What all plans of the integer convolution share: limits, and which input pixels the pixels of forward and
// grad_input read, one image axis at a time.
#pragma once

#include "kernels.h"

namespace octavo::kernels {

/// Results above this are written around the caches: their reader would not find them there.
constexpr std::int64_t streamed_bytes = 16 << 20;

/// Terms that an int32 takes for any operands, A unsigned or signed: 65793 * 255 * 128 < 2^31.
constexpr std::int64_t longest_s8_sum = 65793;

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
