// Quantization of edges on the device: src/exec/quantize.cpp with scales that the host never sees.
#include <algorithm>

#include "core/check.h"
#include "device/quantize_rule.h"
#include "device/run.h"
#include "device/statistics.h"

namespace octavo::device {

using kernels::StepKind;
using kernels::View;
using kernels::cuda::ChainPass;
using kernels::cuda::ChainStep;

namespace {

kernels::Granularity granularity_of(const Slot& slot, std::int64_t samples) {
  if (!has_sample_scales(slot.format.granularity))
    return static_cast<kernels::Granularity>(slot.format.granularity);
  return samples == 1 ? kernels::Granularity::tensor : kernels::Granularity::sample;
}

// Scales from one maximum for each.
void scales_from_maxima(const Run& run, const SlotMemory& of, const std::uint32_t* max_bits) {
  const Slot& slot = run.slot(of);
  if (slot.format.granularity == ScaleGranularity::sample_class) {
    kernels::cuda::order_samples({.samples = static_cast<int>(of.samples),
                                  .places = static_cast<int>(of.places),
                                  .classes = kernels::most_halves_below + 1,
                                  .max_bits = max_bits,
                                  .cap = of.cap,
                                  .qmax = qmax_of(slot),
                                  .grid = grid_of(slot),
                                  .sample_class = of.sample_class,
                                  .class_scale = of.class_scale,
                                  .scale = of.scale,
                                  .inverse_scale = of.inverse,
                                  .order = of.order,
                                  .entries = of.entries},
                                 run.stream);
    return kernels::cuda::make_scales({.samples = static_cast<int>(of.samples),
                                       .scale = of.scale,
                                       .qmax = qmax_of(slot),
                                       .largest = of.largest,
                                       .channels = static_cast<int>(of.channels),
                                       .factor = of.factor,
                                       .class_scale = of.class_scale,
                                       .channel_scale = of.channel_scale},
                                      run.stream);
  }
  kernels::cuda::SlotScales pass = slot_scales(run.slot(of), of);
  pass.max_bits = max_bits;
  if (has_sample_scales(slot.format.granularity)) pass.cap = of.cap;
  kernels::cuda::make_scales(pass, run.stream);
}

void given_scales(const Run& run, const SlotMemory& of) {
  kernels::cuda::SlotScales pass = slot_scales(run.slot(of), of);
  pass.ranges = of.ranges;
  kernels::cuda::make_scales(pass, run.stream);
}

}  // namespace

void clear_maxima(const Run& run, SlotMemory& of) {
  if (of.maxima_fresh) {
    of.maxima_fresh = false;
    return;
  }
  const auto bytes = static_cast<std::size_t>(of.ranges_count) * sizeof(std::uint32_t);
  check(cudaMemsetAsync(of.max_bits, 0, bytes, run.stream), "clearing of maxima");
}

// v = v / factor[c] at the end: in the vectors of a last combine(), else a step of its own.
void DeviceChain::multiply_factors(Steps& steps) {
  if (tail_->inverse_factor == nullptr) return;
  if (steps.empty() || steps.back().kind != StepKind::combine) {
    steps.push_back({.kind = StepKind::scale_shift, .a = tail_->inverse_factor});
    return;
  }
  ChainStep& last = steps.back();
  kernels::cuda::ChannelProducts products{.channels = static_cast<int>(channels()),
                                          .factor = tail_->inverse_factor};
  const float** const vectors[] = {&last.a, &last.b, &last.d};
  for (int i = 0; i < 3; ++i) {
    if (i > 0 && *vectors[i] == nullptr) continue;  // zeros; no a: ones
    products.from[i] = *vectors[i];
    *vectors[i] = products.to[i] = channel_vector();
  }
  kernels::cuda::multiply_channels(products, run_.stream);
}

void DeviceChain::make_scales(const Steps& steps) {
  const Slot& slot = run_.slot(*tail_);
  if (tail_->source == Ranges::given) return given_scales(run_, *tail_);
  if (!knows_samples() || slot.look_again) {
    clear_maxima(run_, *tail_);
    ChainPass looking = pass(steps, true);
    looking.max_bits = tail_->max_bits;
    looking.max_granularity = granularity_of(slot, tail_->samples);
    kernels::cuda::run_chain(looking, run_.stream);
  }
  scales_from_maxima(run_, *tail_, tail_->max_bits);
}

void DeviceChain::quantize(const Node& node, Steps steps) {
  const Phase phase = run_.plan.graph.phase;
  const Slot& slot = run_.slot(*tail_);
  std::vector<ValueId> pixels, batches;
  for (const ValueId id : node.views)
    (run_.value(id).view.layout == kernels::Layout::batch ? batches : pixels).push_back(id);
  const std::size_t passes = std::max(pixels.size(), batches.size());
  // Maxima and a second pass read what the product before has stored.
  if ((node.counted && tail_->source != Ranges::given) || passes > 1) run_first_product();
  multiply_factors(steps);
  if (node.counted) make_scales(steps);
  const bool observed = phase == Phase::train && node.counted;

  for (std::size_t i = 0; i < passes; ++i) {
    ChainPass tail = pass(steps, i > 0);
    if (i < pixels.size()) {
      tail.layout.groups = static_cast<int>(run_.value(pixels[i]).view.groups);
      tail.pixel_copy = static_cast<std::int8_t*>(run_.address(pixels[i]));
    }
    if (i < batches.size()) {
      const View& view = run_.value(batches[i]).view;
      if (view.pitch != view.h * view.w)
        tail.layout.n = tail.layout.w, tail.layout.w = 1;  // rows are a batch
      tail.batch_copy = static_cast<std::int8_t*>(run_.address(batches[i]));
    }
    tail.scales = {tail_->inverse, granularity_of(slot, tail_->samples)};
    tail.rule = rule_of(slot);
    tail.draws = tail_->draws;
    if (i == 0 && node.counted) {
      tail.counts = tail_->counts;
      if (observed && slot.format.granularity == ScaleGranularity::channel) {
        tail.max_bits = tail_->channel_max;
        tail.max_granularity = kernels::Granularity::channel;
      }
      if (observed && run_.statistics != nullptr) run_.statistics->add_to(run_, *tail_, tail);
    }
    run_tail(tail);
  }
  if (observed && run_.statistics != nullptr) run_.statistics->after(run_, *tail_);
}

}  // namespace octavo::device
