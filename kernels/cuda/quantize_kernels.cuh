// The kernels of the quantize passes.
#pragma once

#include "quantize_block.cuh"

namespace octavo::kernels::cuda {

/// The copy with the batch innermost, and the other one too: see quantize_tiles.h. The grid is that of the
/// images; an order with more places takes several turns.
template <class T>
__global__ void __launch_bounds__(quantize_threads, 3)
    quantize_both_kernel(const __grid_constant__ QuantizeImage pass) {
  __shared__ __align__(16) std::int8_t staged[quantize_tile * quantize_pitch];
  const ImageLayout& layout = pass.layout;
  const QuantizeShare in = channel_share(threadIdx.x);
  const int places = pass.order.places(layout);
  const QuantizeRule rule = with_draws(pass.rule, pass.draws);
  SegmentCounts counts;
  for (std::int64_t i = blockIdx.x; i < quantize_blocks(layout, places); i += gridDim.x) {
    const QuantizeBlock block = quantize_block(layout, i);
    const std::int32_t entry = pass.order.entry(layout, block.image + in.image);
    const int image = entry < 0 ? layout.n : sample_of(entry), slot = block.slot + in.slot;
    std::int32_t q[segment_bytes];
    SegmentCounts seen;
    quantize_segment(layout, rule, pass.scales, static_cast<const T*>(pass.x.data), image, block.pixel, slot,
                     q, seen);
    if (is_first(entry)) counts.merge(seen);
    if (is_first(entry) && slot < layout.pixel_pitch())
      store_pixels(layout, rule.planes, pass.pixel_copy, layout.pixel_copy_byte(image, block.pixel, slot), q);
    for (int plane = 0; plane < rule.planes; ++plane)
      store_batch(layout, block, places, q, plane, staged, pass.batch_copy);
  }
  add_counts(pass.counts, counts);
}

/// The batch copy from the pixel copy.
static __global__ void __launch_bounds__(quantize_threads)
    turn_image_kernel(const __grid_constant__ TurnImage pass) {
  __shared__ __align__(16) std::int8_t staged[quantize_tile * quantize_pitch];
  const ImageLayout& layout = pass.layout;
  const QuantizeShare in = channel_share(threadIdx.x);
  const int places = pass.order.places(layout);
  for (std::int64_t i = blockIdx.x; i < quantize_blocks(layout, places); i += gridDim.x) {
    const QuantizeBlock block = quantize_block(layout, i);
    const std::int32_t entry = pass.order.entry(layout, block.image + in.image);
    const int slot = block.slot + in.slot;
    for (int plane = 0; plane < pass.planes; ++plane) {
      uint4 bytes{0, 0, 0, 0};
      if (entry >= 0 && slot < layout.pixel_pitch())
        bytes = __ldg(
            reinterpret_cast<const uint4*>(pass.pixel_copy + plane * plane_bytes(layout.pixel_copy_bytes()) +
                                           layout.pixel_copy_byte(sample_of(entry), block.pixel, slot)));
      const std::uint32_t words[4] = {bytes.x, bytes.y, bytes.z, bytes.w};
      std::int32_t q[segment_bytes];
#pragma unroll
      for (int j = 0; j < segment_bytes; ++j) q[j] = static_cast<std::int32_t>(words[j / 4] >> (8 * (j % 4)));
      store_batch(layout, block, places, q, 0, staged,
                  pass.batch_copy + plane * plane_bytes(layout.batch_copy_bytes()));
    }
  }
}

/// The copy with pixels outermost alone: a segment a thread.
template <class T>
__global__ void __launch_bounds__(quantize_threads)
    quantize_pixels_kernel(const __grid_constant__ QuantizeImage pass) {
  const ImageLayout& layout = pass.layout;
  const std::int64_t segments = layout.pixel_copy_bytes() / segment_bytes,
                     pixels = std::int64_t{layout.h} * layout.w;
  const int pixel_segments = layout.pixel_pitch() / segment_bytes;
  const QuantizeRule rule = with_draws(pass.rule, pass.draws);
  SegmentCounts counts;
  for (std::int64_t i = blockIdx.x * std::int64_t{quantize_threads} + threadIdx.x; i < segments;
       i += std::int64_t{gridDim.x} * quantize_threads) {
    const std::int64_t at = i / pixel_segments;
    std::int32_t q[segment_bytes];
    quantize_segment(layout, rule, pass.scales, static_cast<const T*>(pass.x.data),
                     static_cast<int>(at / pixels), static_cast<int>(at % pixels),
                     static_cast<int>(i % pixel_segments) * segment_bytes, q, counts);
    store_pixels(layout, rule.planes, pass.pixel_copy, i * segment_bytes, q);
  }
  add_counts(pass.counts, counts);
}

/// blockIdx.y: one of equally long pieces of x, with its own maximum.
template <class T>
__global__ void __launch_bounds__(quantize_threads)
    max_pieces_kernel(const T* x, std::int64_t length, std::uint32_t* max_bits) {
  const T* piece = x + blockIdx.y * length;
  unsigned most = 0;
  for (std::int64_t i = blockIdx.x * std::int64_t{quantize_threads} + threadIdx.x; i < length;
       i += std::int64_t{gridDim.x} * quantize_threads)
    most = max(most, magnitude_bits(to_float(piece[i])));
  for (int distance = 16; distance > 0; distance /= 2)
    most = max(most, __shfl_down_sync(~0u, most, distance));
  if (threadIdx.x % 32 == 0) atomicMax(max_bits + blockIdx.y, most);
}

/// A channel a thread; blockIdx.y takes every gridDim.y-th pixel.
template <class T>
__global__ void __launch_bounds__(quantize_threads)
    max_channels_kernel(const T* x, std::int64_t pixels, int channels, std::uint32_t* max_bits) {
  const int channel = blockIdx.x * quantize_threads + threadIdx.x;
  if (channel >= channels) return;
  unsigned most = 0;
  for (std::int64_t pixel = blockIdx.y; pixel < pixels; pixel += gridDim.y)
    most = max(most, magnitude_bits(to_float(x[pixel * channels + channel])));
  atomicMax(max_bits + channel, most);
}

}  // namespace octavo::kernels::cuda
