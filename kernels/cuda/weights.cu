// Ranges, scales and integer copies of all weights of a step.
#include "weights.h"

#include "launch.h"
#include "weight_checks.h"
#include "weight_kernels.cuh"
#include "weight_scale_kernels.cuh"

namespace octavo::kernels::cuda {

std::vector<ListBlock> weight_blocks(std::span<const WeightScales> passes) {
  for (const WeightScales& pass : passes) check_pass(pass);
  return cut_passes(passes, "weight_scales",
                    [](const WeightScales& pass) { return ceil_div(pass.layout.k, range_filters); });
}

std::vector<ListBlock> weight_blocks(std::span<const QuantizeWeights> passes) {
  for (const QuantizeWeights& pass : passes) check_pass(pass);
  return cut_passes(passes, "quantize_weights",
                    [](const QuantizeWeights& pass) { return pass.matrices().tiles(); });
}

void find_ranges(const PassList<WeightScales>& list, cudaStream_t stream) {
  const std::string what = check_list("weight_ranges", list);
  launch(weight_ranges_kernel, {static_cast<unsigned>(list.block_count), slot_threads, stream}, what,
         list.passes, list.blocks);
}

void make_scales(const PassList<WeightScales>& list, cudaStream_t stream) {
  const std::string what = check_list("weight_scales", list);
  launch(weight_scales_kernel, {static_cast<unsigned>(list.count), slot_threads, stream}, what, list.passes);
}

void quantize_weights(const PassList<QuantizeWeights>& list, cudaStream_t stream) {
  const std::string what = check_list("quantize_weights", list);
  launch(quantize_weights_kernel, {static_cast<unsigned>(list.block_count), quantize_threads, stream}, what,
         list.passes, list.blocks);
}

}  // namespace octavo::kernels::cuda
