// The two internal ops: quantize an edge, and run a chain of fused pointwise nodes with an optional quantize
// tail.
#include <algorithm>
#include <bit>
#include <cmath>

#include "core/check.h"
#include "exec/chain.h"
#include "exec/context.h"
#include "graph/internal_ops.h"
#include "precision/statistics.h"

namespace octavo {
namespace {

constexpr std::uint32_t infinity_bits = 0x7F800000u;

bool by_sample(ScaleGranularity granularity) {
  return granularity == ScaleGranularity::sample || granularity == ScaleGranularity::sample_class;
}

kernels::Granularity kernel_granularity(ScaleGranularity granularity) {
  return by_sample(granularity) ? kernels::Granularity::sample
                                : static_cast<kernels::Granularity>(granularity);
}

std::size_t scale_count(ScaleGranularity granularity, const kernels::Chain& chain) {
  if (granularity == ScaleGranularity::tensor) return 1;
  return static_cast<std::size_t>(by_sample(granularity) ? chain.n : chain.c);
}

void refuse_non_finite(const Slot& slot, const Runtime& runtime, std::uint32_t max_bits) {
  require(max_bits < infinity_bits, Errc::numeric, "step ", runtime.step, ": the ",
          operand_name(slot.operand), " of '", slot.layer, "' holds Inf or NaN (edge '", slot.key,
          "'); weights are those before this step. Lower ",
          "optimizer.lr, add gradient.clip_norm, or compare with precision=fp32");
}

// scale = clip / qmax, or the power of two above it; a zero or denormal range gives scale 1, so that all
// integers are 0.
void set_scale(Slot& slot, std::size_t index, float clip) {
  const auto qmax = static_cast<float>(largest_integer(slot.format));
  const bool usable = clip >= 1e-30f;
  if (usable && slot.format.power_of_two) {
    slot.scale[index] = power_of_two_above(clip / qmax);
    slot.inverse_scale[index] = 1.0f / slot.scale[index];
    return;
  }
  slot.scale[index] = usable ? clip / qmax : 1.0f;
  slot.inverse_scale[index] = usable ? qmax / clip : 1.0f;
}

// Each scale moves up to the next half octave below the largest: sample n then has the scale
// s 2^(class / 2), with s the scale of class 0. Samples of zeros lie in the class of the smallest.
void round_to_classes(Slot& slot) {
  constexpr int most = 23;
  const std::size_t count = slot.scale.size();
  const float largest = *std::max_element(slot.scale.begin(), slot.scale.end());
  slot.sample_class.resize(count);
  int lowest = 0;
  for (std::size_t n = 0; n < count; ++n) {
    const bool zeros = slot.max_bits[n] == 0;
    const double below = zeros ? most : std::floor(2 * std::log2(double{largest} / slot.scale[n]));
    slot.sample_class[n] = static_cast<std::uint8_t>(std::clamp(below, 0.0, double{most}));
    if (!zeros) lowest = std::max<int>(lowest, slot.sample_class[n]);
  }
  const float smallest = class_scale(largest, -lowest);
  for (std::size_t n = 0; n < count; ++n) {
    slot.sample_class[n] = static_cast<std::uint8_t>(lowest - std::min<int>(lowest, slot.sample_class[n]));
    slot.scale[n] = class_scale(smallest, slot.sample_class[n]);
    slot.inverse_scale[n] = 1.0f / slot.scale[n];
  }
}

// The chain without what it leaves in memory: for a pass that only looks.
kernels::Chain looking(const kernels::Chain& chain) {
  kernels::Chain pass = chain;
  std::erase_if(pass.steps, [](const kernels::Step& step) {
    return step.kind == kernels::StepKind::store || step.kind == kernels::StepKind::store_bits;
  });
  return pass;
}

void run(Runtime& runtime, kernels::Chain& chain) {
  chain.scratch = runtime.scratch(kernels::chain_scratch_bytes(chain));
  kernels::run_chain(chain, runtime.parallel);
}

void take_maximum(Slot& slot, Runtime& runtime, const kernels::Chain& chain, std::size_t count) {
  kernels::Chain pass = looking(chain);
  slot.max_bits.assign(count, 0);
  pass.want_max = true;
  pass.max_bits = slot.max_bits.data();
  pass.max_granularity = kernel_granularity(slot.format.granularity);
  run(runtime, pass);
  for (std::size_t i = 0; i < count; ++i) {
    refuse_non_finite(slot, runtime, slot.max_bits[i]);
    set_scale(slot, i, std::bit_cast<float>(slot.max_bits[i]));
  }
  if (slot.format.granularity == ScaleGranularity::sample_class) round_to_classes(slot);
}

// Training holds or takes the range as the controller said; evaluation uses the frozen range of activations.
void choose_scale(Slot& slot, Runtime& runtime, const kernels::Chain& chain, Phase phase) {
  const std::size_t count = scale_count(slot.format.granularity, chain);
  slot.scale.resize(count);
  slot.inverse_scale.resize(count);
  // A range per sample would make a batch of one differ from others: evaluation then has one range for all
  // samples.
  const bool shared = by_sample(slot.format.granularity) && slot.frozen_clip.size() == 1;
  const bool held = phase == Phase::train && slot.mode == ScaleMode::held;
  if (phase == Phase::eval && (shared || slot.frozen_clip.size() == count)) {
    for (std::size_t i = 0; i < count; ++i) set_scale(slot, i, slot.frozen_clip[shared ? 0 : i]);
  } else if (held && slot.format.granularity == ScaleGranularity::tensor) {
    set_scale(slot, 0, slot.clip);
  } else if (held && slot.channel_clip.size() == count) {
    for (std::size_t i = 0; i < count; ++i) set_scale(slot, i, slot.channel_clip[i]);
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
  quantize.rounding = static_cast<kernels::Rounding>(slot.format.rounding);
  quantize.key = runtime.random(stream_of(slot.key));
  quantize.first_index = first_index;
  return quantize;
}

// The values that the chain ends with: stored already, or by a pass of its own.
const float* final_values(Runtime& runtime, const kernels::Chain& chain) {
  if (chain.steps.empty()) return chain.x;
  if (chain.steps.back().kind == kernels::StepKind::store) return chain.steps.back().out;
  kernels::Chain pass = looking(chain);
  float* buffer = runtime.statistics_buffer(chain.n * chain.h * chain.w * chain.c);
  pass.steps.push_back({.kind = kernels::StepKind::store, .out = buffer});
  run(runtime, pass);
  return buffer;
}

// The mean over micro-steps, which are of equal size.
void merge_channels(Slot& slot, const std::vector<ChannelSummary>& more) {
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

void observe(Slot& slot, Runtime& runtime, const kernels::Chain& chain) {
  const std::int64_t pixels = chain.n * chain.h * chain.w;
  if (!slot.wanted.histogram && !slot.wanted.channels) return;
  const float* values = final_values(runtime, chain);
  if (slot.wanted.histogram) count_magnitudes(values, pixels * chain.c, slot.histogram, runtime.parallel);
  if (!slot.wanted.channels) return;
  // Where all elements share a scale, the tensor is one channel.
  const std::int64_t channels = slot.format.granularity == ScaleGranularity::channel ? chain.c : 1;
  merge_channels(slot, summarize_channels(values, pixels * chain.c / channels, channels, runtime.parallel));
}

void merge_maxima(Slot& slot, const std::vector<std::uint32_t>& bits) {
  slot.channel_max.resize(bits.size());
  for (std::size_t i = 0; i < bits.size(); ++i)
    slot.channel_max[i] = std::max(slot.channel_max[i], std::bit_cast<float>(bits[i]));
}

// Runs the chain with its tail; `observed` adds what it saw to the slot's statistics.
void run_tail(Runtime& runtime, Slot& slot, kernels::Chain chain, const kernels::Quantize& quantize,
              bool observed) {
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
  run(runtime, chain);
  refuse_non_finite(slot, runtime, stats.max_bits);
  if (!observed) return;
  slot.stats.merge(stats);
  slot.elements += chain.n * chain.h * chain.w * chain.c;
  const float largest = *std::max_element(slot.scale.begin(), slot.scale.end());
  slot.step_clip = std::max(slot.step_clip, largest * quantize.qmax);
  if (channel_maxima) merge_maxima(slot, slot.max_bits);
  observe(slot, runtime, chain);
}

// Filters that share their scales, [k, taps, c]; the slot then holds these scales alone.
void quantize_filters(Runtime& runtime, Slot& slot, const kernels::Chain& chain, std::uint64_t first_index,
                      std::int8_t* plain) {
  const std::size_t count = scale_count(slot.format.granularity, chain);
  slot.scale.resize(count);
  slot.inverse_scale.resize(count);
  if (slot.mode == ScaleMode::held && slot.format.granularity == ScaleGranularity::tensor)
    set_scale(slot, 0, slot.clip);
  else
    take_maximum(slot, runtime, chain, count);
  kernels::Quantize quantize = describe(slot, runtime, first_index);
  quantize.views = {{.layout = kernels::Layout::plain, .n = chain.n, .h = 1, .w = chain.w, .c = chain.c}};
  quantize.targets = {plain};
  run_tail(runtime, slot, chain, quantize, true);
}

}  // namespace

void run_quantized(Program& program, const Plan& plan, const kernels::Chain& chain,
                   const std::vector<ValueId>& views) {
  Runtime& runtime = program.runtime();
  Slot& slot = program.slots[plan.graph.value(views[0]).slot];
  choose_scale(slot, runtime, chain, plan.graph.phase);
  kernels::Quantize quantize =
      describe(slot, runtime, runtime.first_index(chain.n * chain.h * chain.w * chain.c));
  for (ValueId id : views) {
    quantize.views.push_back(plan.graph.value(id).view);
    quantize.targets.push_back(program.address(plan, id));
  }
  run_tail(runtime, slot, chain, quantize, plan.graph.phase == Phase::train);
}

void quantize_weights(Program& program, Slot& slot, const float* weights, const Shape& shape,
                      std::int64_t groups, std::int8_t* plain) {
  const std::int64_t k = shape[0], c = shape.back(), taps = shape.elements() / (k * c);
  const SlotFormat format = slot.format;
  // Rows of output channels are what the chain calls samples.
  if (slot.per_output_channel) slot.format.granularity = ScaleGranularity::sample;
  // Scales by input channel: each group of filters reads input channels of its own.
  const std::int64_t parts = slot.format.granularity == ScaleGranularity::channel ? groups : 1;
  std::vector<float> scale, inverse_scale;
  for (std::int64_t part = 0; part < parts; ++part) {
    const std::int64_t begin = part * (shape.elements() / parts);
    kernels::Chain chain;
    chain.n = k / parts;
    chain.w = taps;
    chain.c = c;
    chain.x = weights + begin;
    quantize_filters(program.runtime(), slot, chain, static_cast<std::uint64_t>(begin), plain + begin);
    scale.insert(scale.end(), slot.scale.begin(), slot.scale.end());
    inverse_scale.insert(inverse_scale.end(), slot.inverse_scale.begin(), slot.inverse_scale.end());
  }
  slot.scale = std::move(scale);
  slot.inverse_scale = std::move(inverse_scale);
  slot.format = format;
}

namespace {

void quantize_forward(OpContext& context) {
  auto& node_context = static_cast<NodeContext&>(context);
  const Node& node = node_context.node();
  const kernels::View& view = node_context.plan().graph.value(node.views[0]).view;
  kernels::Chain chain;
  chain.n = view.n;
  chain.h = view.h;
  chain.w = view.w;
  chain.c = view.c;
  chain.x = context.in<float>(0);
  run_quantized(node_context.program(), node_context.plan(), chain, node.views);
}

const float* entry_of(const NodeContext& first, const Node& node) {
  return node.pass == Pass::forward ? first.in<float>(0) : first.grad_output(0);
}

void chain_forward(OpContext& context) {
  auto& outer = static_cast<NodeContext&>(context);
  Program& program = outer.program();
  const Node& node = outer.node();
  const NodeRun no_kernels;
  const Node& first = node.chain[0];
  const TensorType& type =
      first.pass == Pass::forward ? first.signature->inputs[0] : first.signature->outputs[0];
  ChainBuilder builder(program.runtime(), geometry(type.shape),
                       entry_of(NodeContext(program, outer.plan(), first, no_kernels), first));
  for (std::size_t i = 0; i < node.chain.size(); ++i) {
    const Node& member = node.chain[i];
    NodeContext inner(program, outer.plan(), member, no_kernels);
    if (member.pass == Pass::forward)
      member.op->chain_forward(inner, builder);
    else
      member.op->chain_backward(inner, builder);
    if (node.chain_store[i] != no_value)
      builder.store(static_cast<float*>(program.address(outer.plan(), node.chain_store[i])));
  }
  if (node.views.empty())
    builder.run();
  else
    run_quantized(program, outer.plan(), builder.chain(), node.views);
}

}  // namespace

const OpDef& quantize_op() {
  static const OpDef op = [] {
    OpDef def;
    def.type = "quantize";
    def.forward = quantize_forward;
    return def;
  }();
  return op;
}

const OpDef& chain_op() {
  static const OpDef op = [] {
    OpDef def;
    def.type = "chain";
    def.forward = chain_forward;
    return def;
  }();
  return op;
}

}  // namespace octavo
