// The kernel that makes the integer copies of a list of weights.
#pragma once

#include "pass_list.h"
#include "quantize_block.cuh"
#include "weight_passes.h"

namespace octavo::kernels::cuda {

/// The turned copy of a tile through shared memory: see weight_tiles.h.
__device__ inline void store_turned(const WeightMatrices& m, const WeightTile& tile,
                                    const std::int32_t (&q)[segment_bytes], int plane, std::int8_t* staged,
                                    std::int8_t* copy) {
  const QuantizeShare in = channel_share(threadIdx.x), out = image_share(threadIdx.x);
  __syncthreads();  // the plane before has been read
#pragma unroll
  for (int i = 0; i < segment_bytes; ++i) staged[staged_byte(in.slot + i, in.image)] = digit_of(q[i], plane);
  __syncthreads();
  const int input = tile.input + out.slot, filter = tile.filter + out.image;
  if (input >= m.inputs || filter >= m.filter_pitch()) return;
  const auto* words = reinterpret_cast<const std::uint32_t*>(staged + staged_byte(out.slot, out.image));
  *reinterpret_cast<uint4*>(copy + m.turned_byte(tile.group, tile.tap, filter, input)) = {words[0], words[1],
                                                                                          words[2], words[3]};
}

/// 16 inputs of one filter, as integers of one copy.
struct WeightRun {
  int group, filter, input, count;  // count: 0 outside
  std::int64_t element;
};
__device__ inline void quantize_run(const WeightMatrices& m, const WeightRun& at, const CopyOfWeights& copy,
                                    const float (&values)[segment_bytes], std::int32_t (&q)[segment_bytes],
                                    SegmentCounts& counts) {
  const QuantizeRule rule = with_draws(copy.rule, copy.draws);
  const int row = at.group * m.filters + at.filter;
  const float factor = copy.factor != nullptr && at.count > 0 ? copy.factor[row] : 1.0f;
#pragma unroll
  for (int i = 0; i < segment_bytes; ++i) {
    q[i] = 0;
    if (i >= at.count) continue;
    const float v = copy.factor != nullptr ? values[i] * factor : values[i];
    const int scale = copy.kind == WeightCopy::grad_input ? at.group * m.inputs + at.input + i : row;
    const QuantizedValue value =
        quantize_value(rule, v, copy.scales.at(0, scale), static_cast<std::uint64_t>(at.element + i));
    counts.add(v, value);
    q[i] = value.integer;
  }
}

/// All copies of a tile, from one read.
static __global__ void __launch_bounds__(quantize_threads)
    quantize_weights_kernel(const QuantizeWeights* passes, const ListBlock* blocks) {
  __shared__ __align__(16) std::int8_t staged[quantize_tile * quantize_pitch];
  const ListBlock block = blocks[blockIdx.x];
  const QuantizeWeights& pass = passes[block.pass];
  const WeightMatrices m = pass.matrices();
  const WeightTile tile = weight_tile(m, block.part);
  const QuantizeShare in = channel_share(threadIdx.x);
  WeightRun at{tile.group, tile.filter + in.image, tile.input + in.slot, 0, 0};
  if (at.filter < m.filters && at.input < m.inputs)
    at.count = min(segment_bytes, m.inputs - at.input),
    at.element = m.element(at.group, tile.tap, at.filter, at.input);
  float values[segment_bytes];
  load_run(pass.weights + at.element, at.count, values);
  for (int i = 0; i < pass.count; ++i) {
    const CopyOfWeights& copy = pass.copies[i];
    const std::int64_t plane_size = plane_bytes(pass.layout.bytes(copy.kind));
    std::int32_t q[segment_bytes];
    SegmentCounts counts;
    quantize_run(m, at, copy, values, q, counts);
    for (int plane = 0; plane < copy.rule.planes; ++plane) {
      std::int8_t* const to = copy.copy + plane * plane_size;
      if (copy.kind != WeightCopy::forward)
        store_turned(m, tile, q, plane, staged, to);
      else if (at.count > 0)
        store_segment(to + m.forward_byte(at.group, tile.tap, at.filter, at.input), q, plane);
    }
    __syncthreads();  // counts of the copy before have been added
    add_counts(copy.counts, counts);
  }
}

}  // namespace octavo::kernels::cuda
