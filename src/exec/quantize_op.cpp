// The two internal ops: quantize an edge, and run a chain of fused pointwise nodes with an optional quantize
// tail.
#include <algorithm>
#include <bit>
#include <cmath>

#include "core/check.h"
#include "exec/chain.h"
#include "exec/context.h"
#include "graph/internal_ops.h"

namespace octavo {
namespace {

constexpr std::uint32_t infinity_bits = 0x7F800000u;

std::size_t scale_count(ScaleGranularity granularity, const kernels::Chain& chain) {
  if (granularity == ScaleGranularity::tensor) return 1;
  return static_cast<std::size_t>(granularity == ScaleGranularity::channel ? chain.c : chain.n);
}

void refuse_non_finite(const Slot& slot, const Runtime& runtime, std::uint32_t max_bits) {
  require(max_bits < infinity_bits, Errc::numeric, "step ", runtime.step, ": the ",
          operand_name(slot.operand), " of '", slot.layer, "' holds Inf or NaN (edge '", slot.key,
          "'); weights are those before this step. Lower ",
          "optimizer.lr, add gradient.clip_norm, or compare with precision=fp32");
}

// scale = clip / qmax; a zero or denormal range gives scale 1, so that all integers are 0.
void set_scale(Slot& slot, std::size_t index, float clip) {
  const float qmax = quantized_max(slot.format.bits);
  const bool usable = clip >= 1e-30f;
  slot.scale[index] = usable ? clip / qmax : 1.0f;
  slot.inverse_scale[index] = usable ? qmax / clip : 1.0f;
}

void take_maximum(Slot& slot, Runtime& runtime, const kernels::Chain& chain, std::size_t count) {
  kernels::Chain pass = chain;
  std::erase_if(pass.steps, [](const kernels::Step& step) {
    return step.kind == kernels::StepKind::store || step.kind == kernels::StepKind::store_bits;
  });
  slot.max_bits.assign(count, 0);
  pass.want_max = true;
  pass.max_bits = slot.max_bits.data();
  pass.max_granularity = static_cast<kernels::Granularity>(slot.format.granularity);
  pass.scratch = runtime.scratch(kernels::chain_scratch_bytes(pass));
  kernels::run_chain(pass, runtime.parallel);
  for (std::size_t i = 0; i < count; ++i) {
    refuse_non_finite(slot, runtime, slot.max_bits[i]);
    set_scale(slot, i, std::bit_cast<float>(slot.max_bits[i]));
  }
}

// Training holds or takes the range as the controller said; evaluation uses the frozen range of activations.
void choose_scale(Slot& slot, Runtime& runtime, const kernels::Chain& chain, Phase phase) {
  const std::size_t count = scale_count(slot.format.granularity, chain);
  slot.scale.resize(count);
  slot.inverse_scale.resize(count);
  // A range per sample would make a batch of one differ from others: evaluation then has one range for all
  // samples.
  const bool shared = slot.format.granularity == ScaleGranularity::sample && slot.frozen_clip.size() == 1;
  if (phase == Phase::eval && (shared || slot.frozen_clip.size() == count)) {
    for (std::size_t i = 0; i < count; ++i) set_scale(slot, i, slot.frozen_clip[shared ? 0 : i]);
  } else if (phase == Phase::train && slot.mode == ScaleMode::held && count == 1) {
    set_scale(slot, 0, slot.clip);
  } else {
    take_maximum(slot, runtime, chain, count);
  }
}

// The quantization of one pass, with the scales that the slot holds now.
kernels::Quantize describe(const Slot& slot, const Runtime& runtime, std::uint64_t first_index) {
  kernels::Quantize quantize;
  quantize.granularity = static_cast<kernels::Granularity>(slot.format.granularity);
  quantize.inverse_scale = slot.inverse_scale.data();
  quantize.qmax = quantized_max(slot.format.bits);
  quantize.rounding = static_cast<kernels::Rounding>(slot.format.rounding);
  quantize.key = runtime.random(stream_of(slot.key));
  quantize.first_index = first_index;
  return quantize;
}

// Runs the chain with its tail; `observed` adds what it saw to the slot's statistics.
void run_tail(Runtime& runtime, Slot& slot, kernels::Chain chain, const kernels::Quantize& quantize,
              bool observed) {
  kernels::QuantizeStats stats;
  chain.quantize = &quantize;
  chain.stats = &stats;
  if (observed && slot.collect_histogram) chain.histogram = &slot.histogram;
  chain.scratch = runtime.scratch(kernels::chain_scratch_bytes(chain));
  kernels::run_chain(chain, runtime.parallel);
  refuse_non_finite(slot, runtime, stats.max_bits);
  if (!observed) return;
  slot.stats.merge(stats);
  slot.elements += chain.n * chain.h * chain.w * chain.c;
  const float largest = *std::max_element(slot.scale.begin(), slot.scale.end());
  slot.step_clip = std::max(slot.step_clip, largest * quantized_max(slot.format.bits));
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
