// The convolution of wgmma whose stages TMA fills.
#pragma once

#include <cuda_runtime_api.h>

#include "conv_plan.h"
#include "conv_run.h"

namespace octavo::kernels::cuda {

/// Asks the current device once what launches of this plan need, so that a capture may hold the first.
void prepare_conv_tma(const ConvPlan& plan);

/// Sums of a plan with by_tma() to run.parts, or its results. Throws std::runtime_error for errors of CUDA.
void launch_conv_tma(const ConvPlan& plan, const ConvRun& run, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
