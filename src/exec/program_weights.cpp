// The integer copies of a program's weights: made at the start of a step, or beside the update before it.
#include <algorithm>

#include "core/timed.h"
#include "exec/program.h"

namespace octavo {

void Program::weights_changed() {
  ++weights_version_;
  for (ParameterData& data : parameters) {
    data.maxima.rows.clear();
    data.maxima.columns.clear();
  }
}

const float* Program::factors_of_maxima(ParameterData& data) {
  if (data.gradient_slot < 0) return nullptr;
  const std::span<const float> now = channel_factors(slots[data.gradient_slot], data.value.shape()[0]);
  data.maxima_factor.assign(now.begin(), now.end());
  return data.maxima_factor.data();
}

Weights Program::weights_of(const WeightReaders& of) const {
  const ParameterData& data = parameters[static_cast<std::size_t>(of.parameter)];
  return {data.value.as<float>().data(), data.value.shape(), of.groups, data.maxima.rows};
}

std::span<WeightCopy> Program::copies_of(WeightReaders& of) {
  const ParameterData& data = parameters[static_cast<std::size_t>(of.parameter)];
  const std::span<WeightCopy> copies = runtime_.memory.take<WeightCopy>(of.copies.size());
  for (std::size_t i = 0; i < copies.size(); ++i) {
    WeightReaders::Copy& copy = of.copies[i];
    copies[i] = {.slot = &slots[copy.slot], .targets = copy.targets};
    copies[i].ahead = &copy.ahead;
    if (copy.gradient < 0) continue;
    const std::span<const float> factor = channel_factors(slots[copy.gradient], data.value.shape()[0]);
    copies[i].factor = factor.data();
    if (std::ranges::equal(factor, data.maxima_factor)) copies[i].column_max = data.maxima.columns;
  }
  return copies;
}

void Program::quantize_parameter(WeightReaders& of) {
  runtime_.memory.clear();
  if (of.ahead_version == weights_version_)
    count_weights(runtime_, weights_of(of), copies_of(of));
  else
    quantize_weights(runtime_, weights_of(of), copies_of(of));
}

// Null: there are none, or several, as layers of several shapes read it.
WeightReaders* Program::trained_readers(std::size_t parameter) {
  WeightReaders* found = nullptr;
  if (trained_ == nullptr) return found;
  for (WeightReaders& of : trained_->weight_readers) {
    if (static_cast<std::size_t>(of.parameter) != parameter) continue;
    if (found != nullptr) return nullptr;
    found = &of;
  }
  return found;
}

bool Program::packs_ahead(std::size_t parameter, std::int64_t unit) {
  WeightReaders* const of = trained_readers(parameter);
  if (!updates_and_packs || of == nullptr || parameters[parameter].frozen) return false;
  runtime_.memory.clear();
  return quantizes_ahead(runtime_, weights_of(*of), copies_of(*of), unit);
}

void Program::update_and_pack(std::size_t parameter, const kernels::WeightWriter& writer) {
  WeightReaders& of = *trained_readers(parameter);
  runtime_.memory.clear();
  Weights weights = weights_of(of);
  weights.writer = &writer;
  quantize_weights(runtime_, weights, copies_of(of));
  of.ahead_version = weights_version_;
}

// Each slot is quantized once, for all products that read it.
void Program::pack_weights(Plan& plan) {
  if (plan.packed_version == weights_version_) return;
  const Timed timed(runtime_.outside.weights);
  for (std::size_t i = 0; i < plan.graph.nodes.size(); ++i)
    for (LayerProduct which : {LayerProduct::forward, LayerProduct::grad_input}) {
      const Node& node = plan.graph.nodes[i];
      ProductRun& run = plan.runs[i].products[static_cast<std::size_t>(which)];
      if (run.f32 && run.packed)
        run.f32->prepare_weights(
            static_cast<kernels::Product>(which),
            parameters[static_cast<std::size_t>(node.parameters[0])].value.as<float>().data(),
            run.packed.data(), runtime_.parallel);
    }
  for (WeightReaders& of : plan.weight_readers) quantize_parameter(of);
  plan.packed_version = weights_version_;
}

}  // namespace octavo
