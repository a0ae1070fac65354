// Random numbers of a step in device memory, so that a captured step draws those of the time: keys of all
// streams come from one counter by set_draws().
#pragma once

#include "../random.h"
#include "host_device.h"

namespace octavo::kernels::cuda {

/// Of one slot or layer in one step.
struct Draws {
  RandomKey key;
  std::uint64_t first_index = 0;  // of element 0 in the global batch
};

/// Who draws, and how many elements a micro-step has.
struct DrawStream {
  std::uint64_t stream = 0, elements = 0;
};

struct StepCounter {
  std::uint64_t seed = 0, step = 0, micro_step = 0;
};

/// A key of the step alone, which its reader makes.
struct RandomStream {
  const StepCounter* counter = nullptr;
  std::uint64_t stream = 0;
  OCTAVO_HD constexpr RandomKey key() const { return random_key(counter->seed, counter->step, stream); }
};

OCTAVO_HD constexpr Draws draws_of(const StepCounter& counter, const DrawStream& of) {
  return {random_key(counter.seed, counter.step, of.stream), counter.micro_step * of.elements};
}

}  // namespace octavo::kernels::cuda
