// What the threads of a block do together in kernels that quantize: counts and copies.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif  // else a test that runs this source on the host brings its own
#include "quantize_passes.h"
#include "quantize_tiles.h"

namespace octavo::kernels::cuda {

__device__ inline unsigned magnitude_bits(float v) {
  return v == v ? std::bit_cast<std::uint32_t>(v) & 0x7FFFFFFFu : 0u;
}

__device__ inline SegmentCounts from_lane(const SegmentCounts& counts, int distance) {
  SegmentCounts other;
  other.max_bits = __shfl_down_sync(~0u, counts.max_bits, distance);
  other.saturated = __shfl_down_sync(~0u, counts.saturated, distance);
  other.sum_square = __shfl_down_sync(~0u, static_cast<unsigned long long>(counts.sum_square), distance);
  return other;
}

struct WarpCounts {
  unsigned max_bits, saturated;
  unsigned long long sum_square;
};

/// One addition a block; all its threads take part.
template <int threads = quantize_threads>
__device__ inline void add_counts(QuantizeCounts* to, SegmentCounts counts) {
  constexpr int warps = threads / 32;
  __shared__ WarpCounts of_warp[warps];
  if (to == nullptr) return;
  for (int distance = 16; distance > 0; distance /= 2) counts.merge(from_lane(counts, distance));
  if (threadIdx.x % 32 == 0)
    of_warp[threadIdx.x / 32] = {counts.max_bits, counts.saturated, counts.sum_square};
  __syncthreads();
  if (threadIdx.x != 0) return;
  WarpCounts all = of_warp[0];
  unsigned long long low = all.sum_square & 0xFFFFFFFFu, high = all.sum_square >> 32;
  for (int warp = 1; warp < warps; ++warp) {
    const WarpCounts& more = of_warp[warp];
    all.max_bits = max(all.max_bits, more.max_bits);
    all.saturated += more.saturated;
    low += more.sum_square & 0xFFFFFFFFu, high += more.sum_square >> 32;
  }
  atomicMax(&to->max_bits, all.max_bits);
  if (all.saturated != 0) atomicAdd(&to->saturated, all.saturated);
  atomicAdd(&to->square_low, low);
  if (high != 0) atomicAdd(&to->square_high, high);
}

__device__ inline void store_segment(std::int8_t* to, const std::int32_t (&q)[segment_bytes], int plane) {
  *reinterpret_cast<uint4*>(to) = {pack_digits(q, plane), pack_digits(q + 4, plane),
                                   pack_digits(q + 8, plane), pack_digits(q + 12, plane)};
}

/// A segment to every plane of the pixel copy, if there is one.
__device__ inline void store_pixels(const ImageLayout& layout, int planes, std::int8_t* copy,
                                    std::int64_t byte, const std::int32_t (&q)[segment_bytes]) {
  if (copy == nullptr) return;
  for (int plane = 0; plane < planes; ++plane)
    store_segment(copy + plane * plane_bytes(layout.pixel_copy_bytes()) + byte, q, plane);
}

/// Stores a plane of the block's batch copy through shared memory: all threads give the 16 integers of their
/// channels, and store 16 images of one channel.
__device__ inline void store_batch(const ImageLayout& layout, const QuantizeBlock& block, int places,
                                   const std::int32_t (&q)[segment_bytes], int plane, std::int8_t* staged,
                                   std::int8_t* batch_copy) {
  const QuantizeShare in = channel_share(threadIdx.x), out = image_share(threadIdx.x);
  __syncthreads();  // the plane before has been read
#pragma unroll
  for (int i = 0; i < segment_bytes; ++i) staged[staged_byte(in.slot + i, in.image)] = digit_of(q[i], plane);
  __syncthreads();
  const int channel =
      block.slot + out.slot < layout.pixel_pitch() ? layout.channel_at(block.slot + out.slot) : -1;
  if (channel < 0 || block.image + out.image >= places) return;
  const auto* words = reinterpret_cast<const std::uint32_t*>(staged + staged_byte(out.slot, out.image));
  *reinterpret_cast<uint4*>(batch_copy + plane * plane_bytes(layout.batch_copy_bytes()) +
                            layout.batch_copy_byte(channel, block.pixel, block.image + out.image)) = {
      words[0], words[1], words[2], words[3]};
}

/// To every plane where the block holds one image of a pixel: byte by byte, and with the last image the
/// padding.
__device__ inline void store_batch_bytes(const ImageLayout& layout, int planes, std::int8_t* copy,
                                         const Segment& at, int pixel,
                                         const std::int32_t (&q)[segment_bytes]) {
  if (copy == nullptr) return;
  const int padding = at.image == layout.n - 1 ? layout.batch_pitch() - layout.n : 0;
  for (int plane = 0; plane < planes; ++plane)
#pragma unroll
    for (int i = 0; i < segment_bytes; ++i) {
      if (i >= at.count) continue;
      std::int8_t* to = copy + plane * plane_bytes(layout.batch_copy_bytes()) +
                        layout.batch_copy_byte(at.channel + i, pixel, at.image);
      to[0] = digit_of(q[i], plane);
      for (int image = 1; image <= padding; ++image) to[image] = 0;
    }
}

}  // namespace octavo::kernels::cuda
