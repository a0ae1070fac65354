#include "exec/quantize_slot.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <optional>

#include "core/check.h"
#include "core/timed.h"
#include "exec/chain.h"
#include "exec/observe.h"
#include "sample_classes.h"

namespace octavo {
namespace {

kernels::Granularity kernel_granularity(ScaleGranularity granularity) {
  return has_sample_scales(granularity) ? kernels::Granularity::sample
                                        : static_cast<kernels::Granularity>(granularity);
}

using kernels::usable_range;

kernels::Grid grid_of(const Slot& slot) { return static_cast<kernels::Grid>(slot.format.grid); }
bool has_zero(const Slot& slot) { return kernels::has_zero(grid_of(slot)); }

}  // namespace

void refuse_non_finite(const Slot& slot, const Runtime& runtime, std::uint32_t max_bits) {
  require(max_bits < infinity_bits, Errc::numeric, "step ", runtime.step, ": the ",
          operand_name(slot.operand), " of '", slot.layer, "' holds Inf or NaN (edge '", slot.key,
          "'); weights are those before this step. Lower ",
          "optimizer.lr, add gradient.clip_norm, or compare with precision=fp32");
}

std::size_t scale_count(ScaleGranularity granularity, const kernels::Chain& chain) {
  if (granularity == ScaleGranularity::tensor) return 1;
  return static_cast<std::size_t>(has_sample_scales(granularity) ? chain.n : chain.c);
}

bool given_ranges(const Slot& slot, Phase phase, std::span<float> ranges) {
  const bool training = phase == Phase::train || slot.operand == Operand::weight;
  // A range per sample would make a batch of one differ from others: evaluation then has one range for all
  // samples.
  const bool shared = has_sample_scales(slot.format.granularity) && slot.frozen_clip.size() == 1;
  const bool held = training && slot.mode == ScaleMode::held;
  if (slot.format.fixed_clip > 0)
    std::fill(ranges.begin(), ranges.end(), slot.format.fixed_clip);
  else if (!training && shared)
    std::fill(ranges.begin(), ranges.end(), slot.frozen_clip[0]);
  else if (!training && slot.frozen_clip.size() == ranges.size())
    std::copy(slot.frozen_clip.begin(), slot.frozen_clip.end(), ranges.begin());
  else if (held && slot.format.granularity == ScaleGranularity::tensor)
    ranges[0] = slot.clip;
  else if (held && slot.channel_clip.size() == ranges.size())
    std::copy(slot.channel_clip.begin(), slot.channel_clip.end(), ranges.begin());
  else
    return false;
  return true;
}

float sample_cap(const Slot& slot) {
  const bool capped =
      slot.mode == ScaleMode::held && slot.clip > 0 && has_sample_scales(slot.format.granularity);
  return capped ? slot.clip : std::numeric_limits<float>::max();
}

void set_scale(Slot& slot, std::size_t index, float range) {
  const RangeScale to =
      usable_range(range) ? scale_of_range(slot.format, range) : kernels::scale_without_range(grid_of(slot));
  slot.scale[index] = to.scale;
  slot.inverse_scale[index] = to.inverse;
}

namespace {

// Scales without a range become the smallest of the others, so that no reader takes them for large ones.
void scales_from_ranges(Slot& slot, std::span<const float> ranges) {
  float smallest = std::numeric_limits<float>::max();
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    set_scale(slot, i, ranges[i]);
    if (usable_range(ranges[i])) smallest = std::min(smallest, slot.scale[i]);
  }
  if (smallest == std::numeric_limits<float>::max() || !has_zero(slot)) return;
  for (std::size_t i = 0; i < ranges.size(); ++i)
    if (!usable_range(ranges[i])) slot.scale[i] = smallest, slot.inverse_scale[i] = 1.0f / smallest;
}

// Each scale moves up to the next half octave below the largest: sample n then has the scale s 2^(class / 2),
// with s the scale of class 0, which is also that of samples without a range; where there is no zero, that
// class lies as low as can be.
void round_to_classes(Slot& slot, std::span<const float> ranges, std::span<int> below) {
  slot.sample_class.assign(ranges.size(), 0);
  slot.class_scale = slot.scale[0];
  float largest = 0;
  for (std::size_t n = 0; n < ranges.size(); ++n)
    if (usable_range(ranges[n])) largest = std::max(largest, slot.scale[n]);
  if (!(largest > 0)) return;
  int lowest = 0;
  std::fill(below.begin(), below.end(), kernels::most_halves_below);
  for (std::size_t n = 0; n < ranges.size(); ++n) {
    if (usable_range(ranges[n])) below[n] = kernels::halves_below(largest, slot.scale[n]);
    if (usable_range(ranges[n]) || !has_zero(slot)) lowest = std::max(lowest, below[n]);
  }
  slot.class_scale = kernels::scale_of_class(largest, -lowest);
  for (std::size_t n = 0; n < ranges.size(); ++n) {
    slot.sample_class[n] = static_cast<std::uint8_t>(lowest - std::min(lowest, below[n]));
    slot.scale[n] = kernels::scale_of_class(slot.class_scale, slot.sample_class[n]);
    slot.inverse_scale[n] = 1.0f / slot.scale[n];
  }
}

}  // namespace

void run(Runtime& runtime, kernels::Chain& chain) {
  chain.scratch = runtime.scratch(kernels::chain_scratch_bytes(chain));
  kernels::run_chain(chain, runtime.parallel);
}

void scales_from_maxima(Slot& slot, Runtime& runtime) {
  const float most = sample_cap(slot);
  const std::span<float> ranges = runtime.memory.take<float>(slot.max_bits.size());
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    refuse_non_finite(slot, runtime, slot.max_bits[i]);
    ranges[i] = std::min(most, std::bit_cast<float>(slot.max_bits[i]));
  }
  scales_from_ranges(slot, ranges);
  if (slot.format.granularity == ScaleGranularity::sample_class)
    round_to_classes(slot, ranges, runtime.memory.take<int>(ranges.size()));
}

void look_for_maximum(Slot& slot, Runtime& runtime, const kernels::Chain& chain, std::size_t count) {
  const Timed timed(runtime.precision_seconds);
  kernels::Chain pass = chain;
  pass.steps = looking_steps(runtime.memory, chain.steps).values();
  slot.max_bits.assign(count, 0);
  pass.want_max = true;
  pass.max_bits = slot.max_bits.data();
  pass.max_granularity = kernel_granularity(slot.format.granularity);
  run(runtime, pass);
}

void take_maximum(Slot& slot, Runtime& runtime, const kernels::Chain& chain, std::size_t count) {
  look_for_maximum(slot, runtime, chain, count);
  scales_from_maxima(slot, runtime);
}

kernels::Quantize describe(const Slot& slot, const Runtime& runtime, std::uint64_t first_index) {
  kernels::Quantize quantize;
  quantize.granularity = kernel_granularity(slot.format.granularity);
  quantize.inverse_scale = slot.inverse_scale.data();
  quantize.qmax = static_cast<float>(largest_integer(slot.format));
  quantize.planes = plane_count(slot.format.bits);
  quantize.is_unsigned = slot.format.unsigned_ok;
  quantize.grid = grid_of(slot);
  quantize.rounding = static_cast<kernels::Rounding>(slot.format.rounding);
  quantize.squares = slot.wanted.mean_square;
  quantize.key = runtime.random(stream_of(slot.key));
  quantize.first_index = first_index;
  return quantize;
}

namespace {

void keep_sample_maxima(Slot& slot) {
  if (!slot.wanted.histogram || !has_sample_scales(slot.format.granularity)) return;
  for (const std::uint32_t bits : slot.max_bits) slot.sample_max.push_back(std::bit_cast<float>(bits));
}

}  // namespace

void merge_channel_maxima(Slot& slot) {
  slot.channel_max.resize(slot.max_bits.size());
  for (std::size_t i = 0; i < slot.max_bits.size(); ++i)
    slot.channel_max[i] = std::max(slot.channel_max[i], std::bit_cast<float>(slot.max_bits[i]));
}

void count_tail(Slot& slot, const kernels::QuantizeStats& stats, std::int64_t elements) {
  slot.stats.merge(stats);
  slot.elements += elements;
  const float largest = *std::max_element(slot.scale.begin(), slot.scale.end());
  slot.step_clip = std::max(slot.step_clip, largest * static_cast<float>(largest_integer(slot.format)));
}

void run_tail(Runtime& runtime, Slot& slot, kernels::Chain chain, const kernels::Quantize& quantize,
              bool observed, FunctionRef<void(kernels::Chain&)> pass) {
  kernels::QuantizeStats stats;
  chain.quantize = &quantize;
  chain.stats = &stats;
  const bool channel_maxima =
      observed && slot.operand != Operand::weight && slot.format.granularity == ScaleGranularity::channel;
  if (channel_maxima) {
    slot.max_bits.assign(slot.scale.size(), 0);
    chain.want_max = true;
    chain.max_bits = slot.max_bits.data();
    chain.max_granularity = kernels::Granularity::channel;
  }
  std::optional<Observation> observation;
  if (observed && (slot.wanted.histogram || slot.wanted.channels || slot.wanted.reach))
    observation.emplace(slot, runtime, chain);
  pass(chain);
  refuse_non_finite(slot, runtime, stats.max_bits);
  if (!observed) return;
  count_tail(slot, stats, chain.n * chain.h * chain.w * chain.c);
  if (channel_maxima) merge_channel_maxima(slot);
  keep_sample_maxima(slot);
  if (observation) observation->finish();
}

}  // namespace octavo
