// What the threads of a block collect together while they run a chain: maxima, reach, bins.
#pragma once

#include "chain_pass.h"
#include "chain_tiles.h"
#ifdef __CUDACC__
#include "device_ops.cuh"
#endif  // else a test that runs this source on the host brings its own
#include "quantize_block.cuh"

namespace octavo::kernels::cuda {

/// Of the dynamic shared memory: counts and sums of the bins.
constexpr int chain_bins_bytes = 2 * magnitude_bins * static_cast<int>(sizeof(unsigned));

/// An atomic maximum that is rarely needed: a value that was larger before is never smaller again.
__device__ inline void raise(unsigned* to, unsigned value) {
  if (value > *static_cast<volatile unsigned*>(to)) atomicMax(to, value);
}

/// One of these a thread; memory of the block that all share.
class ChainBlock {
 public:
  SegmentCounts counts;
  float sum[segment_bytes] = {}, product[segment_bytes] = {};

  /// `place` is the first of this thread's 16 among those of the block. All threads take part.
  __device__ ChainBlock(const ChainPass& pass, int place) : pass_(pass), place_(place) {
    __shared__ unsigned places[2 * most_tile_places];
    channel_max_ = places, reach_ = places + most_tile_places;
    bins_ = reinterpret_cast<unsigned*>(dynamic_shared());
    for (int i = threadIdx.x; i < 2 * most_tile_places; i += chain_threads) places[i] = 0;
    for (int i = threadIdx.x; pass.look.counts_bins() && i < 2 * magnitude_bins; i += chain_threads)
      bins_[i] = 0;
    __syncthreads();
  }

  __device__ void join_bits(std::uint8_t* word, std::uint32_t bits) {
    atomicOr(reinterpret_cast<unsigned*>(word), bits);
  }

  __device__ void add_sums(const Values& v, const Values& x) {
#pragma unroll
    for (int i = 0; i < segment_bytes; ++i) sum[i] = sum[i] + v[i], product[i] = product[i] + v[i] * x[i];
  }

  __device__ void look(const Segment& at, const Values& v) {
    const ChainLook& look = pass_.look;
    if (look.counts_bins() || look.channel_counts != nullptr) count_bins(at, v);
    if (look.reach == nullptr) return;
    const float factor = look.inverse_scale[look.inverse_by_sample ? at.image : 0] / look.qmax;
#pragma unroll
    for (int i = 0; i < segment_bytes; ++i)
      if (i < at.count) raise(reach_ + place_ + i, magnitude_bits(magnitude(v[i]) * factor));
  }

  /// The values at the end of the chain.
  __device__ void note_max(const Segment& at, const Values& v) {
    if (pass_.max_bits == nullptr) return;
    if (pass_.max_granularity == Granularity::channel) {
#pragma unroll
      for (int i = 0; i < segment_bytes; ++i)
        if (i < at.count) raise(channel_max_ + place_ + i, magnitude_bits(v[i]));
      return;
    }
    if (pass_.max_granularity == Granularity::sample && at.image != image_) flush_image(at.image);
#pragma unroll
    for (int i = 0; i < segment_bytes; ++i) most_ = i < at.count ? max(most_, magnitude_bits(v[i])) : most_;
  }

  /// More than 2^17 elements are counted in parts. All threads take part, with a barrier between two calls.
  __device__ void flush_counts() {
    add_counts(pass_.counts, counts);
    counts = {};
  }

  /// Adds to the results. `slot` is the block's first place in a pixel, of `places`. All threads take part.
  __device__ void finish(int slot, int places) {
    __syncthreads();
    const bool by_channel = pass_.max_granularity == Granularity::channel;
    if (pass_.max_bits != nullptr && !by_channel) finish_max();
    if (pass_.max_bits != nullptr && by_channel) finish_channels(channel_max_, pass_.max_bits, slot, places);
    if (pass_.look.reach != nullptr) finish_channels(reach_, pass_.look.reach, slot, places);
    for (int i = threadIdx.x; pass_.look.counts_bins() && i < magnitude_bins; i += chain_threads) {
      if (bins_[i] == 0) continue;
      atomicAdd(pass_.look.counts + i, static_cast<unsigned long long>(bins_[i]));
      atomicAdd(pass_.look.sums + i, static_cast<unsigned long long>(bins_[magnitude_bins + i]));
    }
    flush_counts();
  }

 private:
  __device__ static float magnitude(float v) { return v < 0.0f ? -v : v; }

  __device__ void count_bins(const Segment& at, const Values& v) {
    const ChainLook& look = pass_.look;
#pragma unroll
    for (int i = 0; i < segment_bytes; ++i) {
      if (i >= at.count) continue;
      const std::uint32_t bits = counted_bits(v[i]);
      const unsigned bin = bits >> 19, low = bits & 0x7FFFFu;
      if (look.counts_bins()) {
        atomicAdd(bins_ + bin, 1u);
        // Sums of more than 32 bits pass the rest on.
        if (atomicAdd(bins_ + magnitude_bins + bin, low) > ~low)
          atomicAdd(look.sums + bin, std::uint64_t{1} << 32);
      }
      if (look.channel_counts != nullptr)
        atomicAdd(look.channel_counts + std::int64_t{at.channel + i} * magnitude_bins + bin, 1u);
    }
  }

  __device__ void flush_image(int next) {
    if (most_ != 0) raise(pass_.max_bits + image_, most_);
    most_ = 0, image_ = next;
  }

  __device__ void finish_max() {
    if (pass_.max_granularity == Granularity::sample) return flush_image(0);
    for (int distance = 16; distance > 0; distance /= 2)
      most_ = max(most_, __shfl_down_sync(~0u, most_, distance));
    if (threadIdx.x % 32 == 0) raise(pass_.max_bits, most_);
  }

  __device__ void finish_channels(const unsigned* from, unsigned* to, int slot, int places) {
    const ImageLayout& layout = pass_.layout;
    for (int i = threadIdx.x; i < places && slot + i < layout.pixel_pitch(); i += chain_threads) {
      const int channel = layout.channel_at(slot + i);
      if (channel >= 0) raise(to + channel, from[i]);
    }
  }

  const ChainPass& pass_;
  int place_, image_ = 0;
  unsigned most_ = 0;
  unsigned *channel_max_, *reach_, *bins_;
};

}  // namespace octavo::kernels::cuda
