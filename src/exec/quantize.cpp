#include "exec/quantize.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>

#include "core/check.h"
#include "core/timed.h"
#include "exec/chain.h"
#include "exec/observe.h"
#include "exec/weight_transform.h"

namespace octavo {
namespace {

constexpr std::uint32_t infinity_bits = 0x7F800000u;

kernels::Granularity kernel_granularity(ScaleGranularity granularity) {
  return has_sample_scales(granularity) ? kernels::Granularity::sample
                                        : static_cast<kernels::Granularity>(granularity);
}

std::size_t scale_count(ScaleGranularity granularity, const kernels::Chain& chain) {
  if (granularity == ScaleGranularity::tensor) return 1;
  return static_cast<std::size_t>(has_sample_scales(granularity) ? chain.n : chain.c);
}

void refuse_non_finite(const Slot& slot, const Runtime& runtime, std::uint32_t max_bits) {
  require(max_bits < infinity_bits, Errc::numeric, "step ", runtime.step, ": the ",
          operand_name(slot.operand), " of '", slot.layer, "' holds Inf or NaN (edge '", slot.key,
          "'); weights are those before this step. Lower ",
          "optimizer.lr, add gradient.clip_norm, or compare with precision=fp32");
}

// A smaller range is none: zeros and denormals.
bool usable(float range) { return range >= 1e-30f; }

bool has_zero(const Slot& slot) { return slot.format.grid != IntegerGrid::odd; }

// Without a range all values are as good as 0 and any scale does, but for integers without a zero: a scale of
// 0 makes the values 0.
void set_scale(Slot& slot, std::size_t index, float range) {
  const RangeScale to =
      usable(range) ? scale_of_range(slot.format, range) : RangeScale{has_zero(slot) ? 1.0f : 0.0f, 1.0f};
  slot.scale[index] = to.scale;
  slot.inverse_scale[index] = to.inverse;
}

// Scales without a range become the smallest of the others, so that no reader takes them for large ones.
void scales_from_ranges(Slot& slot, std::span<const float> ranges) {
  float smallest = std::numeric_limits<float>::max();
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    set_scale(slot, i, ranges[i]);
    if (usable(ranges[i])) smallest = std::min(smallest, slot.scale[i]);
  }
  if (smallest == std::numeric_limits<float>::max() || !has_zero(slot)) return;
  for (std::size_t i = 0; i < ranges.size(); ++i)
    if (!usable(ranges[i])) slot.scale[i] = smallest, slot.inverse_scale[i] = 1.0f / smallest;
}

// Each scale moves up to the next half octave below the largest: sample n then has the scale s 2^(class / 2),
// with s the scale of class 0, which is also that of samples without a range; where there is no zero, that
// class lies as low as can be.
void round_to_classes(Slot& slot, std::span<const float> ranges, std::span<int> below) {
  constexpr int most = 23;  // 11.5 octaves: gradients below that are nothing beside the largest
  static_assert(most <= kernels::most_sample_class);
  slot.sample_class.assign(ranges.size(), 0);
  slot.class_scale = slot.scale[0];
  float largest = 0;
  for (std::size_t n = 0; n < ranges.size(); ++n)
    if (usable(ranges[n])) largest = std::max(largest, slot.scale[n]);
  if (!(largest > 0)) return;
  int lowest = 0;
  std::fill(below.begin(), below.end(), most);
  for (std::size_t n = 0; n < ranges.size(); ++n) {
    if (usable(ranges[n]))
      below[n] = static_cast<int>(
          std::clamp(std::floor(2 * std::log2(double{largest} / slot.scale[n])), 0.0, double{most}));
    if (usable(ranges[n]) || !has_zero(slot)) lowest = std::max(lowest, below[n]);
  }
  slot.class_scale = scale_of_class(largest, -lowest);
  for (std::size_t n = 0; n < ranges.size(); ++n) {
    slot.sample_class[n] = static_cast<std::uint8_t>(lowest - std::min(lowest, below[n]));
    slot.scale[n] = scale_of_class(slot.class_scale, slot.sample_class[n]);
    slot.inverse_scale[n] = 1.0f / slot.scale[n];
  }
}

void run(Runtime& runtime, kernels::Chain& chain) {
  chain.scratch = runtime.scratch(kernels::chain_scratch_bytes(chain));
  kernels::run_chain(chain, runtime.parallel);
}

void scales_from_maxima(Slot& slot, Runtime& runtime) {
  // A held range cannot be each sample's: it is the most that any of them covers.
  const bool capped =
      slot.mode == ScaleMode::held && slot.clip > 0 && has_sample_scales(slot.format.granularity);
  const float most = capped ? slot.clip : std::numeric_limits<float>::max();
  const std::span<float> ranges = runtime.memory.take<float>(slot.max_bits.size());
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    refuse_non_finite(slot, runtime, slot.max_bits[i]);
    ranges[i] = std::min(most, std::bit_cast<float>(slot.max_bits[i]));
  }
  scales_from_ranges(slot, ranges);
  if (slot.format.granularity == ScaleGranularity::sample_class)
    round_to_classes(slot, ranges, runtime.memory.take<int>(ranges.size()));
}

void take_maximum(Slot& slot, Runtime& runtime, const kernels::Chain& chain, std::size_t count) {
  const Timed timed(runtime.precision_seconds);
  kernels::Chain pass = chain;
  pass.steps = looking_steps(runtime.memory, chain.steps).values();
  slot.max_bits.assign(count, 0);
  pass.want_max = true;
  pass.max_bits = slot.max_bits.data();
  pass.max_granularity = kernel_granularity(slot.format.granularity);
  run(runtime, pass);
  scales_from_maxima(slot, runtime);
}

// Training holds or takes the range as the controller said; evaluation uses the frozen range of activations.
void choose_scale(Slot& slot, Runtime& runtime, const kernels::Chain& chain, Phase phase,
                  std::span<const std::uint32_t> sample_maxima) {
  const std::size_t count = scale_count(slot.format.granularity, chain);
  slot.scale.resize(count);
  slot.inverse_scale.resize(count);
  // A range per sample would make a batch of one differ from others: evaluation then has one range for all
  // samples.
  const bool shared = has_sample_scales(slot.format.granularity) && slot.frozen_clip.size() == 1;
  const bool held = phase == Phase::train && slot.mode == ScaleMode::held;
  if (slot.format.fixed_clip > 0) {
    for (std::size_t i = 0; i < count; ++i) set_scale(slot, i, slot.format.fixed_clip);
  } else if (phase == Phase::eval && (shared || slot.frozen_clip.size() == count)) {
    for (std::size_t i = 0; i < count; ++i) set_scale(slot, i, slot.frozen_clip[shared ? 0 : i]);
  } else if (held && slot.format.granularity == ScaleGranularity::tensor) {
    set_scale(slot, 0, slot.clip);
  } else if (held && slot.channel_clip.size() == count) {
    for (std::size_t i = 0; i < count; ++i) set_scale(slot, i, slot.channel_clip[i]);
  } else if (!sample_maxima.empty() && !slot.look_again) {
    slot.max_bits.assign(sample_maxima.begin(), sample_maxima.end());
    scales_from_maxima(slot, runtime);
  } else {
    take_maximum(slot, runtime, chain, count);
  }
}

// The quantization of one pass, with the scales that the slot holds now.
kernels::Quantize describe(const Slot& slot, const Runtime& runtime, std::uint64_t first_index) {
  kernels::Quantize quantize;
  quantize.granularity = kernel_granularity(slot.format.granularity);
  quantize.inverse_scale = slot.inverse_scale.data();
  quantize.qmax = static_cast<float>(largest_integer(slot.format));
  quantize.planes = plane_count(slot.format.bits);
  quantize.is_unsigned = slot.format.unsigned_ok;
  quantize.grid = static_cast<kernels::Grid>(slot.format.grid);
  quantize.rounding = static_cast<kernels::Rounding>(slot.format.rounding);
  quantize.key = runtime.random(stream_of(slot.key));
  quantize.first_index = first_index;
  return quantize;
}

void keep_sample_maxima(Slot& slot) {
  if (!slot.wanted.histogram || !has_sample_scales(slot.format.granularity)) return;
  for (const std::uint32_t bits : slot.max_bits) slot.sample_max.push_back(std::bit_cast<float>(bits));
}

void merge_maxima(Slot& slot, const std::vector<std::uint32_t>& bits) {
  slot.channel_max.resize(bits.size());
  for (std::size_t i = 0; i < bits.size(); ++i)
    slot.channel_max[i] = std::max(slot.channel_max[i], std::bit_cast<float>(bits[i]));
}

// Runs the chain with its tail, by `pass`; `observed` adds what it saw to the slot's statistics.
template <class Pass>
void run_tail(Runtime& runtime, Slot& slot, kernels::Chain chain, const kernels::Quantize& quantize,
              bool observed, const Pass& pass) {
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
  slot.stats.merge(stats);
  slot.elements += chain.n * chain.h * chain.w * chain.c;
  const float largest = *std::max_element(slot.scale.begin(), slot.scale.end());
  slot.step_clip = std::max(slot.step_clip, largest * quantize.qmax);
  if (channel_maxima) merge_maxima(slot, slot.max_bits);
  keep_sample_maxima(slot);
  if (observation) observation->finish();
}

// What is known of the filters that a part of the weights consists of.
struct FilterFacts {
  const float* factor;                     // of each; null: 1
  std::span<const std::uint32_t> row_max;  // before the factor; empty: not known
};

// Rounding keeps the order of products: the largest of a filter times its factor is the largest.
void merge_row_maxima(Slot& slot, const FilterFacts& filters) {
  const bool each = slot.format.granularity != ScaleGranularity::tensor;
  for (std::size_t k = 0; k < filters.row_max.size(); ++k) {
    std::uint32_t bits = filters.row_max[k];
    if (filters.factor != nullptr && bits < infinity_bits)
      bits = std::bit_cast<std::uint32_t>(std::bit_cast<float>(bits) * filters.factor[k]);
    std::uint32_t& most = slot.max_bits[each ? k : 0];
    most = std::max(most, bits);
  }
}

void take_channel_maxima(Slot& slot, Runtime& runtime, const kernels::Chain& filters, const float* factor) {
  const Timed timed(runtime.precision_seconds);
  const kernels::WeightShape shape{filters.n, filters.w, filters.c, 1};
  const std::span<std::uint32_t> scratch =
      runtime.memory.take<std::uint32_t>(static_cast<std::size_t>(kernels::weight_maxima_words(shape)));
  kernels::weight_maxima(shape, filters.x.as<float>(), factor, slot.max_bits.data(), scratch.data(),
                         runtime.parallel);
}

// The scales of filters [k, taps, c] that share them; the slot then holds these alone.
void choose_filter_scale(Slot& slot, Runtime& runtime, const kernels::Chain& chain,
                         const FilterFacts& filters) {
  const std::size_t count = scale_count(slot.format.granularity, chain);
  slot.scale.resize(count);
  slot.inverse_scale.resize(count);
  const bool by_channel = slot.format.granularity == ScaleGranularity::channel;
  if (slot.format.fixed_clip > 0 ||
      (slot.mode == ScaleMode::held && slot.format.granularity == ScaleGranularity::tensor)) {
    for (std::size_t i = 0; i < count; ++i)
      set_scale(slot, i, slot.format.fixed_clip > 0 ? slot.format.fixed_clip : slot.clip);
    return;
  }
  if (filters.factor == nullptr && (by_channel || filters.row_max.empty()))
    return take_maximum(slot, runtime, chain, count);
  slot.max_bits.assign(count, 0);
  by_channel ? take_channel_maxima(slot, runtime, chain, filters.factor) : merge_row_maxima(slot, filters);
  scales_from_maxima(slot, runtime);
}

}  // namespace

const float* inverse_factors(Slot& slot, std::int64_t channels) {
  if (!slot.format.channel_factors) return nullptr;
  const auto count = static_cast<std::size_t>(channels);
  if (slot.channel_factor.size() != count) slot.channel_factor.assign(count, 1.0f);
  slot.inverse_factor.clear();
  for (const float factor : slot.channel_factor) slot.inverse_factor.push_back(1.0f / factor);
  return slot.inverse_factor.data();
}

namespace {

// v = v * factor[c] at the end of the chain: in the vectors of a last combine(), else a step of its own.
void multiply_channels(NodeMemory& memory, kernels::Chain& chain, const float* factor) {
  const bool joins = !chain.steps.empty() && chain.steps.back().kind == kernels::StepKind::combine;
  const std::span<kernels::Step> steps = memory.copy(chain.steps, joins ? 0 : 1);
  chain.steps = steps;
  kernels::Step& last = steps.back();
  if (!joins) {
    last = {.kind = kernels::StepKind::scale_shift, .a = factor};
    return;
  }
  const auto multiply = [&](const float* from) {
    const std::span<float> to = memory.take<float>(static_cast<std::size_t>(chain.c));
    for (std::size_t k = 0; k < to.size(); ++k) to[k] = from[k] * factor[k];
    return to.data();
  };
  last.a = last.a != nullptr ? multiply(last.a) : factor;  // none: ones
  if (last.b != nullptr) last.b = multiply(last.b);
  if (last.d != nullptr) last.d = multiply(last.d);
}

}  // namespace

void quantize_edge(Runtime& runtime, Slot& slot, kernels::Chain chain, Phase phase,
                   const QuantizeTargets& to) {
  if (const float* inverse = inverse_factors(slot, chain.c))
    multiply_channels(runtime.memory, chain, inverse);
  if (!to.known) choose_scale(slot, runtime, chain, phase, to.sample_maxima);
  kernels::Quantize quantize =
      describe(slot, runtime, runtime.first_index(chain.n * chain.h * chain.w * chain.c));
  quantize.views = to.views;
  quantize.targets = to.targets;
  if (slot.format.channel_factors) {
    slot.channel_scale.clear();
    for (const float factor : slot.channel_factor) slot.channel_scale.push_back(slot.class_scale * factor);
  }
  run_tail(runtime, slot, chain, quantize, phase == Phase::train && !to.known,
           [&](kernels::Chain& whole) { run(runtime, whole); });
}

void quantize_weights(Runtime& runtime, Slot& slot, const Weights& weights,
                      std::span<const kernels::PackTarget> targets) {
  const std::int64_t elements = weights.shape.elements(), k = weights.shape[0], c = weights.shape.back();
  const float *values = weights.values, *factor = weights.factor;
  std::span<const std::uint32_t> row_max = weights.row_max;
  if (slot.format.tanh) {
    float* squeezed = runtime.statistics_buffer(elements);
    squeeze_weights(values, elements, squeezed);
    values = squeezed;
    row_max = {};
  }
  const ScaleGranularity granularity = slot.format.granularity;
  // Rows of output channels are what the chain calls samples. In depthwise layers they are the input
  // channels.
  const bool by_row =
      slot.per_output_channel || (granularity == ScaleGranularity::channel && c == 1 && k == weights.groups);
  if (by_row) slot.format.granularity = ScaleGranularity::sample;
  // Statistics are those of the products with the factors; maxima of rows that nobody knows take a pass too.
  const bool by_channel = slot.format.granularity == ScaleGranularity::channel;
  if (factor != nullptr &&
      (slot.wanted.histogram || slot.wanted.channels || (!by_channel && row_max.empty()))) {
    float* folded = runtime.statistics_buffer(elements);
    for (std::int64_t i = 0; i < elements; ++i) folded[i] = values[i] * factor[i / (elements / k)];
    values = folded;
    factor = nullptr;
    row_max = {};
  }
  // Scales by input channel: each group of filters reads input channels of its own.
  const std::int64_t parts = slot.format.granularity == ScaleGranularity::channel ? weights.groups : 1;
  const kernels::WeightShape shape{k, elements / (k * c), c, weights.groups};
  kernels::WeightPass pass(shape, plane_count(slot.format.bits), targets, factor);
  pass.begin(runtime.integers(pass.plain_bytes()));
  NodeList<float> scale(runtime.memory), inverse_scale(runtime.memory);
  for (std::int64_t first = 0; first < k; first += k / parts) {
    kernels::Chain chain{.n = k / parts, .w = shape.taps, .c = c, .x = values + first * shape.row()};
    const auto begin = static_cast<std::size_t>(first), rows = static_cast<std::size_t>(k / parts);
    choose_filter_scale(slot, runtime, chain,
                        {factor != nullptr ? factor + first : nullptr,
                         row_max.empty() ? row_max : row_max.subspan(begin, rows)});
    const kernels::Quantize quantize =
        describe(slot, runtime, static_cast<std::uint64_t>(first * shape.row()));
    run_tail(runtime, slot, chain, quantize, true, [&](kernels::Chain& filters) {
      filters.scratch = runtime.scratch(kernels::chain_scratch_bytes(filters));
      pass.run(filters, first, runtime.parallel);
    });
    for (std::size_t i = 0; i < slot.scale.size(); ++i)
      scale.push_back(slot.scale[i]), inverse_scale.push_back(slot.inverse_scale[i]);
  }
  pass.finish(runtime.parallel);
  slot.scale.assign(scale.values().begin(), scale.values().end());
  slot.inverse_scale.assign(inverse_scale.values().begin(), inverse_scale.values().end());
  slot.format.granularity = granularity;
}

const float* folded_factors(const Slot& gradient) {
  return (gradient.format.channel_factors ? gradient.channel_factor : gradient.scale).data();
}

void run_integer_product(Runtime& runtime, const IntegerProduct& product) {
  const Slot &a = product.a_slot, &b = product.b_slot;
  const bool by_class =
      product.which == LayerProduct::grad_weight && b.format.granularity == ScaleGranularity::sample_class;
  kernels::ConvArgs args;
  args.a = product.a;
  args.b = product.b;
  args.a_planes = plane_count(a.format.bits);
  args.b_planes = plane_count(b.format.bits);
  constexpr float one = 1;
  const bool folded_away = product.folded && a.format.granularity == ScaleGranularity::channel;
  args.a_scale = folded_away ? &one : a.scale.data();
  args.a_scale_vector = a.format.granularity != ScaleGranularity::tensor && !folded_away;
  args.b_scale = !by_class                  ? b.scale.data()
                 : b.format.channel_factors ? b.channel_scale.data()
                                            : &b.class_scale;
  args.b_scale_vector =
      by_class ? b.format.channel_factors : b.format.granularity != ScaleGranularity::tensor;
  args.sample_class = by_class ? b.sample_class.data() : nullptr;
  args.bias = product.bias;
  args.out = product.out;
  args.accumulate = product.accumulate;
  args.scratch = runtime.scratch(product.kernel.scratch_bytes(args));
  product.kernel.run(args, runtime.parallel);
}

}  // namespace octavo
