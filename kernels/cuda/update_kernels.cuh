// The kernels of an update: gradient norm, the optimizer, and sums of columns for the gradients of biases.
#pragma once

#include "../floats.h"
#include "update_elements.cuh"

namespace octavo::kernels::cuda {

/// A chunk a block: lanes and tiles by all threads, then one adds them in their order.
static __global__ void __launch_bounds__(norm_threads)
    norm_chunks_kernel(const NormChunk* chunks, double* sums) {
  __shared__ float lanes[norm_chunk / norm_tile * norm_lanes];
  const NormChunk chunk = chunks[blockIdx.x];
  const std::int64_t count = chunk.count < norm_chunk ? chunk.count : norm_chunk;
  const int tiles = static_cast<int>(ceil_div(count, norm_tile));
  for (int i = threadIdx.x; i < tiles * norm_lanes; i += norm_threads)
    lanes[i] = norm_lane(chunk, i / norm_lanes, i % norm_lanes);
  __syncthreads();
  if (threadIdx.x != 0) return;
  double sum = 0;
  for (int i = 0; i < tiles * norm_lanes; ++i) sum += lanes[i];
  sums[blockIdx.x] = sum;
}

static __global__ void __launch_bounds__(norm_threads)
    finish_norm_kernel(const double* sums, int chunks, StepScalars* step) {
  __shared__ double next[norm_threads];  // all threads fetch, one adds in order
  double total = 0;
  for (int first = 0; first < chunks; first += norm_threads) {
    const int i = first + static_cast<int>(threadIdx.x);
    __syncthreads();
    next[threadIdx.x] = i < chunks ? sums[i] : 0.0;
    __syncthreads();
    if (threadIdx.x == 0)
      for (int j = 0; j < norm_threads && first + j < chunks; ++j) total += next[j];
  }
  if (threadIdx.x != 0) return;
  step->gradient_norm = sqrt(total);
  step->gradient_scale = clip_scale(step->gradient_norm, step->clip_norm);
}

static __global__ void __launch_bounds__(update_threads, update_blocks_each)
    sgd_kernel(const SgdUpdate* updates, const ListBlock* blocks, const StepScalars* step) {
  if (!takes_step(*step)) return;
  const ListBlock at = blocks[blockIdx.x];
  const SgdUpdate u = updates[at.pass];
  const SgdFactors factors(u, *step);
  update_elements(u, at.part, [&](std::int64_t i) { return updated(u, factors, i); });
}

/// The tiles of column_sums() in src/ops/common.cpp.
constexpr int column_tile = 64;

/// partial[tile, c] = the FP32 sum of the tile's rows.
template <class T>
__global__ void __launch_bounds__(update_threads)
    column_tiles_kernel(const T* values, std::int64_t rows, int columns, float* partial) {
  const std::int64_t count = ceil_div(rows, column_tile) * columns;
  for (std::int64_t i = blockIdx.x * std::int64_t{update_threads} + threadIdx.x; i < count;
       i += std::int64_t{gridDim.x} * update_threads) {
    const std::int64_t tile = i / columns, c = i % columns, end = (tile + 1) * column_tile;
    float sum = 0;
    for (std::int64_t row = tile * column_tile; row < (end < rows ? end : rows); ++row)
      sum += to_float(values[row * columns + c]);
    partial[i] = sum;
  }
}

/// gradient[c] (+)= the FP64 sum of the tiles.
static __global__ void __launch_bounds__(update_threads)
    join_columns_kernel(const float* partial, std::int64_t tiles, int columns, float* gradient,
                        bool accumulate) {
  const int c = blockIdx.x * update_threads + threadIdx.x;
  if (c >= columns) return;
  double total = 0;
#pragma unroll 16
  for (std::int64_t tile = 0; tile < tiles; ++tile) total += partial[tile * columns + c];
  gradient[c] = static_cast<float>(total) + (accumulate ? gradient[c] : 0.0f);
}

}  // namespace octavo::kernels::cuda
