// Sums by channel beside a forward product, for run_conv().
#pragma once

#include <cuda_runtime_api.h>

#include "conv_run.h"
#include "sums_plan.h"

namespace octavo::kernels::cuda {

/// Makes the pivots and tells the product's kernel where its sums go. Throws std::invalid_argument where they
/// make no sense, std::runtime_error for errors of CUDA.
ResultSums begin_sums(const ConvPlan& plan, const ConvRun& run, const ConvSums& sums, cudaStream_t stream);
/// After the product: sums.sum and sums.squares.
void end_sums(const ConvPlan& plan, const ConvSums& sums, const ResultSums& taken, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
