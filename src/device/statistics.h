// What policies ask to know of a slot's values, beside what every step counts. A step with such passes is
// launched kernel by kernel: the host takes part in some of them.
#pragma once

#include "device/run.h"

namespace octavo::device {

class Statistics {
 public:
  /// For the slots that ask in this step; null where none does.
  static std::unique_ptr<Statistics> make(Memory& memory, Program& program, const PlanMemory& plan);
  Statistics(Memory& memory, Program& program, const PlanMemory& plan);

  /// Adds to a pass what its slot asks for, before it is launched, and reads what only the host can use.
  void add_to(Run& run, const SlotMemory& of, kernels::cuda::ChainPass& pass);
  void after(Run& run, const SlotMemory& of);
  /// The same of a copy's weights, by a pass of its own; `factor`: what they take over.
  void of_weights(Run& run, const WeightMemory& copy, const float* weights, const float* factor);

  /// Adds what the stream has counted to the slots; it has to be idle.
  void finish(Program& program);

 private:
  struct Look {
    const SlotMemory* of;
    kernels::cuda::ChainLook look;
    std::int64_t channels;
  };
  void lay_out(Program& program, const PlanMemory& plan, Region& region);
  const Look* find(const SlotMemory& of) const;

  std::vector<Look> looks_;
  Mirror counts_;
  float* values_ = nullptr;  // of the edge that is summarized
};

}  // namespace octavo::device
