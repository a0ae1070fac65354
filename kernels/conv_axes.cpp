// Classes of output pixels along one image axis, and the border that they read.
#include "conv_axes.h"

#include <algorithm>

namespace octavo::kernels {
namespace {

constexpr std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

std::vector<ConvAxis> forward_axis(std::int64_t out, std::int64_t stride, std::int64_t pad,
                                   std::int64_t dilation, std::int64_t taps) {
  ConvAxis axis{.first = 0, .step = 1, .size = out, .in_step = stride, .taps = {}};
  for (std::int64_t t = 0; t < taps; ++t) axis.taps.push_back({t * dilation - pad, t});
  return {axis};
}

std::vector<ConvAxis> grad_input_axis(std::int64_t size, std::int64_t stride, std::int64_t pad,
                                      std::int64_t dilation, std::int64_t taps) {
  std::vector<ConvAxis> classes;
  for (std::int64_t first = 0; first < std::min(stride, size); ++first) {
    ConvAxis axis{.first = first,
                  .step = stride,
                  .size = (size - first + stride - 1) / stride,
                  .in_step = 1,
                  .taps = {}};
    for (std::int64_t t = taps - 1; t >= 0; --t) {
      const std::int64_t distance = first + pad - t * dilation;
      if (distance % stride == 0) axis.taps.push_back({distance / stride, t});
    }
    classes.push_back(axis);
  }
  return classes;
}

/// Pixels read before the first and behind the last of `size`.
std::pair<std::int64_t, std::int64_t> border(const std::vector<ConvAxis>& classes, std::int64_t size) {
  std::int64_t before = 0, behind = 0;
  for (const ConvAxis& axis : classes)
    for (const ConvAxis::Tap& tap : axis.taps) {
      before = std::max(before, -tap.in);
      behind = std::max(behind, (axis.size - 1) * axis.in_step + tap.in - (size - 1));
    }
  return {before, behind};
}

}  // namespace

ConvAxes conv_axes(const ConvShape& shape, Product product) {
  if (product == Product::forward)
    return {forward_axis(shape.ho, shape.stride_h, shape.pad_h, shape.dilation_h, shape.r),
            forward_axis(shape.wo, shape.stride_w, shape.pad_w, shape.dilation_w, shape.s)};
  return {grad_input_axis(shape.h, shape.stride_h, shape.pad_h, shape.dilation_h, shape.r),
          grad_input_axis(shape.w, shape.stride_w, shape.pad_w, shape.dilation_w, shape.s)};
}

View conv_rows_view(const ConvShape& shape, Product product, std::int64_t channel_unit) {
  const bool forward = product == Product::forward;
  const ConvAxes axes = conv_axes(shape, product);
  const std::int64_t channels = forward ? shape.c : shape.k;
  const std::int64_t h = forward ? shape.h : shape.ho, w = forward ? shape.w : shape.wo;
  const auto [top, bottom] = border(axes.h, h);
  const auto [left, right] = border(axes.w, w);
  View view{.layout = Layout::rows, .n = shape.n, .h = h, .w = w, .c = channels};
  view.top = top, view.bottom = bottom, view.left = left, view.right = right;
  view.channel_pitch = round_up(channels, channel_unit);
  return view;
}

}  // namespace octavo::kernels
