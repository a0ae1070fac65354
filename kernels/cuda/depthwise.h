// Depthwise convolution on the device: one filter a channel, so nothing is summed over channels, and a thread
// takes 16 of them at once. Layouts are those of one group: pixel copies [n][h][w][c16], weights [r][s][c16];
// for the weight gradient batch copies [c][h][w][n16].
#pragma once

#include "implicit_gemm.h"

namespace octavo::kernels::cuda {

/// The axes are those of ImplicitGemm for the same product.
struct Depthwise {
  Axis h, w;
  int images = 1, channels = 1;
  int pitch = 16;  // bytes of the innermost index of A and B: channels, or images for the weight gradient

  OCTAVO_HD constexpr int segments() const { return pitch / segment_bytes; }
  /// forward, grad_input: 16 channels of an output pixel, a thread's work.
  OCTAVO_HD constexpr std::int64_t shares() const {
    return std::int64_t{images} * h.out * w.out * segments();
  }
  /// grad_weight: a block's work is a tap of a channel.
  OCTAVO_HD constexpr std::int64_t filters_taps() const { return std::int64_t{channels} * h.out * w.out; }
};

struct DepthwiseShare {
  int image, y, x, channel;
};
OCTAVO_HD constexpr DepthwiseShare depthwise_share(const Depthwise& d, std::int64_t index) {
  const std::int64_t pixel = index / d.segments(), line = pixel / d.w.out;
  return {static_cast<int>(line / d.h.out), static_cast<int>(line % d.h.out),
          static_cast<int>(pixel % d.w.out), static_cast<int>(index % d.segments()) * segment_bytes};
}

/// An output coordinate as member of its class of the axis: it is first + i * step.
struct AxisMember {
  AxisClass of;
  int i;
  /// The pixel that its tap number t reads, or -1 outside.
  OCTAVO_HD constexpr int pixel(const Axis& axis, int t) const {
    const int at = i * of.in_step + of.in_first + t * of.in_tap;
    return at >= 0 && at < axis.in ? at : -1;
  }
  OCTAVO_HD constexpr int tap(int t) const { return of.tap_first + t * of.tap_step; }
};
OCTAVO_HD constexpr AxisMember axis_member(const Axis& axis, int output) {
  return {axis_class(axis, output % axis.classes()), output / axis.classes()};
}

/// Bytes of a segment: of A at a pixel of an image (grad_weight: of a channel), of B at a tap (grad_weight:
/// at a channel's output pixel).
OCTAVO_HD constexpr std::int64_t depthwise_a(const Depthwise& d, int outer, int y, int x, int inner) {
  return ((std::int64_t{outer} * d.h.in + y) * d.w.in + x) * d.pitch + inner;
}
OCTAVO_HD constexpr std::int64_t depthwise_b(const Depthwise& d, int outer, int tap_h, int tap_w, int inner) {
  return ((std::int64_t{outer} * d.h.taps + tap_h) * d.w.taps + tap_w) * d.pitch + inner;
}

}  // namespace octavo::kernels::cuda
