// Layouts of the operands on the device: where an element of an image tensor or of weights lies. Channels of
// each group, and the batch where it comes last, are padded with zeros to a multiple of 16, so that every
// segment of a contraction is 16 aligned bytes.
#pragma once

#include "host_device.h"

namespace octavo::kernels::cuda {

/// An image tensor [n, h, w, c] of `groups` groups of channels.
///   pixel copy  [n][h][w][group][channel_pitch]   forward's X, grad_input's G
///   batch copy  [c][h][w][batch_pitch]            grad_weight's X and G
struct ImageLayout {
  int n = 1, h = 1, w = 1, c = 1, groups = 1;
  int places =
      0;  // of the batch copy where samples are in the order of their classes (sample_order.h); else 0

  OCTAVO_HD constexpr int group_channels() const { return c / groups; }
  OCTAVO_HD constexpr int channel_pitch() const { return static_cast<int>(whole_segments(group_channels())); }
  OCTAVO_HD constexpr int pixel_pitch() const { return groups * channel_pitch(); }
  OCTAVO_HD constexpr int batch_pitch() const {
    return places > 0 ? places : static_cast<int>(whole_segments(n));
  }
  OCTAVO_HD constexpr std::int64_t pixel_copy_bytes() const {
    return std::int64_t{n} * h * w * pixel_pitch();
  }
  OCTAVO_HD constexpr std::int64_t batch_copy_bytes() const {
    return std::int64_t{c} * h * w * batch_pitch();
  }

  /// Logical element, the index that random numbers go by.
  OCTAVO_HD constexpr std::int64_t element(int m, int pixel, int channel) const {
    return (std::int64_t{m} * h * w + pixel) * c + channel;
  }
  /// The channel stored at place `slot` of a pixel of the pixel copy, or -1 for padding.
  OCTAVO_HD constexpr int channel_at(int slot) const {
    const int group = slot / channel_pitch(), inner = slot % channel_pitch();
    return inner < group_channels() ? group * group_channels() + inner : -1;
  }
  /// The same for 16 places from a multiple of 16 on: the first channel, and how many there are before
  /// padding.
  struct Run {
    int channel, count;
  };
  OCTAVO_HD constexpr Run channels_at(int slot) const {
    const int group = slot / channel_pitch(), inner = slot % channel_pitch(), left = group_channels() - inner;
    return {group * group_channels() + inner, left < 0 ? 0 : left < segment_bytes ? left : segment_bytes};
  }
  OCTAVO_HD constexpr std::int64_t pixel_copy_byte(int m, int pixel, int slot) const {
    return (std::int64_t{m} * h * w + pixel) * pixel_pitch() + slot;
  }
  OCTAVO_HD constexpr std::int64_t batch_copy_byte(int channel, int pixel, int m) const {
    return (std::int64_t{channel} * h * w + pixel) * batch_pitch() + m;
  }
};

enum class WeightCopy : std::uint8_t {
  forward,     ///< [k][r][s][input_pitch], inner index: input channel of the group
  grad_input,  ///< [c][r][s][output_pitch], inner index: filter of the group
  depthwise,   ///< [r][s][channel_pitch], one filter a channel: all three products
};

/// Weights [k, r, s, c / groups].
struct WeightLayout {
  int k = 1, taps = 1, c = 1, groups = 1;  // taps: r * s; c: of all groups

  OCTAVO_HD constexpr int inputs() const { return c / groups; }
  OCTAVO_HD constexpr int outputs() const { return k / groups; }
  /// Bytes of the innermost index of a copy, padding included.
  OCTAVO_HD constexpr int pitch(WeightCopy copy) const {
    return static_cast<int>(whole_segments(copy == WeightCopy::forward      ? inputs()
                                           : copy == WeightCopy::grad_input ? outputs()
                                                                            : k));
  }
  OCTAVO_HD constexpr std::int64_t bytes(WeightCopy copy) const {
    const int lines = copy == WeightCopy::forward ? k : copy == WeightCopy::grad_input ? c : 1;
    return std::int64_t{lines} * taps * pitch(copy);
  }
};

/// Bytes from one plane of an operand to the next.
OCTAVO_HD constexpr std::int64_t plane_bytes(std::int64_t bytes) { return ceil_div(bytes, 256) * 256; }

}  // namespace octavo::kernels::cuda
