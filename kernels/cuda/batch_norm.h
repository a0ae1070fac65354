// Batch norm between its chains, on the device. Pointers are of the device. Errors of CUDA are thrown as
// std::runtime_error, arguments that make no sense as std::invalid_argument.
#pragma once

#include <cuda_runtime_api.h>

#include "../floats.h"
#include "batch_norm_channels.h"

namespace octavo::kernels::cuda {

/// Before the sums of the forward pass: minus_pivot = -(first pixel).
void take_pivots(const FloatSource& first_pixel, int channels, float* minus_pivot, cudaStream_t stream);
void finish_channels(const BatchNormForward& pass, cudaStream_t stream);
void finish_channels(const BatchNormRepeated& pass, cudaStream_t stream);
void finish_channels(const BatchNormEvaluation& pass, cudaStream_t stream);

/// Before the sums of the backward pass.
struct BatchNormSlopes {
  int channels = 1;
  const float *gamma = nullptr, *r = nullptr;
  float* a = nullptr;
  const float* factor = nullptr;  // per channel of the gradient's slot; null: 1
  float* looked = nullptr;        // a factor, where maxima of samples are taken beside the sums; or null
};
void take_slopes(const BatchNormSlopes& slopes, cudaStream_t stream);
void finish_channels(const BatchNormBackward& pass, cudaStream_t stream);
/// Adds to each sample's maximum what the terms of the means can add.
void widen_samples(const BatchNormBackward& pass, const float* factor, std::uint32_t* sample_max, int samples,
                   cudaStream_t stream);

}  // namespace octavo::kernels::cuda
