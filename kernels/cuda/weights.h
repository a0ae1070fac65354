// All weights of a step in a few launches: ranges, scales and integer copies. Errors of CUDA are thrown as
// std::runtime_error, arguments that make no sense as std::invalid_argument.
#pragma once

#include <cuda_runtime_api.h>

#include "pass_list.h"
#include "weight_passes.h"

namespace octavo::kernels::cuda {

/// Check passes and cut them into blocks; upload both once, at addresses that stay.
std::vector<ListBlock> weight_blocks(std::span<const WeightScales> passes);
std::vector<ListBlock> weight_blocks(std::span<const QuantizeWeights> passes);

/// Maxima of the slots of which nothing is known.
void find_ranges(const PassList<WeightScales>& list, cudaStream_t stream);
/// Scales of all slots, from what is known of each.
void make_scales(const PassList<WeightScales>& list, cudaStream_t stream);
/// All copies, each weight read once.
void quantize_weights(const PassList<QuantizeWeights>& list, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
