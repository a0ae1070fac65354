// Pointwise chains on the device. Errors of CUDA are thrown as std::runtime_error, arguments that make no
// sense as std::invalid_argument.
#pragma once

#include <cuda_runtime_api.h>

#include "chain_checks.h"

namespace octavo::kernels::cuda {

/// One pass over memory. Values, integers and counts are those of kernels/ref bit for bit, sums too.
void run_chain(const ChainPass& pass, cudaStream_t stream);

/// Adds the sums of chunks, each [v, v x][channel], in order; `what` begins an error.
void join_chunks(const double* sums, int chunks, int channels, double* sum_v, double* sum_vx,
                 const std::string& what, cudaStream_t stream);

/// Draws of a step for `count` streams; all pointers are of the device.
void set_draws(const StepCounter* counter, const DrawStream* streams, int count, Draws* draws,
               cudaStream_t stream);

}  // namespace octavo::kernels::cuda
