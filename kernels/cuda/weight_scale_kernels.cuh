// The kernels over a list of weights that make their ranges and scales.
#pragma once

#include "pass_list.h"
#include "slot_block.cuh"
#include "weight_passes.h"

namespace octavo::kernels::cuda {

/// Filters of a block, one a warp.
constexpr int range_filters = slot_threads / 32;

/// KnownMaxima::none: the largest weights.
static __global__ void __launch_bounds__(slot_threads)
    weight_ranges_kernel(const WeightScales* passes, const ListBlock* blocks) {
  const ListBlock at = blocks[blockIdx.x];
  const WeightScales pass = passes[at.pass];
  const int filter = at.part * range_filters + static_cast<int>(threadIdx.x / 32);
  if (*pass.known != KnownMaxima::none || filter >= pass.layout.k) return;
  const int inputs = pass.layout.inputs();
  const std::int64_t row = std::int64_t{pass.layout.taps} * inputs;
  const float factor = pass.factor != nullptr ? pass.factor[filter] : 1.0f;
  unsigned most = 0;
  for (std::int64_t i = threadIdx.x % 32; i < row; i += 32) {
    const unsigned bits = magnitude_of(pass.weights[filter * row + i] * factor);
    if (pass.axis != WeightAxis::input) {
      most = bits > most ? bits : most;
      continue;
    }
    std::uint32_t* const to = pass.max_bits + pass.range_of(filter, static_cast<int>(i % inputs));
    if (bits > *to) atomicMax(to, bits);  // an older value costs an atomic
  }
  if (pass.axis == WeightAxis::input) return;
  for (int distance = 16; distance > 0; distance /= 2)
    most = max(most, __shfl_down_sync(~0u, most, distance));
  if (threadIdx.x % 32 == 0) atomicMax(pass.max_bits + pass.range_of(filter, 0), most);
}

/// KnownMaxima::rows where those are not the ranges of scales: these, by all threads of a block. Each
/// makes those that it turns into scales.
__device__ inline void join_rows(const WeightScales& pass) {
  __shared__ unsigned largest;
  if (threadIdx.x == 0) largest = 0;
  __syncthreads();
  unsigned most = 0;
  for (int i = static_cast<int>(threadIdx.x); i < pass.layout.k; i += slot_threads) {
    const unsigned bits = pass.row_range(i);
    if (pass.axis == WeightAxis::filter) pass.max_bits[i] = bits;
    most = bits > most ? bits : most;
  }
  if (pass.axis == WeightAxis::tensor) atomicMax(&largest, most);
  __syncthreads();
  if (pass.axis == WeightAxis::tensor && threadIdx.x == 0) *pass.max_bits = largest;
}

/// A slot a block.
static __global__ void __launch_bounds__(slot_threads, 8) weight_scales_kernel(const WeightScales* passes) {
  const WeightScales& pass = passes[blockIdx.x];
  SlotScales to = pass.to;
  switch (*pass.known) {
    case KnownMaxima::ranges:
      to.ranges = pass.ranges;
      break;
    case KnownMaxima::columns:
      to.max_bits = pass.columns;
      break;
    case KnownMaxima::rows:
      to.max_bits = pass.takes_rows() ? pass.rows : pass.max_bits;
      if (!pass.takes_rows()) join_rows(pass);
      break;
    case KnownMaxima::none:
      to.max_bits = pass.max_bits;
      break;
  }
  write_scales(to);
}

}  // namespace octavo::kernels::cuda
