// The update of parameters on the device. Pointers are of the device. Errors of CUDA are thrown as
// std::runtime_error, arguments that make no sense as std::invalid_argument.
#pragma once

#include <cuda_runtime_api.h>

#include "../floats.h"
#include "pass_list.h"
#include "update_rule.h"

namespace octavo::kernels::cuda {

/// The chunks of gradients, in the order of the parameters; upload them once, at addresses that stay.
struct GradientPart {
  const float* gradient;
  std::int64_t elements;
};
std::vector<NormChunk> norm_chunks(std::span<const GradientPart> gradients);

/// step->gradient_norm of all chunks, and from it step->gradient_scale; `sums`: one double for each chunk.
/// Inf or NaN in a gradient is one in the norm.
void gradient_norm(const NormChunk* chunks, int count, double* sums, StepScalars* step, cudaStream_t stream);

/// Checks parameters' steps and cuts them into blocks; upload both once, at addresses that stay.
std::vector<ListBlock> update_blocks(std::span<const SgdUpdate> updates);
/// The steps of all parameters of a list; nothing changes where step->gradient_norm is Inf or NaN.
void update_sgd(const PassList<SgdUpdate>& list, const StepScalars* step, cudaStream_t stream);

/// gradient[c] (+)= sum over rows of values[row, c]; column_tiles(rows) * columns floats of scratch.
std::int64_t column_tiles(std::int64_t rows);
void column_sums(const FloatSource& values, std::int64_t rows, int columns, float* scratch, float* gradient,
                 bool accumulate, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
