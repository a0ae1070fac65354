// Scales and ranges of slots.
#include "slots.h"

#include "launch.h"
#include "slot_kernels.cuh"

namespace octavo::kernels::cuda {

void make_scales(const SlotScales& pass, cudaStream_t stream) {
  const std::string what = "cuda/slot_scales of " + std::to_string(pass.count) + ": ";
  check_scales(pass, what);
  launch(slot_scales_kernel, {1, slot_threads, stream}, what, pass);
}

void make_scales(const ClassScales& pass, cudaStream_t stream) {
  const std::string what = "cuda/class_scales of " + std::to_string(pass.samples) + ": ";
  check_scales(pass, what);
  launch(class_scales_kernel, {1, slot_threads, stream}, what, pass);
}

void multiply_channels(const ChannelProducts& pass, cudaStream_t stream) {
  const std::string what = "cuda/multiply_channels of " + std::to_string(pass.channels) + ": ";
  if (pass.channels < 1) throw std::invalid_argument(what + "sizes start at 1");
  check_pointer(pass.factor, "factor", what, alignof(float));
  for (const float* from : pass.from) check_optional_pointer(from, "from", what, alignof(float));
  for (const float* to : pass.to) check_optional_pointer(to, "to", what, alignof(float));
  launch(channel_products_kernel, {blocks_for(pass.channels, slot_threads), slot_threads, stream}, what,
         pass);
}

void guard_step(const StepGuard& pass, cudaStream_t stream) {
  const std::string what = "cuda/guard_step: ";
  if (pass.slots < 0 || pass.losses < 0) throw std::invalid_argument(what + "counts start at 0");
  if (pass.slots > 0) check_pointer(pass.counts, "counts", what, alignof(QuantizeCounts));
  if (pass.losses > 0) check_pointer(pass.bad_samples, "bad_samples", what, alignof(unsigned));
  if (pass.losses > 0) check_pointer(pass.results, "results", what, alignof(float));
  check_pointer(pass.step, "step", what, alignof(StepScalars));
  launch(guard_step_kernel, {1, slot_threads, stream}, what, pass);
}

}  // namespace octavo::kernels::cuda
