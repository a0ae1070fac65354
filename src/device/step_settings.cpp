#include "device/step_settings.h"

#include <algorithm>
#include <bit>

#include "core/check.h"
#include "exec/quantize.h"
#include "exec/quantize_slot.h"

namespace octavo::device {
namespace {

void write_slot(Slot& slot, const Mirror& settings, SlotMemory& of, Phase phase) {
  const std::span<float> ranges(settings.host(of.ranges), static_cast<std::size_t>(of.ranges_count));
  of.source = given_ranges(slot, phase, ranges) ? Ranges::given : Ranges::maxima;
  *settings.host(of.cap) = sample_cap(slot);
  if (of.factor == nullptr) return;
  const std::span<const float> factors = channel_factors(slot, of.channels);
  float *factor = settings.host(of.factor), *inverse = settings.host(of.inverse_factor);
  for (const float f : factors) *factor++ = f, *inverse++ = 1.0f / f;
}

// As quantize_weights() of the CPU decides it; squeezed weights have other maxima.
KnownMaxima known_maxima(Program& program, const WeightMemory& copy) {
  const ParameterData& data = program.parameters[static_cast<std::size_t>(copy.parameter)];
  if (data.frozen || program.slots[copy.slot->index].format.tanh) return KnownMaxima::none;
  if (copy.axis != kernels::cuda::WeightAxis::input) return KnownMaxima::rows;
  if (copy.fold != Fold::factors || copy.layout.groups != 1) return KnownMaxima::none;
  const std::span<const float> now = channel_factors(program.slots[copy.gradient->index], copy.layout.k);
  return std::ranges::equal(now, data.maxima_factor) ? KnownMaxima::columns : KnownMaxima::none;
}

}  // namespace

void note_row_factors(Program& program, const PlanMemory& plan) {
  for (std::size_t i = 0; i < program.parameters.size(); ++i) {
    ParameterData& data = program.parameters[i];
    data.gradient_slot = plan.folded_gradients[i];
    if (program.factors_of_maxima(data) == nullptr) data.maxima_factor.clear();
  }
}

void write_settings(Program& program, PlanMemory& plan, Phase phase, const StepOrder* order,
                    bool maxima_known) {
  const Runtime& runtime = program.runtime();
  const Mirror& to = plan.settings;
  *to.host(plan.counter) = {runtime.seed, static_cast<std::uint64_t>(runtime.step),
                            static_cast<std::uint64_t>(runtime.micro_step)};
  *to.host(plan.one) = 1;
  for (SlotMemory& of : plan.slots) write_slot(program.slots[of.index], to, of, phase);
  for (WeightMemory& copy : plan.weights) {
    copy.known = maxima_known ? known_maxima(program, copy) : KnownMaxima::none;
    *to.host(copy.known_by_device) = copy.slot->source == Ranges::given ? KnownMaxima::ranges : copy.known;
  }
  if (order == nullptr) return;
  *to.host(plan.step) = {.learning_rate = order->learning_rate, .clip_norm = order->clip_norm};
  for (std::size_t i = 0; i < program.parameters.size(); ++i)
    to.host(plan.rate_factors)[i] = order->rate_factor(program.parameters[i].layer);
  for (const LossMemory& loss : plan.losses)
    *to.host(loss.seed) = loss.weight * (1.0f / static_cast<float>(runtime.micro_steps));
}

std::string describe_passes(const Program& program, const PlanMemory& plan) {
  std::string text;
  for (const SlotMemory& of : plan.slots) {
    text += of.source == Ranges::given ? 'g' : 'm';
    text += program.slots[of.index].look_again ? 'l' : '-';
  }
  for (const WeightMemory& copy : plan.weights) text += "prc"[static_cast<int>(copy.known)];
  return text;
}

void require_labels(const Graph& graph, const PlanMemory& plan, const Batch& batch) {
  for (const LossMemory& loss : plan.losses) {
    const unsigned bad = *plan.report.host(loss.bad_sample);
    if (bad == kernels::cuda::no_bad_sample) continue;
    for (const Node& node : graph.nodes) {
      if (node.pass != Pass::forward || node.outputs.empty() || node.outputs[0] != loss.value) continue;
      const Value& input = graph.value(graph.root(node.inputs[1]));
      const auto labels = batch[input.name].as<std::int64_t>();
      fail(Errc::data, "label ", labels[bad], " of sample ", bad, " in the batch is outside the model's ",
           node.signature->inputs[0].shape[1], " classes");
    }
  }
}

void require_finite(Program& program, const PlanMemory& plan, bool gradients) {
  // In the order of a step: weights first.
  for (const Operand operand : {Operand::weight, Operand::activation, Operand::gradient})
    for (const SlotMemory& of : plan.slots)
      if (const Slot& slot = program.slots[of.index];
          slot.operand == operand && (operand == Operand::gradient) == gradients)
        refuse_non_finite(slot, program.runtime(), plan.report.host(of.counts)->max_bits);
}

float loss_of(const PlanMemory& plan) {
  float sum = 0;
  for (const LossMemory& loss : plan.losses) sum += loss.weight * *plan.report.host(loss.result);
  return sum;
}

void merge_report(Program& program, const PlanMemory& plan, bool weights_quantized) {
  for (const SlotMemory& of : plan.slots) {
    Slot& slot = program.slots[of.index];
    const std::int64_t passes =
        slot.operand == Operand::weight && !of.each_micro_step && !weights_quantized ? 0 : of.passes;
    if (passes == 0) continue;
    slot.stats.merge(plan.report.host(of.counts)->stats());
    slot.elements += passes * of.elements;
    slot.step_clip = std::max(slot.step_clip, std::bit_cast<float>(*plan.report.host(of.largest)));
    if (slot.operand == Operand::weight || slot.format.granularity != ScaleGranularity::channel) continue;
    const std::uint32_t* maxima = plan.report.host(of.channel_max);
    slot.max_bits.assign(maxima, maxima + of.channels);
    merge_channel_maxima(slot);
  }
}

}  // namespace octavo::device
