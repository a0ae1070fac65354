#include "exec/chain.h"

#include <algorithm>
#include <bit>

namespace octavo {

using kernels::FloatSource;
using kernels::FloatTarget;
using kernels::Step;
using kernels::StepKind;

ChainBuilder::ChainBuilder(Runtime& runtime, const Geometry& geometry, FloatSource x)
    : runtime_(runtime), geometry_(geometry) {
  chain_.n = geometry.n;
  chain_.h = geometry.h;
  chain_.w = geometry.w;
  chain_.c = geometry.c;
  chain_.x = x;
}

float* ChainBuilder::channel_vector() {
  return vectors_.emplace_back(static_cast<std::size_t>(geometry_.c)).data();
}

void ChainBuilder::scale_shift(const float* a, const float* b) {
  chain_.steps.push_back({.kind = StepKind::scale_shift, .a = a, .b = b});
}
void ChainBuilder::add(FloatSource x) { chain_.steps.push_back({.kind = StepKind::add, .x = x}); }
void ChainBuilder::relu() { chain_.steps.push_back({.kind = StepKind::relu}); }
void ChainBuilder::clamp(float hi) { chain_.steps.push_back({.kind = StepKind::clamp, .hi = hi}); }
void ChainBuilder::keep_bits(const std::uint8_t* bits) {
  chain_.steps.push_back({.kind = StepKind::keep_bits, .bits = bits});
}
void ChainBuilder::store_bits(std::uint8_t* bits, float lo, float hi) {
  chain_.steps.push_back({.kind = StepKind::store_bits, .bits_out = bits, .lo = lo, .hi = hi});
}
void ChainBuilder::combine(const float* a, const float* b, FloatSource x, const float* d) {
  chain_.steps.push_back({.kind = StepKind::combine, .a = a, .b = b, .d = d, .x = x});
}
void ChainBuilder::drop(kernels::RandomKey key, float p, float factor) {
  const std::uint64_t first = runtime_.first_index(geometry_.n * geometry_.h * geometry_.w * geometry_.c);
  chain_.steps.push_back({.kind = StepKind::drop,
                          .lo = p,
                          .hi = factor,
                          .key = key,
                          .first_index = static_cast<std::uint32_t>(first)});
}
void ChainBuilder::store(FloatTarget out) { chain_.steps.push_back({.kind = StepKind::store, .out = out}); }

kernels::Chain ChainBuilder::looking() const {
  kernels::Chain pass = chain_;
  std::erase_if(pass.steps,
                [](const Step& s) { return s.kind == StepKind::store || s.kind == StepKind::store_bits; });
  return pass;
}

const ChainBuilder::Sums& ChainBuilder::sums(FloatSource x, const float* pivot) {
  return sums(x, pivot, nullptr);
}

const ChainBuilder::Sums& ChainBuilder::sums(FloatSource x, const float* pivot, const float* a) {
  kernels::Chain pass = looking();
  pass.steps.push_back({.kind = StepKind::sums, .b = pivot, .x = x});
  sums_.v.assign(static_cast<std::size_t>(geometry_.c), 0.0);
  sums_.vx.assign(static_cast<std::size_t>(geometry_.c), 0.0);
  pass.sum_v = sums_.v.data();
  pass.sum_vx = sums_.vx.data();
  if (watching_ && a != nullptr) {
    sample_max_.assign(static_cast<std::size_t>(geometry_.n), 0);
    if (factors_ != nullptr) {
      std::vector<float>& scaled = vectors_.emplace_back(a, a + geometry_.c);
      for (std::size_t k = 0; k < scaled.size(); ++k) scaled[k] *= factors_[k];
      a = scaled.data();
    }
    pass.steps.push_back({.kind = StepKind::scale_shift, .a = a});
    pass.want_max = true;
    pass.max_granularity = kernels::Granularity::sample;
    pass.max_bits = sample_max_.data();
    bounded_step_ = chain_.steps.size();
  }
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

const std::vector<std::uint32_t>* ChainBuilder::sample_maxima() const {
  const auto end = chain_.steps.end();
  if (sample_max_.empty() || bounded_step_ >= chain_.steps.size()) return nullptr;
  const auto combine = chain_.steps.begin() + static_cast<std::ptrdiff_t>(bounded_step_);
  const bool last = std::all_of(combine + 1, end, [](const Step& s) { return s.kind == StepKind::store; });
  return combine->kind == StepKind::combine && last ? &sample_max_ : nullptr;
}

const ChainBuilder::Sums& ChainBuilder::shifted_squares(const float* a, const float* b) {
  scale_shift(a, b);
  sums({}, nullptr);
  chain_.steps.pop_back();
  return sums_;
}

void ChainBuilder::run() {
  chain_.scratch = runtime_.scratch(kernels::chain_scratch_bytes(chain_));
  kernels::run_chain(chain_, runtime_.parallel);
}

}  // namespace octavo
