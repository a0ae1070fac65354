// The depthwise integer convolution: what an instruction set provides (DepthwiseIsa) to the plans in
// depthwise_s8.cpp.
#pragma once

#include "kernels.h"

namespace octavo::kernels {

/// A run of output pixels in one image row. Channels come in blocks, taps in units: weights are
/// [block][unit][quarter][lane][channel e][tap], where channel = (lane * quarters + quarter) * 4 + e of the
/// block.
struct DepthwisePixels {
  const std::uint8_t* in;       // first pixel
  std::int64_t in_step;         // bytes from pixel to pixel
  const std::int64_t* offsets;  // bytes from a pixel to its taps, [units * taps per unit]
  std::int64_t units;
  bool sliding;  // unit u + 1 of a pixel is unit u of the next: each is a column of taps
  const void* weights;
  const std::int32_t* correction;  // subtracted, per channel
  std::int64_t channels, pixels;
  std::int64_t out_step;  // elements from pixel to pixel
  float a_scale;
  const float* b_scale;  // per channel when b_scale_vector
  bool b_scale_vector;
  const float* bias;  // per channel, or null
  FloatTarget out;
  bool accumulate;
  bool stream;  // may write around the caches; only without accumulate
  std::int64_t* integers;
  // Several planes: sums [pixels][sums_pitch] (+)= sum 2^shift, modulo 2^64; the call with `last` finishes
  // them.
  std::int64_t* sums;  // or null
  std::int64_t sums_pitch = 0;
  int shift = 0;
  bool first = true, last = true;
};

/// Weight gradients of a range of output rows (image rows of all samples).
struct DepthwiseRows {
  const std::uint8_t* x;  // what the first tap of the first output pixel reads
  const std::uint8_t* g;
  bool x_offset;  // x is u8 = value + 128, as g, and not the value itself
  std::int64_t x_sample, x_row, x_pixel, g_sample, g_row, g_pixel;  // bytes from one to the next
  const std::int64_t* offsets;                                      // bytes from a pixel to its taps
  std::int64_t taps, channels, rows_per_sample, pixels_per_row;
  std::int64_t row_begin, row_end;
  const std::int64_t* order;  // of the samples that rows count through, or null
  std::int32_t* sums;         // [taps][channels], overwritten
};

struct DepthwiseIsa {
  std::int64_t lanes;      // of 128 bits in a vector; there are as many quarters
  std::int64_t unit_taps;  // taps that one multiplication joins
  std::int64_t weight_bytes;
  bool slides;  // takes DepthwisePixels::sliding with three units
  void (*pixels)(const DepthwisePixels&);
  void (*rows)(const DepthwiseRows&);
  std::int64_t block() const { return lanes * lanes * 4; }
  std::int64_t unit_bytes() const { return block() * unit_taps * weight_bytes; }
};

/// Bytes between the rows, and between the samples, of a `rows` view.
inline std::int64_t row_bytes(const View& view) {
  return (view.left + view.w + view.right) * view.channel_pitch;
}
inline std::int64_t sample_bytes(const View& view) {
  return (view.top + view.h + view.bottom) * row_bytes(view);
}

std::unique_ptr<ConvS8> make_depthwise_grad_weight(const DepthwiseIsa& isa, const ConvShape& shape,
                                                   const View& a, const View& b);

}  // namespace octavo::kernels
