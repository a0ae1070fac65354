// The depthwise integer convolution: what an instruction set provides (DepthwiseIsa) to the plans in
// depthwise_s8.cpp.
#pragma once

#include "kernels.h"

namespace octavo::kernels {

/// A run of output pixels in one image row, or in two rows below each other. Channels come in blocks, taps in
/// units: weights are [block][row][unit][channel][tap].
struct DepthwisePixels {
  const std::uint8_t* in;       // first pixel
  std::int64_t in_step;         // bytes from pixel to pixel
  const std::int64_t* offsets;  // bytes from a pixel to its taps, [units * taps per unit]
  std::int64_t units;
  std::int64_t slide;  // three units are columns of taps, of which the next pixel has all but so many; or 0
  const void* weights;
  std::int64_t block_bytes, row_bytes;  // of weights, from block to block and from row to row
  const std::int32_t* correction;       // subtracted, per channel
  std::int64_t channels, pixels, rows;
  std::int64_t out_step, out_row;  // elements from pixel to pixel and from row to row
  float a_scale;
  const float* b_scale;  // per channel when b_scale_vector
  bool b_scale_vector;
  const float* bias;  // per channel, or null
  FloatTarget out;
  bool accumulate;
  bool stream;  // may write around the caches; only without accumulate
  std::int64_t* integers;
  // Several planes, one row: sums [pixels][sums_pitch] (+)= sum 2^shift, modulo 2^64; the call with `last`
  // finishes them.
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
  std::int64_t tap_rows, tap_columns;
  std::int64_t x_tap_row, x_tap_column;  // bytes from tap to tap
  std::int64_t channels, padded;         // channels filled up to whole blocks
  std::int64_t rows_per_sample, pixels_per_row;
  std::int64_t row_begin, row_end;
  const std::int64_t* order;  // of the samples that rows count through, or null
  std::int32_t* sums;         // [taps + 1][pitch], channels filled up to whole blocks, overwritten
  std::int64_t pitch;         // the last are the sums of G itself
};

struct DepthwiseIsa {
  std::int64_t block;      // channels
  std::int64_t unit_taps;  // taps that one multiplication joins
  std::int64_t weight_bytes;
  bool slides;  // takes DepthwisePixels::slide and two rows
  void (*pixels)(const DepthwisePixels&);
  void (*rows)(const DepthwiseRows&);
  std::int64_t unit_bytes() const { return block * unit_taps * weight_bytes; }
  std::int64_t padded(std::int64_t channels) const { return (channels + block - 1) / block * block; }
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
