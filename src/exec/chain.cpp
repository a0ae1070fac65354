#include "exec/chain.h"

#include <algorithm>
#include <bit>

namespace octavo {

using kernels::FloatSource;
using kernels::FloatTarget;
using kernels::Step;
using kernels::StepKind;

ChainBuilder::ChainBuilder(Runtime& runtime, const Geometry& geometry, FloatSource x)
    : runtime_(runtime), geometry_(geometry), steps_(runtime.memory) {
  chain_.n = geometry.n;
  chain_.h = geometry.h;
  chain_.w = geometry.w;
  chain_.c = geometry.c;
  chain_.x = x;
}

void ChainBuilder::scale_shift(const float* a, const float* b) {
  steps_.push_back({.kind = StepKind::scale_shift, .a = a, .b = b});
}
void ChainBuilder::add(FloatSource x) { steps_.push_back({.kind = StepKind::add, .x = x}); }
void ChainBuilder::relu() { steps_.push_back({.kind = StepKind::relu}); }
void ChainBuilder::clamp(float hi) { steps_.push_back({.kind = StepKind::clamp, .hi = hi}); }
void ChainBuilder::keep_bits(const std::uint8_t* bits) {
  steps_.push_back({.kind = StepKind::keep_bits, .bits = bits});
}
void ChainBuilder::store_bits(std::uint8_t* bits, float lo, float hi) {
  steps_.push_back({.kind = StepKind::store_bits, .bits_out = bits, .lo = lo, .hi = hi});
}
void ChainBuilder::combine(const float* a, const float* b, FloatSource x, const float* d) {
  steps_.push_back({.kind = StepKind::combine, .a = a, .b = b, .d = d, .x = x});
}
void ChainBuilder::drop(kernels::RandomKey key, float p, float factor) {
  const std::uint64_t first = runtime_.first_index(geometry_.n * geometry_.h * geometry_.w * geometry_.c);
  steps_.push_back({.kind = StepKind::drop,
                    .lo = p,
                    .hi = factor,
                    .key = key,
                    .first_index = static_cast<std::uint32_t>(first)});
}
void ChainBuilder::store(FloatTarget out) { steps_.push_back({.kind = StepKind::store, .out = out}); }

NodeList<Step> looking_steps(NodeMemory& memory, std::span<const Step> steps) {
  NodeList<Step> kept(memory);
  for (const Step& step : steps)
    if (step.kind != StepKind::store && step.kind != StepKind::store_bits) kept.push_back(step);
  return kept;
}

bool bounded_at_end(std::span<const Step> steps, std::size_t bounded) {
  if (bounded >= steps.size() || steps[bounded].kind != StepKind::combine) return false;
  return std::all_of(steps.begin() + static_cast<std::ptrdiff_t>(bounded) + 1, steps.end(),
                     [](const Step& step) { return step.kind == StepKind::store; });
}

kernels::Chain ChainBuilder::chain() const {
  kernels::Chain whole = chain_;
  whole.steps = steps_.values();
  return whole;
}

const ChainBuilder::Sums& ChainBuilder::sums(FloatSource x, const float* pivot) {
  return sums(x, pivot, nullptr);
}

const ChainBuilder::Sums& ChainBuilder::sums(FloatSource x, const float* pivot, const float* a) {
  kernels::Chain pass = chain_;
  NodeList<Step> steps = looking_steps(runtime_.memory, steps_.values());
  steps.push_back({.kind = StepKind::sums, .b = pivot, .x = x});
  pass.sum_v = channel_values<double>();
  pass.sum_vx = channel_values<double>();
  sums_ = {{pass.sum_v, static_cast<std::size_t>(geometry_.c)},
           {pass.sum_vx, static_cast<std::size_t>(geometry_.c)}};
  if (watching_ && a != nullptr) {
    sample_max_ = runtime_.memory.take<std::uint32_t>(static_cast<std::size_t>(geometry_.n));
    if (factors_ != nullptr) {
      float* scaled = channel_vector();
      for (std::int64_t k = 0; k < geometry_.c; ++k) scaled[k] = a[k] * factors_[k];
      a = scaled;
    }
    steps.push_back({.kind = StepKind::scale_shift, .a = a});
    pass.want_max = true;
    pass.max_granularity = kernels::Granularity::sample;
    pass.max_bits = sample_max_.data();
    bounded_step_ = steps_.size();
  }
  pass.steps = steps.values();
  pass.scratch = runtime_.scratch(kernels::chain_scratch_bytes(pass));
  kernels::run_chain(pass, runtime_.parallel);
  return sums_;
}

void ChainBuilder::widen(const float* margin) {
  float widest = 0;
  for (std::int64_t k = 0; k < geometry_.c; ++k)
    widest = std::max(widest, factors_ != nullptr ? margin[k] * factors_[k] : margin[k]);
  for (std::uint32_t& bits : sample_max_)
    bits = std::bit_cast<std::uint32_t>(std::bit_cast<float>(bits) + widest);
}

std::span<const std::uint32_t> ChainBuilder::sample_maxima() const {
  return bounded_at_end(steps_.values(), bounded_step_) ? sample_max_ : std::span<std::uint32_t>{};
}

const ChainBuilder::Sums& ChainBuilder::shifted_squares(const float* a, const float* b) {
  if (steps_.values().empty() && !known_.v.empty()) return known_;
  scale_shift(a, b);
  sums({}, nullptr);
  steps_.pop_back();
  return sums_;
}

void ChainBuilder::run() {
  kernels::Chain whole = chain();
  whole.scratch = runtime_.scratch(kernels::chain_scratch_bytes(whole));
  kernels::run_chain(whole, runtime_.parallel);
}

}  // namespace octavo
