#include "device/weight_lists.h"

#include <algorithm>

#include "cuda/squeeze.h"
#include "device/quantize_rule.h"
#include "device/run.h"
#include "device/statistics.h"

namespace octavo::device {

using kernels::cuda::CopyOfWeights;
using kernels::cuda::QuantizeWeights;
using kernels::cuda::WeightCopy;
using kernels::cuda::WeightScales;

namespace {

const float* weights_of(const Parameters& parameters, const WeightMemory& copy) {
  return copy.squeezed != nullptr ? copy.squeezed : parameters.value(copy.parameter);
}

WeightScales scales_of(const Program& program, const Parameters& parameters, const WeightMemory& copy) {
  const SlotMemory& of = *copy.slot;
  return {.to = slot_scales(program.slots[of.index], of),
          .layout = copy.layout,
          .axis = copy.axis,
          .weights = weights_of(parameters, copy),
          .factor = copy.factor(),
          .known = copy.known_by_device,
          .ranges = of.ranges,
          .rows = parameters.row_maxima(copy.parameter),
          .columns = parameters.column_maxima(copy.parameter),
          .max_bits = of.max_bits};
}

CopyOfWeights pass_of(const Program& program, const WeightMemory& copy) {
  const SlotMemory& of = *copy.slot;
  const Slot& slot = program.slots[of.index];
  return {.kind = copy.kind,
          .factor = copy.factor(),
          .scales = {of.inverse, static_cast<kernels::Granularity>(slot.format.granularity)},
          .rule = rule_of(slot),
          .copy = copy.copy,
          .counts = copy.first ? of.counts : nullptr,
          .draws = of.draws};
}

// A pass takes several copies of one parameter.
void add_copy(std::vector<QuantizeWeights>& passes, const float* weights, const WeightMemory& copy,
              const CopyOfWeights& as) {
  const auto joins = [&](const QuantizeWeights& known) {
    return known.weights == weights && known.count < kernels::cuda::most_copies &&
           known.layout.groups == copy.layout.groups &&
           (known.copies[0].kind == WeightCopy::depthwise) == (as.kind == WeightCopy::depthwise);
  };
  auto found = std::find_if(passes.begin(), passes.end(), joins);
  if (found == passes.end())
    found = passes.insert(found, QuantizeWeights{.layout = copy.layout, .weights = weights});
  found->copies[found->count++] = as;
}

void squeeze(Run& run, const WeightMemory& copy) {
  run.scratch.clear();
  const std::uint32_t* largest = run.parameters.find_largest(copy.parameter, run.scratch, run.stream);
  kernels::cuda::squeeze_weights({run.parameters.value(copy.parameter), copy.slot->elements, largest},
                                 const_cast<float*>(copy.squeezed), run.stream);
}

}  // namespace

WeightLists::WeightLists(Memory& memory, const Program& program, const Parameters& parameters,
                         std::span<const WeightMemory* const> copies)
    : copies_(copies.begin(), copies.end()) {
  std::vector<WeightScales> scales;
  std::vector<QuantizeWeights> passes;
  for (const WeightMemory* copy : copies_) {
    const auto same = [&](const WeightMemory* known) { return known->squeezed == copy->squeezed; };
    if (copy->squeezed != nullptr && std::ranges::none_of(squeezed_, same)) squeezed_.push_back(copy);
    if (copy->first) scales.push_back(scales_of(program, parameters, *copy));
    add_copy(passes, weights_of(parameters, *copy), *copy, pass_of(program, *copy));
  }
  // What the update wrote last is read first: it may still be in the cache.
  std::ranges::reverse(passes);
  scales_ = {memory, "lists of weights", scales,
             kernels::cuda::weight_blocks(std::span(std::as_const(scales)))};
  passes_ = {memory, "lists of weights", passes,
             kernels::cuda::weight_blocks(std::span(std::as_const(passes)))};
}

void WeightLists::quantize(Run& run) const {
  for (const WeightMemory* copy : squeezed_) squeeze(run, *copy);
  bool look = false;
  for (const WeightMemory* copy : copies_) {
    if (!copy->first) continue;
    const bool given = copy->slot->source == Ranges::given;
    if (!given && copy->known == KnownMaxima::none) clear_maxima(run, *copy->slot), look = true;
    if (!given && copy->known == KnownMaxima::rows) copy->slot->maxima_fresh = false;
  }
  if (look) kernels::cuda::find_ranges(scales_.list(), run.stream);
  if (!scales_.empty()) kernels::cuda::make_scales(scales_.list(), run.stream);
  if (!passes_.empty()) kernels::cuda::quantize_weights(passes_.list(), run.stream);
  if (run.statistics == nullptr) return;
  for (const WeightMemory* copy : copies_) {
    run.scratch.clear();
    if (copy->first)
      run.statistics->of_weights(run, *copy, weights_of(run.parameters, *copy), copy->factor());
  }
}

}  // namespace octavo::device
