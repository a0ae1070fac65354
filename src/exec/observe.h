// What the precision policy asked to know of a slot's values, taken while a chain quantizes them.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "exec/runtime.h"
#include "precision/slots.h"
#include "precision/statistics.h"

namespace octavo {

/// Summaries of one more micro-step.
void merge_summaries(Slot& slot, const std::vector<ChannelSummary>& more);

/// Histogram and reach come from the chain's own blocks, or from memory where the chain has no steps;
/// summaries of channels, whose counters would not fit the caches, from a copy of the values.
class Observation {
 public:
  /// Adds to the chain what it needs; the slot holds the scales of this pass.
  Observation(Slot& slot, Runtime& runtime, kernels::Chain& chain);
  /// Adds what was seen to the slot's statistics, after the chain has run.
  void finish();

 private:
  struct Part {  // what one thread saw
    MagnitudeCounter magnitudes;
    std::vector<float> reach;
    double seconds = 0;
  };
  void look(std::int64_t sample, std::int64_t pixels, const float* v);
  Part& take_part();
  void add_step(kernels::Step step);
  void summarize_copy();

  Slot& slot_;
  Runtime& runtime_;
  kernels::Chain& chain_;  // its sizes and steps
  const bool looks_;
  const float* values_ = nullptr;  // where they lie in memory, all of them
  struct Looker {
    Observation* observation;
    void operator()(std::int64_t sample, std::int64_t pixels, const float* v) const {
      observation->look(sample, pixels, v);
    }
  };
  const Looker looker_{this};
  const kernels::LookAt look_{looker_};
  std::mutex mutex_;
  std::vector<std::unique_ptr<Part>> parts_;
  std::vector<Part*> free_;
};

}  // namespace octavo
