// The steps of a chain on the 16 values that a thread holds in registers: the arithmetic of
// kernels/ref/chain.cpp, step by step, each product and sum rounded by itself.
#pragma once

#include "bit_runs.h"
#include "chain_pass.h"

namespace octavo::kernels::cuda {

/// Zeros where there is no tensor.
OCTAVO_ALWAYS_INLINE OCTAVO_HD void load_values(const FloatSource& from, const Segment& at, Values& to) {
  if (from.data == nullptr) {
    OCTAVO_UNROLL
    for (float& v : to) v = 0.0f;
  } else if (from.type == FloatType::f32) {
    load_run(static_cast<const float*>(from.data) + at.first, at.count, to);
  } else {
    load_run(static_cast<const Bf16*>(from.data) + at.first, at.count, to);
  }
}

OCTAVO_ALWAYS_INLINE OCTAVO_HD void store_values(const FloatTarget& to, const Segment& at, const Values& v) {
  if (to.type == FloatType::f32)
    store_run(static_cast<float*>(to.data) + at.first, at.count, v);
  else
    store_run(static_cast<Bf16*>(to.data) + at.first, at.count, v);
}

/// Of a vector of channels; without one, `missing`.
OCTAVO_ALWAYS_INLINE OCTAVO_HD void load_channels(const float* vector, float missing, const Segment& at,
                                                  Values& to) {
  if (vector != nullptr) return load_run(vector + at.channel, at.count, to);
  OCTAVO_UNROLL
  for (float& v : to) v = missing;
}

OCTAVO_ALWAYS_INLINE OCTAVO_HD void keep_bits(const ChainStep& step, const Segment& at, Values& v) {
  const std::uint32_t bits = load_bits(step.bits, at.first, at.count);
  OCTAVO_UNROLL
  for (int i = 0; i < segment_bytes; ++i) v[i] = (bits >> i & 1) != 0 ? v[i] : 0.0f;
}

OCTAVO_ALWAYS_INLINE OCTAVO_HD void drop(const ChainStep& step, const Segment& at, Values& v) {
  const Draws draws = *step.draws;
  const auto first = static_cast<std::uint32_t>(draws.first_index) + static_cast<std::uint32_t>(at.first);
  OCTAVO_UNROLL
  for (int i = 0; i < segment_bytes; ++i) {
    const float u = random_uniform(draws.key, first + static_cast<std::uint32_t>(i));
    v[i] = u < step.lo ? 0.0f : v[i] * step.hi;
  }
}

/// v and x after the products and sums with vectors of channels. These are taken one after the other, so that
/// registers hold no more than v, x and one of them.
OCTAVO_ALWAYS_INLINE OCTAVO_HD void take_channels(const ChainStep& step, const Segment& at, Values& v,
                                                  Values& x) {
  const bool scales = step.kind == StepKind::scale_shift, combines = step.kind == StepKind::combine,
             keeps = step.kind == StepKind::keep_where, sums = step.kind == StepKind::sums;
  Values w;
  if (scales || combines || keeps) {
    load_channels(step.a, 1.0f, at, w);
    OCTAVO_UNROLL
    for (int i = 0; i < segment_bytes; ++i) keeps ? x[i] = w[i] * x[i] : v[i] = w[i] * v[i];
  }
  if (!scales && !combines && !keeps && !sums) return;
  load_channels(step.b, 0.0f, at, w);
  OCTAVO_UNROLL
  for (int i = 0; i < segment_bytes; ++i) {
    if (scales) v[i] = v[i] + w[i];
    if (combines) v[i] = v[i] + w[i] * x[i];
    if (keeps) x[i] = x[i] + w[i];
    if (sums) x[i] = step.x.data != nullptr ? x[i] - w[i] : v[i];
  }
  if (!combines) return;
  load_channels(step.d, 0.0f, at, w);
  OCTAVO_UNROLL
  for (int i = 0; i < segment_bytes; ++i) v[i] = v[i] + w[i];
}

/// What is left of a step that changes a value.
OCTAVO_HD constexpr float changed(const ChainStep& step, float v, float x) {
  switch (step.kind) {
    case StepKind::add:
      return v + x;
    case StepKind::relu:
      return v < 0.0f ? 0.0f : v;
    case StepKind::clamp:
      return v < 0.0f ? 0.0f : v > step.hi ? step.hi : v;
    case StepKind::keep_where:
      return step.lo < x && x < step.hi ? v : 0.0f;
    default:
      return v;
  }
}

/// One step. `block` takes what leaves the thread: join_bits(), add_sums(), look().
template <class Block>
OCTAVO_ALWAYS_INLINE OCTAVO_HD void run_step(const ImageLayout& layout, const ChainStep& step,
                                             const Segment& at, Values& v, Block& block) {
  Values x;
  load_values(step.x, at, x);
  take_channels(step, at, v, x);
  switch (step.kind) {
    case StepKind::keep_bits:
      return keep_bits(step, at, v);
    case StepKind::drop:
      return drop(step, at, v);
    case StepKind::store:
      return store_values(step.out, at, v);
    case StepKind::store_bits:
      return store_bits(step.bits_out, layout.group_channels() % 8 == 0, at.first, at.count,
                        bits_between(step.lo, step.hi, v), block);
    case StepKind::sums:
      return block.add_sums(v, x);
    case StepKind::look:
      return block.look(at, v);
    default:
      OCTAVO_UNROLL
      for (int i = 0; i < segment_bytes; ++i) v[i] = changed(step, v[i], x[i]);
  }
}

/// x and all steps, on the values of a segment.
template <class Block>
OCTAVO_ALWAYS_INLINE OCTAVO_HD void run_steps(const ChainPass& pass, const Segment& at, Values& v,
                                              Block& block) {
  load_values(pass.x, at, v);
  for (int i = 0; i < pass.step_count; ++i) run_step(pass.layout, pass.steps[i], at, v, block);
}

}  // namespace octavo::kernels::cuda
