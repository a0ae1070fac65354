// The products of a depthwise convolution on the device.
#pragma once

#include <cuda_runtime_api.h>

#include "depthwise_plan.h"

namespace octavo::kernels::cuda {

/// As run_conv() of conv_s8.h, with the layouts of depthwise.h and no scratch memory.
void run_depthwise(const DepthwisePlan& plan, const ConvArgs& args, cudaStream_t stream,
                   const SampleOrder* order = nullptr);

}  // namespace octavo::kernels::cuda
