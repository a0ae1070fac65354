// The kernels of the quantize passes.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif  // else a test that runs this source on the host brings its own
#include "quantize_passes.h"
#include "quantize_tiles.h"

namespace octavo::kernels::cuda {

__device__ inline SegmentCounts from_lane(const SegmentCounts& counts, int distance) {
  SegmentCounts other;
  other.max_bits = __shfl_down_sync(~0u, counts.max_bits, distance);
  other.saturated = __shfl_down_sync(~0u, counts.saturated, distance);
  other.sum_abs = __shfl_down_sync(~0u, static_cast<unsigned long long>(counts.sum_abs), distance);
  other.sum_square = __shfl_down_sync(~0u, static_cast<unsigned long long>(counts.sum_square), distance);
  return other;
}

/// One addition a warp; all its lanes take part.
__device__ inline void add_counts(QuantizeCounts* to, SegmentCounts counts) {
  if (to == nullptr) return;
  for (int distance = 16; distance > 0; distance /= 2) counts.merge(from_lane(counts, distance));
  if (threadIdx.x % 32 != 0) return;
  atomicMax(&to->max_bits, counts.max_bits);
  if (counts.saturated != 0) atomicAdd(&to->saturated, counts.saturated);
  atomicAdd(&to->sum_abs, counts.sum_abs);
  atomicAdd(&to->square_low, counts.sum_square & 0xFFFFFFFFu);
  if (counts.sum_square >> 32 != 0) atomicAdd(&to->square_high, counts.sum_square >> 32);
}

__device__ inline void store_segment(std::int8_t* to, const std::int32_t (&q)[segment_bytes], int plane) {
  *reinterpret_cast<uint4*>(to) = {pack_digits(q, plane), pack_digits(q + 4, plane),
                                   pack_digits(q + 8, plane), pack_digits(q + 12, plane)};
}

/// The copy with the batch innermost, and the other one too: see quantize_tiles.h.
template <class T>
__global__ void __launch_bounds__(quantize_threads)
    quantize_both_kernel(const __grid_constant__ QuantizeImage pass) {
  __shared__ __align__(16) std::int8_t staged[quantize_tile * quantize_pitch];
  const ImageLayout& layout = pass.layout;
  const QuantizeBlock block = quantize_block(layout, blockIdx.x);
  const QuantizeShare in = channel_share(threadIdx.x), out = image_share(threadIdx.x);
  const int image = block.image + in.image, slot = block.slot + in.slot;
  std::int32_t q[segment_bytes];
  SegmentCounts counts;
  quantize_segment(layout, pass.rule, pass.scales, static_cast<const T*>(pass.x.data), image, block.pixel,
                   slot, q, counts);
  add_counts(pass.counts, counts);
  const int channel =
      block.slot + out.slot < layout.pixel_pitch() ? layout.channel_at(block.slot + out.slot) : -1;
  const bool writes = channel >= 0 && block.image + out.image < layout.batch_pitch();
  for (int plane = 0; plane < pass.rule.planes; ++plane) {
    if (pass.pixel_copy != nullptr && image < layout.n && slot < layout.pixel_pitch())
      store_segment(pass.pixel_copy + plane * plane_bytes(layout.pixel_copy_bytes()) +
                        layout.pixel_copy_byte(image, block.pixel, slot),
                    q, plane);
    if (plane > 0) __syncthreads();
#pragma unroll
    for (int i = 0; i < segment_bytes; ++i)
      staged[staged_byte(in.slot + i, in.image)] = digit_of(q[i], plane);
    __syncthreads();
    if (!writes) continue;
    const auto* words = reinterpret_cast<const std::uint32_t*>(staged + staged_byte(out.slot, out.image));
    *reinterpret_cast<uint4*>(pass.batch_copy + plane * plane_bytes(layout.batch_copy_bytes()) +
                              layout.batch_copy_byte(channel, block.pixel, block.image + out.image)) = {
        words[0], words[1], words[2], words[3]};
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
  SegmentCounts counts;
  for (std::int64_t i = blockIdx.x * std::int64_t{quantize_threads} + threadIdx.x; i < segments;
       i += std::int64_t{gridDim.x} * quantize_threads) {
    const std::int64_t at = i / pixel_segments;
    std::int32_t q[segment_bytes];
    quantize_segment(layout, pass.rule, pass.scales, static_cast<const T*>(pass.x.data),
                     static_cast<int>(at / pixels), static_cast<int>(at % pixels),
                     static_cast<int>(i % pixel_segments) * segment_bytes, q, counts);
    for (int plane = 0; plane < pass.rule.planes; ++plane)
      store_segment(pass.pixel_copy + plane * plane_bytes(layout.pixel_copy_bytes()) + i * segment_bytes, q,
                    plane);
  }
  add_counts(pass.counts, counts);
}

/// One copy of the weights, a segment a thread.
static __global__ void __launch_bounds__(quantize_threads)
    quantize_weights_kernel(const __grid_constant__ QuantizeWeights pass) {
  const std::int64_t bytes = pass.layout.bytes(pass.kind);
  SegmentCounts counts;
  for (std::int64_t at = (blockIdx.x * std::int64_t{quantize_threads} + threadIdx.x) * segment_bytes;
       at < bytes; at += std::int64_t{gridDim.x} * quantize_threads * segment_bytes) {
    std::int32_t q[segment_bytes];
#pragma unroll
    for (int i = 0; i < segment_bytes; ++i) {
      const WeightLayout::At place = pass.layout.at(pass.kind, at + i);
      q[i] = 0;
      if (place.element < 0) continue;
      const float v = pass.weights[place.element];
      const QuantizedValue value = quantize_value(pass.rule, v, pass.scales.at(0, place.row),
                                                  static_cast<std::uint64_t>(place.element));
      counts.add(v, value);
      q[i] = value.integer;
    }
    for (int plane = 0; plane < pass.rule.planes; ++plane)
      store_segment(pass.copy + plane * plane_bytes(bytes) + at, q, plane);
  }
  add_counts(pass.counts, counts);
}

__device__ inline unsigned magnitude_bits(float v) {
  return v == v ? std::bit_cast<std::uint32_t>(v) & 0x7FFFFFFFu : 0u;
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
