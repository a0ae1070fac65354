#include "exec/quantize.h"

#include "exec/quantize_slot.h"

namespace octavo {
namespace {

// Training holds or takes the range as the controller said; evaluation uses the frozen range of activations.
void choose_scale(Slot& slot, Runtime& runtime, const kernels::Chain& chain, Phase phase,
                  std::span<const std::uint32_t> sample_maxima) {
  const std::size_t count = scale_count(slot.format.granularity, chain);
  slot.scale.resize(count);
  slot.inverse_scale.resize(count);
  const std::span<float> ranges = runtime.memory.take<float>(count);
  if (given_ranges(slot, phase, ranges)) {
    for (std::size_t i = 0; i < count; ++i) set_scale(slot, i, ranges[i]);
  } else if (!sample_maxima.empty() && !slot.look_again) {
    slot.max_bits.assign(sample_maxima.begin(), sample_maxima.end());
    scales_from_maxima(slot, runtime);
  } else {
    take_maximum(slot, runtime, chain, count);
  }
}

}  // namespace

std::span<const float> channel_factors(Slot& slot, std::int64_t channels) {
  const auto count = static_cast<std::size_t>(channels);
  if (slot.channel_factor.size() != count) slot.channel_factor.assign(count, 1.0f);
  return slot.channel_factor;
}

const float* inverse_factors(Slot& slot, std::int64_t channels) {
  if (!slot.format.channel_factors) return nullptr;
  slot.inverse_factor.clear();
  for (const float factor : channel_factors(slot, channels)) slot.inverse_factor.push_back(1.0f / factor);
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

const float* folded_factors(const Slot& gradient) {
  return (gradient.format.channel_factors ? gradient.channel_factor : gradient.scale).data();
}

namespace {

/// The product, and u = y - y of the first pixel summed up while y is in a cache.
void run_with_sums(Runtime& runtime, const IntegerProduct& product, kernels::ConvArgs& args) {
  const Geometry& y = product.geometry;
  const auto c = static_cast<std::size_t>(y.c);
  ToldSums& told = *product.sums;
  told.values.resize(c), told.squares.resize(c);
  const std::span<float> one = runtime.memory.take<float>(c), minus_pivot = runtime.memory.take<float>(c);
  const kernels::Step steps[] = {
      {.kind = kernels::StepKind::scale_shift, .a = one.data(), .b = minus_pivot.data()},
      {.kind = kernels::StepKind::sums}};
  kernels::Chain chain;
  chain.n = y.n, chain.h = y.h, chain.w = y.w, chain.c = y.c;
  chain.x = product.out;
  chain.steps = steps;
  chain.sum_v = told.values.data(), chain.sum_vx = told.squares.data();
  const std::int64_t own = (product.kernel.scratch_bytes(args) + 63) / 64 * 64;
  auto* const scratch = static_cast<std::byte*>(runtime.scratch(own + kernels::chain_scratch_bytes(chain)));
  args.scratch = scratch, chain.scratch = scratch + own;
  const auto take_pivot = [&] {
    for (std::size_t i = 0; i < c; ++i) one[i] = 1, minus_pivot[i] = -chain.x[static_cast<std::int64_t>(i)];
  };
  kernels::run_product_chain(product.kernel, args, chain, take_pivot, runtime.parallel);
  told.there = true;
}

}  // namespace

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
  if (product.sums != nullptr) return run_with_sums(runtime, product, args);
  args.scratch = runtime.scratch(product.kernel.scratch_bytes(args));
  product.kernel.run(args, runtime.parallel);
}

}  // namespace octavo
