#include "exec/observe.h"

#include <algorithm>
#include <cmath>

#include "core/timed.h"

namespace octavo {

using kernels::FloatType;
using kernels::StepKind;

// The mean over micro-steps, which are of equal size.
void merge_summaries(Slot& slot, const std::vector<ChannelSummary>& more) {
  slot.channels.resize(more.size());
  const double share = 1.0 / ++slot.channel_passes;
  for (std::size_t i = 0; i < more.size(); ++i) {
    ChannelSummary& into = slot.channels[i];
    into.max_abs = std::max(into.max_abs, more[i].max_abs);
    const double before = into.sigma * into.sigma, now = more[i].sigma * more[i].sigma;
    into.sigma = std::sqrt(before + share * (now - before));
    into.above_sigma += share * (more[i].above_sigma - into.above_sigma);
  }
}

Observation::Observation(Slot& slot, Runtime& runtime, kernels::Chain& chain)
    : slot_(slot), runtime_(runtime), chain_(chain), looks_(slot.wanted.histogram || slot.wanted.reach) {
  const bool in_memory = chain.steps.empty() && chain.x && chain.x.type == FloatType::f32;
  if (in_memory) {
    values_ = chain.x.as<float>();
    return;
  }
  if (looks_) add_step({.kind = StepKind::look, .look = &look_});
  if (!slot.wanted.channels) return;
  float* copy = runtime.statistics_buffer(chain.n * chain.h * chain.w * chain.c);
  add_step({.kind = StepKind::store, .out = copy});
  values_ = copy;
}

void Observation::add_step(kernels::Step step) {
  const std::span<kernels::Step> steps = runtime_.memory.copy(chain_.steps, 1);
  steps.back() = step;
  chain_.steps = steps;
}

Observation::Part& Observation::take_part() {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) {
    parts_.push_back(std::make_unique<Part>());
    if (slot_.wanted.reach) parts_.back()->reach.resize(static_cast<std::size_t>(chain_.c));
    return *parts_.back();
  }
  Part& part = *free_.back();
  free_.pop_back();
  return part;
}

void Observation::look(std::int64_t sample, std::int64_t pixels, const float* v) {
  Part& part = take_part();
  {
    const Timed timed(part.seconds);
    if (slot_.wanted.histogram) part.magnitudes.add(v, pixels * chain_.c);
    if (slot_.wanted.reach) {
      const std::size_t index = slot_.inverse_scale.size() == 1 ? 0 : static_cast<std::size_t>(sample);
      extend_reach(v, pixels, slot_.inverse_scale[index] / static_cast<float>(largest_integer(slot_.format)),
                   part.reach);
    }
  }
  const std::lock_guard lock(mutex_);
  free_.push_back(&part);
}

void Observation::finish() {
  if (looks_ && chain_.steps.empty())  // then no step has looked
    runtime_.parallel(chain_.n, [&](std::int64_t sample) {
      const std::int64_t pixels = chain_.h * chain_.w;
      look(sample, pixels, values_ + sample * pixels * chain_.c);
    });
  double seconds = 0;
  if (slot_.wanted.reach) slot_.channel_reach.resize(static_cast<std::size_t>(chain_.c));
  for (const std::unique_ptr<Part>& part : parts_) {
    if (slot_.wanted.histogram) part->magnitudes.flush(slot_.histogram);
    for (std::size_t k = 0; k < part->reach.size(); ++k)
      slot_.channel_reach[k] = std::max(slot_.channel_reach[k], part->reach[k]);
    seconds += part->seconds;
  }
  runtime_.precision_seconds += seconds / runtime_.pool.threads();
  if (slot_.wanted.channels) summarize_copy();
}

void Observation::summarize_copy() {
  const Timed timed(runtime_.precision_seconds);
  const std::int64_t elements = chain_.n * chain_.h * chain_.w * chain_.c;
  const std::int64_t summaries = slot_.format.granularity == ScaleGranularity::channel ? chain_.c : 1;
  merge_summaries(slot_, summarize_channels(values_, elements / summaries, summaries, runtime_.parallel));
}

}  // namespace octavo
