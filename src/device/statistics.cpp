#include "device/statistics.h"

#include <algorithm>
#include <bit>

#include "core/check.h"
#include "exec/observe.h"

namespace octavo::device {

using kernels::StepKind;
using kernels::cuda::ChainPass;

namespace {

bool asks(const StatisticsRequest& wanted) { return wanted.histogram || wanted.channels || wanted.reach; }

void add_step(ChainPass& pass, const kernels::cuda::ChainStep& step) {
  require(pass.step_count < kernels::cuda::most_chain_steps, Errc::config, "a chain of more than ",
          kernels::cuda::most_chain_steps, " steps with those of statistics; use train.device=cpu");
  pass.steps[pass.step_count++] = step;
}

std::int64_t elements_of(const kernels::cuda::ImageLayout& l) { return std::int64_t{l.n} * l.h * l.w * l.c; }

}  // namespace

std::unique_ptr<Statistics> Statistics::make(Memory& memory, Program& program, const PlanMemory& plan) {
  const bool any = std::any_of(plan.slots.begin(), plan.slots.end(),
                               [&](const SlotMemory& of) { return asks(program.slots[of.index].wanted); });
  return any ? std::make_unique<Statistics>(memory, program, plan) : nullptr;
}

Statistics::Statistics(Memory& memory, Program& program, const PlanMemory& plan) {
  Region size;
  lay_out(program, plan, size);
  counts_ = Mirror(memory, "statistics", size.used());
  Region region = counts_.region();
  lay_out(program, plan, region);
  counts_.clear(nullptr);
  check(cudaDeviceSynchronize(), "clearing of statistics");
}

void Statistics::lay_out(Program& program, const PlanMemory& plan, Region& region) {
  looks_.clear();
  for (const SlotMemory& of : plan.slots) {
    const Slot& slot = program.slots[of.index];
    if (!asks(slot.wanted)) continue;
    Look look{&of, {}, of.channels};
    if (slot.wanted.histogram) {
      look.look.counts = region.take<unsigned long long>(kernels::cuda::magnitude_bins);
      look.look.sums = region.take<unsigned long long>(kernels::cuda::magnitude_bins);
    }
    if (slot.wanted.reach) {
      look.look.reach = region.take<unsigned>(of.channels);
      look.look.inverse_scale = of.inverse;
      look.look.inverse_by_sample = has_sample_scales(slot.format.granularity) && of.samples > 1;
      look.look.qmax = static_cast<float>(largest_integer(slot.format));
    }
    looks_.push_back(look);
  }
}

const Statistics::Look* Statistics::find(const SlotMemory& of) const {
  const auto found =
      std::find_if(looks_.begin(), looks_.end(), [&](const Look& look) { return look.of == &of; });
  return found == looks_.end() ? nullptr : &*found;
}

void Statistics::add_to(Run& run, const SlotMemory& of, ChainPass& pass) {
  const Look* look = find(of);
  if (look == nullptr) return;
  const StatisticsRequest& wanted = run.slot(of).wanted;
  if (wanted.histogram || wanted.reach) {
    add_step(pass, {.kind = StepKind::look});
    pass.look = look->look;
  }
  if (!wanted.channels) return;
  values_ = run.scratch.take<float>(elements_of(pass.layout));
  add_step(pass, {.kind = StepKind::store, .out = values_});
}

void Statistics::after(Run& run, const SlotMemory& of) {
  Slot& slot = run.slot(of);
  if (!slot.wanted.channels) return;
  std::vector<float> values(static_cast<std::size_t>(of.elements));
  check(cudaMemcpyAsync(values.data(), values_, values.size() * sizeof(float), cudaMemcpyDeviceToHost,
                        run.stream),
        "values for summaries");
  check(cudaStreamSynchronize(run.stream), "values for summaries");
  const std::int64_t summaries = slot.format.granularity == ScaleGranularity::channel ? of.channels : 1;
  merge_summaries(slot, summarize_channels(values.data(), of.elements / summaries, summaries,
                                           run.program.runtime().parallel));
}

void Statistics::of_weights(Run& run, const WeightMemory& copy, const float* weights, const float* factor) {
  const SlotMemory& of = *copy.slot;
  if (find(of) == nullptr) return;
  require(factor == nullptr, Errc::config,
          "train.device: statistics of weights times scales of gradients have no kernels on the device");
  ChainPass pass;
  pass.layout = {copy.layout.k, 1, copy.layout.taps, copy.layout.inputs(), 1};
  pass.x = weights;
  add_to(run, of, pass);
  kernels::cuda::run_chain(pass, run.stream);
  after(run, of);
}

void Statistics::finish(Program& program) {
  counts_.to_host(nullptr);
  check(cudaDeviceSynchronize(), "statistics");
  for (const Look& look : looks_) {
    Slot& slot = program.slots[look.of->index];
    if (slot.wanted.histogram) {
      const unsigned long long *counts = counts_.host(look.look.counts), *sums = counts_.host(look.look.sums);
      for (std::size_t bin = 0; bin < slot.histogram.counts.size(); ++bin)
        slot.histogram.counts[bin] += counts[bin], slot.histogram.sums[bin] += sums[bin];
    }
    if (slot.wanted.reach) {
      const unsigned* reach = counts_.host(look.look.reach);
      slot.channel_reach.resize(static_cast<std::size_t>(look.channels));
      for (std::size_t k = 0; k < slot.channel_reach.size(); ++k)
        slot.channel_reach[k] = std::max(slot.channel_reach[k], std::bit_cast<float>(reach[k]));
    }
    if (!slot.wanted.histogram || !has_sample_scales(slot.format.granularity)) continue;
    std::vector<std::uint32_t> bits(static_cast<std::size_t>(look.of->ranges_count));
    check(cudaMemcpy(bits.data(), look.of->max_bits, bits.size() * sizeof(std::uint32_t),
                     cudaMemcpyDeviceToHost),
          "maxima of samples");
    for (const std::uint32_t of_sample : bits) slot.sample_max.push_back(std::bit_cast<float>(of_sample));
  }
}

}  // namespace octavo::device
