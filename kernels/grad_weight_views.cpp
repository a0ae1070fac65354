// The views of the tiled weight gradient: X and G at one pitch, so that a tap is one offset between pixels.
#include <algorithm>

#include "grad_weight_taps.h"
#include "grad_weight_tasks.h"
#include "pixel_blocks.h"

namespace octavo::kernels {
namespace {

constexpr std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

/// Smallest pitch at which a tap that leaves a row on the right finds only border of the next row: the right
/// border of a row is shared with the left border of the next.
std::int64_t shared_pitch(const ConvShape& shape) {
  const auto fits = [&](std::int64_t pitch) {
    for (std::int64_t s = 0; s < shape.s; ++s) {
      const std::int64_t shift = s * shape.dilation_w / shape.stride_w,
                         phase = s * shape.dilation_w % shape.stride_w;
      for (std::int64_t v = std::max(pitch, shift); v < shape.wo + shift; ++v)
        if (v * shape.stride_w + phase < shape.pad_w + shape.w ||
            (v - pitch) * shape.stride_w + phase >= shape.pad_w)
          return false;
    }
    return true;
  };
  std::int64_t pitch = shape.wo;
  while (!fits(pitch)) ++pitch;
  return pitch;
}

/// The pitch of rows without border, which hold all pixels of G and of X.
std::int64_t dense_pitch(const ConvShape& shape) {
  return std::max(shape.wo, (shape.w + shape.stride_w - 1) / shape.stride_w);
}

/// Pixels from the first to the last of G in one sample, a multiple of 4.
std::int64_t sample_pixels(const ConvShape& shape, std::int64_t pitch) {
  return round_up((shape.ho - 1) * pitch + shape.wo, 4);
}

}  // namespace

/// A step has four pixels, so that masks pay where rows are short; tables of them should not fill the L1
/// cache.
bool has_masked_taps(const ConvShape& shape) {
  constexpr std::int64_t most_quads = 1024;
  static_assert(most_quads <= PixelBlocks::block_quads);
  const bool padded = shape.pad_h > 0 || shape.pad_w > 0;
  const std::int64_t pitch = dense_pitch(shape);
  return padded && one_tap_tiles(shape.c / shape.groups, ConvIsa::most_rows) && pitch >= 4 &&
         sample_pixels(shape, pitch) <= 4 * most_quads;
}

View grad_weight_planes(const ConvShape& shape) {
  View view{.layout = Layout::planes, .n = shape.n, .h = shape.h, .w = shape.w, .c = shape.c};
  view.phase_h = shape.stride_h, view.phase_w = shape.stride_w;
  if (has_masked_taps(shape)) {
    view.top = shape.stride_h;
    view.pitch = dense_pitch(shape);
    view.plane = round_up(((shape.h + shape.stride_h - 1) / shape.stride_h + 1) * view.pitch, 16);
  } else {
    view.top = shape.pad_h, view.left = shape.pad_w;
    view.pitch = shared_pitch(shape);
    const std::int64_t last = (shape.r - 1) * shape.dilation_h / shape.stride_h * view.pitch +
                              (shape.s - 1) * shape.dilation_w / shape.stride_w;
    view.plane = round_up(last + sample_pixels(shape, view.pitch), 16);
  }
  if (view.plane % 1024 == 0) view.plane += 64;  // the channels of a tile would share few cache sets
  return view;
}

View grad_weight_quads(const ConvShape& shape) {
  View view{.layout = Layout::quads, .n = shape.n, .h = shape.ho, .w = shape.wo, .c = shape.k};
  const std::int64_t outputs = shape.k / shape.groups;
  view.channel_pitch = shape.k - outputs + padded_columns(outputs);
  view.pitch = has_masked_taps(shape) ? dense_pitch(shape) : shared_pitch(shape);
  view.plane = sample_pixels(shape, view.pitch);
  return view;
}

}  // namespace octavo::kernels
