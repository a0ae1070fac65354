// The int32 sums of the parts of a contraction to results, in int64 and in fixed order.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif  // else a test that runs this source on the host brings its own
#include "class_steps.h"
#include "conv_run.h"

namespace octavo::kernels::cuda {

constexpr int join_threads = 256;

/// Adds the parts of each result in the order of parts, and stores it.
static __global__ void __launch_bounds__(join_threads)
    join_parts_kernel(const __grid_constant__ ImplicitGemm g, const __grid_constant__ ConvRun run,
                      int pairs) {
  for (std::int64_t i = blockIdx.x * std::int64_t{join_threads} + threadIdx.x; i < g.results;
       i += std::int64_t{gridDim.x} * join_threads) {
    std::int64_t sum = 0;
    for (int pair = 0; pair < pairs; ++pair) {
      std::int64_t of_pair = 0;
      for (int split = 0; split < g.splits; ++split)
        of_pair += run.parts[(pair * g.sums + split) * g.results + i];
      sum += of_pair * (1LL << (8 * (pair / run.b_planes + pair % run.b_planes)));
    }
    const ResultScales scales = result_scales(g, i);
    store_result(run.epilogue, i, scales.a, scales.b, sum);
  }
}

/// The sums of a chain, as joins read them.
struct JoinedSums {
  int first, count, octave, odd;
};

/// The same with sample classes: even and odd sums apart, each chain times its octave.
static __global__ void __launch_bounds__(join_threads, 3)
    join_classes_kernel(const __grid_constant__ ImplicitGemm g, const __grid_constant__ ConvRun run,
                        int pairs) {
  __shared__ JoinedSums chains[most_ranges];
  __shared__ int count;
  if (threadIdx.x == 0) {
    const ClassSteps steps = class_steps(g, *run.order);
    int chain_count = 0;
    for (Chain chain; next_chain(*run.order, steps, chain); ++chain_count) {
      const ChainSums sums = chain_sums(steps, chain);
      chains[chain_count] = {sums.first, sums.count, chain.octave, chain.odd};
    }
    count = chain_count;
  }
  __syncthreads();
  for (std::int64_t i = blockIdx.x * std::int64_t{join_threads} + threadIdx.x; i < g.results;
       i += std::int64_t{gridDim.x} * join_threads) {
    std::int64_t even = 0, odd = 0;
    for (int pair = 0; pair < pairs; ++pair)
      for (int at = 0; at < count; ++at) {
        const JoinedSums chain = chains[at];
        std::int64_t sum = 0;
        for (int j = 0; j < chain.count; ++j)
          sum += run.parts[(pair * g.sums + chain.first + j) * g.results + i];
        sum *= 1LL << (chain.octave + 8 * (pair / run.b_planes + pair % run.b_planes));
        (chain.odd != 0 ? odd : even) += sum;
      }
    const ResultScales scales = result_scales(g, i);
    store_classes(run.epilogue, i, scales.a, scales.b, even, odd);
  }
}

}  // namespace octavo::kernels::cuda
