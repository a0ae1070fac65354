// Before and after a forward product that takes sums by channel: its first pixel, and the way from sums of
// lanes to those of chunks.
#pragma once

#ifdef __CUDACC__
#include "device_ops.cuh"
#endif  // else a test that runs this source on the host brings its own
#include "conv_run.h"
#include "implicit_gemm.h"

namespace octavo::kernels::cuda {

constexpr int result_sums_threads = 128;

template <bool a_unsigned>
__device__ inline int multiply_segments(const uint4& a, const uint4& b, int sum) {
  sum = dot4<a_unsigned>(a.x, b.x, sum);
  sum = dot4<a_unsigned>(a.y, b.y, sum);
  sum = dot4<a_unsigned>(a.z, b.z, sum);
  return dot4<a_unsigned>(a.w, b.w, sum);
}

/// minus_pivot = -(the first pixel's result, as it will be stored): a warp for each filter.
template <bool a_unsigned>
__global__ void __launch_bounds__(result_sums_threads)
    first_pixel_kernel(const __grid_constant__ ImplicitGemm g, const __grid_constant__ ConvRun run,
                       float* minus_pivot) {
  const int channel = static_cast<int>((blockIdx.x * result_sums_threads + threadIdx.x) / 32);
  if (channel >= g.groups * g.filters) return;
  const int group = channel / g.filters, lane = static_cast<int>(threadIdx.x) % 32;
  const GemmClass c = plain_gemm_class(g);
  const RowStart row = row_start(g, c, group, 0);
  const int filter = filter_start(g, group, channel % g.filters), count = c.h.taps * c.w.taps * c.segments;
  int sum = 0;
  for (int i = lane; i < count; i += 32) {
    const TapAt tap = tap_at(g, c, cursor_at(c, i));
    if (!reads_a(g, row, tap)) continue;
    const std::int64_t a = std::int64_t{row.offset + tap.a} * segment_bytes;
    const std::int64_t b = std::int64_t{filter + tap.b} * segment_bytes;
    sum = multiply_segments<a_unsigned>(*reinterpret_cast<const uint4*>(run.a + a),
                                        *reinterpret_cast<const uint4*>(run.b + b), sum);
  }
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_down_sync(~0U, sum, distance);
  if (lane != 0) return;
  const int a_scale = row_result(g, c, group, 0).a_scale;
  const float value = scaled_value(run.epilogue, a_scale, channel, static_cast<float>(sum));
  minus_pivot[channel] = -rounded_value(run.epilogue, value);
}

/// A channel of a sum and a chunk a thread: the lanes of a piece in order in FP32, its pieces in FP64.
static __global__ void __launch_bounds__(result_sums_threads)
    join_lanes_kernel(const __grid_constant__ ResultSums sums, const __grid_constant__ SumsWalk walk,
                      double* chunks) {
  const std::int64_t thread = blockIdx.x * std::int64_t{result_sums_threads} + threadIdx.x;
  const std::int64_t pitch = std::int64_t{2} * sums.channels;
  const int chunk = static_cast<int>(thread / pitch);
  if (chunk >= walk.chunks) return;
  constexpr int ahead = 16;  // reads that are under way together
  const std::int64_t end = walk.first_piece(chunk + 1) * sums.lanes;
  double total = 0;
  float piece = 0;
  int lane = 0;
  for (std::int64_t i = walk.first_piece(chunk) * sums.lanes; i < end; i += ahead) {
    float next[ahead];
#pragma unroll
    for (int j = 0; j < ahead; ++j)
      next[j] = i + j < end ? sums.lane_sums[(i + j) * pitch + thread % pitch] : 0.0f;
#pragma unroll
    for (int j = 0; j < ahead; ++j) {
      if (i + j >= end) break;
      piece += next[j];
      if (++lane < sums.lanes) continue;
      total += static_cast<double>(piece);
      piece = 0, lane = 0;
    }
  }
  chunks[thread] = total;
}

}  // namespace octavo::kernels::cuda
