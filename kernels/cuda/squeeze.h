// Weights squeezed by tanh on the device: src/exec/weight_transform.cpp with the tanh of CUDA. Pointers are
// of the device. Errors of CUDA are thrown as std::runtime_error, arguments that make no sense as
// std::invalid_argument.
#pragma once

#include <cuda_runtime_api.h>

#include "squeeze_rule.h"

namespace octavo::kernels::cuda {

/// out = tanh(w) / max |tanh(w)|.
void squeeze_weights(const Squeezed& weights, float* out, cudaStream_t stream);
/// gradient *= (1 - tanh(w)^2) / max |tanh(w)|.
void squeeze_gradient(const Squeezed& weights, float* gradient, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
