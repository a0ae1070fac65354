// Range batch normalization on the device, around the chains that apply it. Pointers are of the device.
// Errors of CUDA are thrown as std::runtime_error, arguments that make no sense as std::invalid_argument.
#pragma once

#include <cuda_runtime_api.h>

#include "range_norm_channels.h"

namespace octavo::kernels::cuda {

void look_at_chunks(const RangeNormLook& look, cudaStream_t stream);
void look_at_chunks(const RangeNormGradientLook& look, cudaStream_t stream);
void finish_channels(const RangeNormForward& pass, cudaStream_t stream);
void finish_channels(const RangeNormRepeated& pass, cudaStream_t stream);
void finish_channels(const RangeNormEvaluation& pass, cudaStream_t stream);
void finish_channels(const RangeNormBackward& pass, cudaStream_t stream);
/// After the chain of dx.
void add_slopes(const RangeNormExtremes& pass, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
