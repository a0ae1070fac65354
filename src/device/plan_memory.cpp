#include "device/plan_memory.h"

#include <algorithm>

#include "core/check.h"
#include "core/stream.h"

namespace octavo::device {

using kernels::cuda::Draws;
using kernels::cuda::DrawStream;
using kernels::cuda::WeightAxis;

namespace {

bool by_class(const Slot& slot) { return slot.format.granularity == ScaleGranularity::sample_class; }

std::int64_t count_of(const Slot& slot, const SlotMemory& of) {
  if (slot.format.granularity == ScaleGranularity::tensor) return 1;
  return has_sample_scales(slot.format.granularity) ? of.samples : of.channels;
}

}  // namespace

PlanMemory::PlanMemory(Memory& memory, Program& program, Plan& plan, const Parameters& parameters,
                       const ProductChoice& choice)
    : feed(memory, plan) {
  find_slots(plan);
  find_products(program, plan);
  find_streams(program, plan);
  for (const Loss& loss : plan.graph.losses) losses.push_back({loss.value, loss.seed, loss.weight});
  settings =
      mirror_of(memory, "settings of a step", [&](Region& region) { lay_out_settings(program, region); });
  report = mirror_of(memory, "counts of a step", [&](Region& region) { lay_out_report(region); });
  scales_ = block_of(memory, "scales", [&](Region& region) { lay_out_scales(program, region); });
  maxima_ = block_of(memory, "scales", [&](Region& region) {
    for (SlotMemory& of : slots) of.max_bits = region.take<std::uint32_t>(of.ranges_count);
  });
  find_folds(program);
  weights_ = block_of(memory, "integer weights", [&](Region& region) { lay_out_weights(program, region); });
  for (SlotMemory& of : slots) of.draws = draws(stream_of(program.slots[of.index].key));
  std::vector<DrawStream> streams;
  for (const auto& [stream, draw] : streams_) streams.push_back(draw);
  if (!streams.empty())
    check(cudaMemcpy(const_cast<DrawStream*>(draw_streams), streams.data(),
                     streams.size() * sizeof(DrawStream), cudaMemcpyHostToDevice),
          "streams of random numbers");
  list_passes(memory, program, parameters);
  if (plan.graph.phase == Phase::train)
    updates = parameters.list_updates(memory, {counter, rate_factors, row_factors});
  plan_products(program, plan, choice);
  find_waiting(plan.graph);
  sums_ = block_of(memory, "sums of channels", [&](Region& region) { lay_out_sums(region); });
}

void PlanMemory::clear_maxima(cudaStream_t stream) {
  check(cudaMemsetAsync(maxima_.data(), 0, static_cast<std::size_t>(maxima_.bytes()), stream),
        "clearing of maxima");
  for (SlotMemory& of : slots) of.maxima_fresh = true;
}

SlotMemory& PlanMemory::slot(int index) {
  const auto found =
      std::find_if(slots.begin(), slots.end(), [=](const SlotMemory& of) { return of.index == index; });
  require(found != slots.end(), Errc::internal, "a slot that no view or weight of the plan has");
  return *found;
}

SlotMemory& PlanMemory::add_slot(int index) {
  for (SlotMemory& known : slots)
    if (known.index == index) return known;
  slots.push_back({.index = index});
  return slots.back();
}

void PlanMemory::find_slots(const Plan& plan) {
  for (const Value& value : plan.graph.values) {
    if (value.kind != ValueKind::view) continue;
    SlotMemory& of = add_slot(value.slot);
    of.samples = value.view.n, of.channels = value.view.c;
    of.elements = value.view.n * value.view.h * value.view.w * value.view.c;
  }
  for (const Node& node : plan.graph.nodes)
    if (!node.views.empty() && node.counted) ++slot(plan.graph.value(node.views[0]).slot).passes;
}

// Rows of a linear layer are a batch of places; else there is one for each sample.
void PlanMemory::note_places(const Node& node, const ProductPlan& product, const Program& program) {
  if (!by_class(program.slots[product.b_slot])) return;
  SlotMemory& of = slot(product.b_slot);
  const std::int64_t places = kernels::cuda::rows_as_batch(product.shape).n;
  require(of.places == 0 || of.places == places, Errc::config, label(node),
          "train.device: layers that share a gradient by sample class have ", of.places, " and ", places,
          " samples; use another policy or train.device=cpu");
  of.places = places;
}

void PlanMemory::find_products(const Program& program, const Plan& plan) {
  products_.resize(plan.graph.nodes.size());
  each_product(plan.graph, [&](std::size_t i, const Node& node, std::size_t which) {
    const ProductPlan& product = node.products[which];
    macs.all[which] += product.shape.macs();
    if (!product.integer) return;
    macs.integer[which] += product.shape.macs();
    if (which == static_cast<std::size_t>(LayerProduct::grad_weight))
      note_places(node, product, program);
    else
      products_[i][which].weights = &add_weights(weights_of(program, node, which));
  });
  for (SlotMemory& of : slots)
    if (of.places == 0) of.places = of.samples;
}

WeightMemory PlanMemory::weights_of(const Program& program, const Node& node, std::size_t which) {
  using kernels::cuda::WeightCopy;
  const ProductPlan& product = node.products[which];
  const kernels::ConvShape shape = kernels::cuda::rows_as_batch(product.shape);
  const bool forward = which == static_cast<std::size_t>(LayerProduct::forward);
  WeightMemory copy{.parameter = node.parameters[0],
                    .slot = &add_slot(product.b_slot),
                    .fold = product.fold,
                    .gradient = product.fold == Fold::none ? nullptr : &add_slot(product.a_slot),
                    .layout = kernels::cuda::weight_layout(shape)};
  copy.kind = shape.depthwise() ? WeightCopy::depthwise
              : forward         ? WeightCopy::forward
                                : WeightCopy::grad_input;
  if (program.slots[product.b_slot].format.granularity == ScaleGranularity::channel)
    copy.axis = forward || shape.depthwise() ? WeightAxis::filter : WeightAxis::input;
  copy.slot->channels = copy.axis == WeightAxis::filter ? copy.layout.k : copy.layout.c;
  copy.slot->elements = shape.k * shape.r * shape.s * (shape.c / shape.groups);
  copy.bytes = kernels::cuda::plane_bytes(copy.layout.bytes(copy.kind)) * product.b_planes;
  return copy;
}

// Products share a copy where its scales do not come from one product's gradient.
const WeightMemory& PlanMemory::add_weights(WeightMemory copy) {
  const auto serves = [&](const WeightMemory& known) {
    return known.parameter == copy.parameter && known.slot == copy.slot && known.kind == copy.kind &&
           known.layout.groups == copy.layout.groups && known.fold != Fold::scales;
  };
  const auto known = std::find_if(weights.begin(), weights.end(), serves);
  if (copy.fold != Fold::scales && known != weights.end()) return *known;
  copy.first = copy.slot->passes == 0;
  copy.slot->passes = 1;
  copy.slot->each_micro_step = copy.fold == Fold::scales;
  weights.push_back(copy);
  return weights.back();
}

void PlanMemory::find_folds(const Program& program) {
  folded_gradients.assign(program.parameters.size(), -1);
  row_factors.assign(program.parameters.size(), nullptr);
  for (const WeightMemory& copy : weights) {
    if (copy.fold != Fold::factors || copy.layout.groups != 1) continue;
    const auto i = static_cast<std::size_t>(copy.parameter);
    folded_gradients[i] = copy.gradient->index, row_factors[i] = copy.gradient->factor;
  }
}

void PlanMemory::find_streams(const Program& program, const Plan& plan) {
  for (const SlotMemory& of : slots) {
    const Slot& slot = program.slots[of.index];
    if (slot.format.rounding != RoundingMode::stochastic) continue;
    const std::uint64_t stream = stream_of(slot.key);  // a weight draws the same in every micro-step
    const bool weight = slot.operand == Operand::weight;
    streams_[stream] = {stream, weight ? 0 : static_cast<std::uint64_t>(of.elements)};
  }
  const auto add = [&](const Node& node) {
    if (node.op->type != "dropout" || plan.graph.phase != Phase::train) return;
    streams_[node.stream] = {node.stream,
                             static_cast<std::uint64_t>(node.signature->inputs[0].shape.elements())};
  };
  for (const Node& node : plan.graph.nodes) {
    add(node);
    std::for_each(node.chain.begin(), node.chain.end(), add);
  }
  draw_count = static_cast<int>(streams_.size());
  int index = 0;
  for (const auto& [stream, draw] : streams_) stream_index_[stream] = index++;
}

const Draws* PlanMemory::draws(std::uint64_t stream) const {
  const auto found = stream_index_.find(stream);
  return found == stream_index_.end() ? nullptr : all_draws + found->second;
}

void PlanMemory::lay_out_settings(const Program& program, Region& region) {
  counter = region.take<kernels::cuda::StepCounter>(1);
  step = region.take<kernels::cuda::StepScalars>(1);
  one = region.take<float>(1);
  rate_factors = region.take<double>(static_cast<std::int64_t>(program.parameters.size()));
  for (LossMemory& loss : losses) loss.seed = region.take<float>(1);
  for (WeightMemory& copy : weights) copy.known_by_device = region.take<KnownMaxima>(1);
  for (SlotMemory& of : slots) {
    const Slot& slot = program.slots[of.index];
    of.ranges_count = count_of(slot, of);
    of.ranges = region.take<float>(of.ranges_count);
    of.cap = region.take<float>(1);
    if (!slot.format.channel_factors) continue;
    of.factor = region.take<float>(of.channels);
    of.inverse_factor = region.take<float>(of.channels);
  }
}

void PlanMemory::lay_out_report(Region& region) {
  const auto count = static_cast<std::int64_t>(slots.size());
  step_result = region.take<kernels::cuda::StepScalars>(1);
  counts = region.take<kernels::cuda::QuantizeCounts>(count);
  auto* const largest = region.take<std::uint32_t>(count);
  bad_samples = region.take<unsigned>(static_cast<std::int64_t>(losses.size()));
  auto* const results = region.take<float>(static_cast<std::int64_t>(losses.size()));
  for (std::size_t i = 0; i < slots.size(); ++i) {
    slots[i].counts = counts + i;
    slots[i].largest = largest + i;
    slots[i].channel_max = region.take<std::uint32_t>(slots[i].channels);
  }
  for (std::size_t i = 0; i < losses.size(); ++i)
    losses[i].bad_sample = bad_samples + i, losses[i].result = results + i;
}

void PlanMemory::lay_out_scales(const Program& program, Region& region) {
  draw_streams = region.take<DrawStream>(draw_count);
  all_draws = region.take<Draws>(draw_count);
  for (SlotMemory& of : slots) {
    const Slot& slot = program.slots[of.index];
    of.scale = region.take<float>(of.ranges_count);
    of.inverse = region.take<float>(of.ranges_count);

    if (!by_class(slot)) continue;
    of.sample_class = region.take<std::uint8_t>(of.samples);
    of.class_scale = region.take<float>(1);
    of.order = region.take<kernels::cuda::SampleOrder>(1);
    of.entries = region.take<std::int32_t>(std::int64_t{kernels::cuda::most_segments(
                                               static_cast<int>(of.places), kernels::most_halves_below + 1)} *
                                           kernels::cuda::segment_bytes);
    if (slot.format.channel_factors) of.channel_scale = region.take<float>(of.channels);
  }
}

void PlanMemory::lay_out_weights(const Program& program, Region& region) {
  std::map<int, const float*> squeezed;  // by parameter
  for (WeightMemory& copy : weights) {
    copy.copy = region.take<std::int8_t>(copy.bytes);
    if (!program.slots[copy.slot->index].format.tanh) continue;
    const auto [known, is_new] = squeezed.try_emplace(copy.parameter, nullptr);
    if (is_new) known->second = region.take<float>(copy.slot->elements);
    copy.squeezed = known->second;
  }
}

void PlanMemory::lay_out_sums(Region& region) {
  for (auto& products : products_)
    for (ProductMemory& product : products) {
      if (!product.sums) continue;
      const int channels = product.sums->plan.channels;
      product.sums->minus_pivot = region.take<float>(channels);
      product.sums->sum = region.take<double>(channels);
      product.sums->squares = region.take<double>(channels);
    }
}

void PlanMemory::list_passes(Memory& memory, const Program& program, const Parameters& parameters) {
  std::vector<const WeightMemory*> copies;
  for (const WeightMemory& copy : weights)
    if (copy.fold != Fold::scales) copies.push_back(&copy);
  all_weights = {memory, program, parameters, copies};
  for (auto& products : products_)
    for (ProductMemory& product : products)
      if (product.weights != nullptr && product.weights->fold == Fold::scales)
        product.folded = {memory, program, parameters, {&product.weights, 1}};
}

}  // namespace octavo::device
