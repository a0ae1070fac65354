// The three products of a depthwise convolution.
#pragma once

#ifdef __CUDACC__
#include "device_ops.cuh"
#endif  // else a test that runs this source on the host brings its own
#include "depthwise.h"
#include "epilogue.h"
#include "sample_order.h"

namespace octavo::kernels::cuda {

constexpr int depthwise_threads = 256;
constexpr int most_dots = 2048;  // segments in an int32: 2048 * 16 * 255 * 128 < 2^31

struct DepthwiseRun {
  const std::int8_t* a = nullptr;
  const std::int8_t* b = nullptr;
  std::int64_t a_plane = 0, b_plane = 0;  // bytes from plane to plane
  int a_planes = 1, b_planes = 1;
  const SampleOrder* order = nullptr;  // null: no sample classes
  Epilogue epilogue;
};

template <bool is_unsigned>
__device__ inline int byte_at(std::uint32_t word, int byte) {
  const std::uint32_t bits = word >> (8 * byte) & 0xFFu;
  return is_unsigned ? static_cast<int>(bits) : static_cast<int>(static_cast<std::int8_t>(bits));
}

/// sum += a b, channel by channel.
template <bool a_unsigned>
__device__ inline void multiply_channels(const uint4& a, const uint4& b, int (&sum)[segment_bytes]) {
  const std::uint32_t left[4] = {a.x, a.y, a.z, a.w}, right[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
  for (int i = 0; i < segment_bytes; ++i)
    sum[i] += byte_at<a_unsigned>(left[i / 4], i % 4) * byte_at<false>(right[i / 4], i % 4);
}

/// forward and grad_input: 16 channels of an output pixel a thread.
template <bool a_unsigned>
__global__ void __launch_bounds__(depthwise_threads)
    depthwise_pixels_kernel(const __grid_constant__ Depthwise d, const __grid_constant__ DepthwiseRun run) {
  for (std::int64_t index = blockIdx.x * std::int64_t{depthwise_threads} + threadIdx.x; index < d.shares();
       index += std::int64_t{gridDim.x} * depthwise_threads) {
    const DepthwiseShare at = depthwise_share(d, index);
    const AxisMember h = axis_member(d.h, at.y), w = axis_member(d.w, at.x);
    std::int64_t total[segment_bytes] = {};
    for (int pair = 0; pair < run.a_planes * run.b_planes; ++pair) {
      const int a_plane = pair / run.b_planes, b_plane = pair % run.b_planes;
      int sum[segment_bytes] = {};
      for (int i = 0; i < h.of.taps; ++i)
        for (int j = 0; j < w.of.taps; ++j) {
          const int y = h.pixel(d.h, i), x = w.pixel(d.w, j);
          if (y < 0 || x < 0) continue;
          const auto* a = run.a + a_plane * run.a_plane + depthwise_a(d, at.image, y, x, at.channel);
          const auto* b = run.b + b_plane * run.b_plane + depthwise_b(d, 0, h.tap(i), w.tap(j), at.channel);
          multiply_channels<a_unsigned>(__ldg(reinterpret_cast<const uint4*>(a)),
                                        __ldg(reinterpret_cast<const uint4*>(b)), sum);
        }
#pragma unroll
      for (int i = 0; i < segment_bytes; ++i)
        total[i] += static_cast<std::int64_t>(sum[i]) * (std::int64_t{1} << (8 * (a_plane + b_plane)));
    }
    const std::int64_t element =
        ((std::int64_t{at.image} * d.h.out + at.y) * d.w.out + at.x) * d.channels + at.channel;
#pragma unroll
    for (int i = 0; i < segment_bytes; ++i)
      if (at.channel + i < d.channels)
        store_result(run.epilogue, element + i, at.image, at.channel + i, total[i]);
  }
}

/// The sum of all threads, in thread 0.
__device__ inline std::int64_t block_sum(std::int64_t value) {
  __shared__ std::int64_t sums[depthwise_threads / 32];
  for (int distance = 16; distance > 0; distance /= 2)
    value += static_cast<std::int64_t>(__shfl_down_sync(~0u, static_cast<long long>(value), distance));
  __syncthreads();  // nobody reads what an earlier call left
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
  __syncthreads();
  std::int64_t total = 0;
  if (threadIdx.x == 0)
    for (int i = 0; i < depthwise_threads / 32; ++i) total += sums[i];
  return total;
}

/// Segments [first, first + segments) of every pixel that a tap of a channel reads, of one pair of planes:
/// this thread's share of the sum.
template <bool a_unsigned>
__device__ inline std::int64_t sum_segments(const Depthwise& d, const std::int8_t* a_plane,
                                            const std::int8_t* b_plane, int channel, int tap, int first,
                                            int segments) {
  const AxisMember h = axis_member(d.h, tap / d.w.out), w = axis_member(d.w, tap % d.w.out);
  std::int64_t long_sum = 0;
  int sum = 0, dots = 0;
  for (std::int64_t index = threadIdx.x; index < std::int64_t{d.h.taps} * d.w.taps * segments;
       index += depthwise_threads) {
    const std::int64_t pixel = index / segments;
    const int inner = (first + static_cast<int>(index % segments)) * segment_bytes;
    const int i = static_cast<int>(pixel / d.w.taps), j = static_cast<int>(pixel % d.w.taps);
    const int y = h.pixel(d.h, i), x = w.pixel(d.w, j);
    if (y < 0 || x < 0) continue;
    const uint4 a = __ldg(reinterpret_cast<const uint4*>(a_plane + depthwise_a(d, channel, y, x, inner)));
    const uint4 b = __ldg(reinterpret_cast<const uint4*>(b_plane + depthwise_b(d, channel, i, j, inner)));
    sum = dot4<a_unsigned>(a.x, b.x, sum);
    sum = dot4<a_unsigned>(a.y, b.y, sum);
    sum = dot4<a_unsigned>(a.z, b.z, sum);
    sum = dot4<a_unsigned>(a.w, b.w, sum);
    if (++dots == most_dots) long_sum += sum, sum = 0, dots = 0;
  }
  return long_sum + sum;
}

/// grad_weight: a tap of a channel a block; the images of a pixel are summed four at a time, with sample
/// classes class by class.
template <bool a_unsigned>
__global__ void __launch_bounds__(depthwise_threads)
    depthwise_grad_weight_kernel(const __grid_constant__ Depthwise d,
                                 const __grid_constant__ DepthwiseRun run) {
  const int taps = d.h.out * d.w.out, channel = static_cast<int>(blockIdx.x) / taps;
  const int tap = static_cast<int>(blockIdx.x) % taps, ranges = run.order != nullptr ? run.order->ranges : 1;
  std::int64_t even = 0, odd = 0;
  for (int pair = 0; pair < run.a_planes * run.b_planes; ++pair)
    for (int i = 0; i < ranges; ++i) {
      const ClassRange range = run.order != nullptr ? run.order->range[i] : ClassRange{0, d.segments(), 0, 0};
      const int a_plane = pair / run.b_planes, b_plane = pair % run.b_planes;
      const std::int64_t sum =
          sum_segments<a_unsigned>(d, run.a + a_plane * run.a_plane, run.b + b_plane * run.b_plane, channel,
                                   tap, range.first, range.segments);
      (range.odd != 0 ? odd : even) += sum * (std::int64_t{1} << (range.octave + 8 * (a_plane + b_plane)));
    }
  even = block_sum(even);
  if (run.order == nullptr) {
    if (threadIdx.x == 0) store_result(run.epilogue, blockIdx.x, channel, channel, even);
    return;
  }
  odd = block_sum(odd);
  if (threadIdx.x == 0) store_classes(run.epilogue, blockIdx.x, channel, channel, even, odd);
}

}  // namespace octavo::kernels::cuda
