// The FP32 convolution of narrow groups, depthwise among them, whose columns would leave tiles empty: a
// result a thread, neighbours in a warp along channels.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif  // else a test that runs this source on the host brings its own
#include "conv_f32_store.cuh"

namespace octavo::kernels::cuda {

/// Grid: x classes of so many results, y parts.
template <Product product>
__global__ void __launch_bounds__(f32_threads)
    direct_f32_kernel(const __grid_constant__ ConvF32Gemm g, const __grid_constant__ TileGrid grid,
                      const __grid_constant__ ConvF32Run run) {
  const TileAt at = tile_at(grid, blockIdx.x);
  const ConvF32Class c = f32_class<product>(g, at.which);
  const std::uint32_t result = static_cast<std::uint32_t>(at.m) * f32_threads + threadIdx.x;
  const auto lines = static_cast<std::uint32_t>(g.lines),
             channels = static_cast<std::uint32_t>(g.groups) * lines;
  const std::uint32_t channel = result % channels, gathered_line = result / channels;
  if (gathered_line >= f32_gathered_lines<product>(g, c)) return;
  const int group = static_cast<int>(channel / lines);
  const std::uint32_t plain_line = channel % lines;
  const float* gathered = run.gathered + group * std::int64_t{g.gather_group};
  const float* plain = run.plain + group * g.plain_group;
  const F32Line line = f32_line<product>(g, c, gathered_line);
  const int part = static_cast<int>(blockIdx.y), left = c.places() - part * g.split_steps * f32_step;
  const int places = left < g.split_steps * f32_step ? left : g.split_steps * f32_step;
  F32Place place =
      f32_place(c, static_cast<std::uint32_t>(part) * static_cast<std::uint32_t>(g.split_steps) * f32_step);
  float sum = 0;
  for (int i = 0; i < places; ++i) {
    const F32Tap tap = f32_tap<product>(g, c, place);
    if (f32_reads(g, line, tap))
      sum = fmaf(__ldg(gathered + (line.offset + tap.gathered)),
                 __ldg(plain + (plain_line * g.plain_line + tap.plain)), sum);
    to_next(c, place);
  }
  constexpr bool weight = product == Product::grad_weight;
  const std::uint32_t row = weight ? plain_line : gathered_line, column = weight ? gathered_line : plain_line;
  store_f32_sum(g, run, part, f32_result<product>(g, c, group, row) + column, static_cast<int>(channel), sum);
}

}  // namespace octavo::kernels::cuda
