// Scales and ranges of slots on the device. Errors of CUDA are thrown as std::runtime_error, arguments that
// make no sense as std::invalid_argument.
#pragma once

#include <cuda_runtime_api.h>

#include "slot_scales.h"

namespace octavo::kernels::cuda {

void make_scales(const SlotScales& pass, cudaStream_t stream);
void make_scales(const ClassScales& pass, cudaStream_t stream);
void multiply_channels(const ChannelProducts& pass, cudaStream_t stream);
void guard_step(const StepGuard& pass, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
