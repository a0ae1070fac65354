// Sums of one block by channel, with the steps before them in registers; compiled for each instruction set
// like chain_tile.h.
#pragma once

#include <bit>
#include <cstring>

#include "chain_strip.h"

// NOLINTBEGIN(misc-definitions-in-headers): internal to the file of each instruction set
namespace octavo::kernels {
namespace {

/// What a pass may look at beside its sums: the largest magnitude of a v. Rounding is monotonic, so that it
/// is |a| times the largest of each lane, rounded.
struct Look {
  const float* a = nullptr;
  Floats largest = {};
};

/// Bit pattern of a magnitude; a NaN is none.
inline std::uint32_t larger_magnitude(std::uint32_t largest, float v) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(v) & 0x7FFFFFFFu;
  return bits > largest && bits <= infinity_bits ? bits : largest;
}

/// v, or v after steps that the pass takes on its way, and what the sums are of.
template <class Element>
struct Summands {
  const Element *in, *x;  // x: null when the second sum is of v v
  const float* pivot;
  const FusedStep<Element>* steps;
  std::int64_t lanes, whole;
};

/// Adds the block to `n` vectors of lanes from `k` on, which stay in registers.
template <int n, bool centred, bool looks, StepKind... kinds, class Element>
void add_lanes(const Summands<Element>& s, std::int64_t k, float* first, float* second, Look& look) {
  Floats sum[n], product[n], pivot[n], largest[n];
  for (int i = 0; i < n; ++i) {
    sum[i] = Floats{}, product[i] = Floats{};
    pivot[i] = centred ? Simd::load(s.pivot + k + i * vector_floats) : Floats{};
    largest[i] = Floats{};
  }
  for (std::int64_t at = k; at < s.whole; at += s.lanes) {
    Floats v[n];
    for (int i = 0; i < n; ++i) {
      v[i] = Simd::load(s.in + at + i * vector_floats);
      __builtin_prefetch(s.in + at + i * vector_floats + s.whole);  // of the next block
      if constexpr (centred) __builtin_prefetch(s.x + at + i * vector_floats + s.whole);
    }
    apply_all<kinds...>(s.steps, WholeStrip{}, at, k, v);
    for (int i = 0; i < n; ++i) {
      sum[i] = sum[i] + v[i];
      product[i] = product[i] + v[i] * (centred ? Simd::load(s.x + at + i * vector_floats) - pivot[i] : v[i]);
      if constexpr (looks) largest[i] = Simd::farther(largest[i], v[i]);
    }
  }
  for (int i = 0; i < n; ++i) {
    std::memcpy(first + k + i * vector_floats, &sum[i], sizeof(Floats));
    std::memcpy(second + k + i * vector_floats, &product[i], sizeof(Floats));
  }
  for (int i = 0; looks && i < n; ++i)
    look.largest = Simd::farther(look.largest, Simd::load(look.a + k + i * vector_floats) * largest[i]);
}

/// Whole rows of lanes; answers the first lane that no vector holds.
template <bool centred, bool looks, StepKind... kinds, class Element>
std::int64_t fill_lanes(const Summands<Element>& s, float* first, float* second, Look& look) {
  std::int64_t k = 0;
  constexpr int n = Simd::sum_vectors;
  for (; k + n * vector_floats <= s.lanes; k += n * vector_floats)
    add_lanes<n, centred, looks, kinds...>(s, k, first, second, look);
  for (; k + vector_floats <= s.lanes; k += vector_floats)
    add_lanes<1, centred, looks, kinds...>(s, k, first, second, look);
  return k;
}

/// Lanes of FP32, folded in order, then FP64: the order of the reference.
void fold_lanes(const ChainPlan& plan, std::int64_t chunk, float* first, float* second) {
  const std::int64_t c = plan.c;
  double* target = plan.sums(chunk);
  for (float* sum : {first, second}) {
    for (std::int64_t group = c; group < plan.lanes; group += c)
      for (std::int64_t k = 0; k < c; ++k) sum[k] = sum[k] + sum[group + k];
    for (std::int64_t k = 0; k < c; ++k) target[k] += static_cast<double>(sum[k]);
    target += c;
  }
}

/// Step `index`, sums of the values `in` that the steps before left.
template <bool centred, bool looks>
[[gnu::noinline]] void add_sums(const ChainPlan& plan, std::int64_t chunk, const ChainTile& tile,
                                std::int64_t index, const float* in, const float* x, const ChainWork& work,
                                Look& look) {
  const std::int64_t lanes = plan.lanes;
  const Summands<float> s{in, x, plan.vector(index, 1), nullptr, lanes, tile.count / lanes * lanes};
  float *first = work.sums, *second = work.sums + lanes;
  std::memset(first, 0, static_cast<std::size_t>(2 * lanes) * sizeof(float));
  const std::int64_t held = fill_lanes<centred, looks>(s, first, second, look);
  const auto add = [&](std::int64_t i, std::int64_t lane) {
    first[lane] = first[lane] + in[i];
    second[lane] = second[lane] + in[i] * (centred ? s.x[i] - s.pivot[lane] : in[i]);
    if constexpr (looks) look.largest = Simd::farther(look.largest, Floats{} + look.a[lane] * in[i]);
  };
  for (std::int64_t at = 0; at < s.whole; at += lanes)
    for (std::int64_t lane = held; lane < lanes; ++lane) add(at + lane, lane);
  for (std::int64_t i = s.whole; i < tile.count; ++i) add(i, i - s.whole);
  fold_lanes(plan, chunk, first, second);
}

std::uint32_t largest_bits(Floats magnitudes) {
  std::uint32_t largest = 0;
  for (std::int64_t lane = 0; lane < vector_floats; ++lane)
    largest = larger_magnitude(largest, magnitudes[lane]);
  return largest;
}

void note_tile_max(const ChainPlan& plan, const ChainTile& tile, std::uint32_t found) {
  std::uint32_t& seen = plan.tile_max(tile.sample)[tile.index];
  seen = found > seen ? found : seen;
}

/// Steps `index` and the last one: sums, and a scaling whose result nobody needs but its maximum.
bool looks_beside_sums(const ChainPlan& plan, std::int64_t index) {
  return plan.want_max && plan.max_granularity != Granularity::channel && plan.quantize == nullptr &&
         index + 2 == plan.step_count && plan.steps[index].kind == StepKind::sums &&
         plan.steps[index + 1].kind == StepKind::scale_shift && plan.steps[index + 1].b == nullptr;
}

/// A chain of `kinds`, sums, and perhaps a look, in one pass over a block of whole rows of lanes.
template <class Element, bool centred, bool looks, StepKind... kinds>
[[gnu::noinline]] void run_fused_sums(const ChainPlan& plan, std::int64_t chunk, const ChainTile& tile,
                                      const ChainWork& work) {
  constexpr std::int64_t index = sizeof...(kinds);
  const FusedSteps<Element, sizeof...(kinds)> fused(plan, tile);
  const Step& step = plan.steps[index];
  const Summands<Element> s{plan.x.template as<Element>() + tile.first,
                            centred ? step.x.template as<Element>() + tile.first : nullptr,
                            plan.vector(index, 1),
                            fused.steps,
                            plan.lanes,
                            tile.count};
  Look look{looks ? plan.vector(index + 1, 0) : nullptr};
  float *first = work.sums, *second = work.sums + plan.lanes;
  fill_lanes<centred, looks, kinds...>(s, first, second, look);
  fold_lanes(plan, chunk, first, second);
  if constexpr (looks) note_tile_max(plan, tile, largest_bits(look.largest));
}

using FusedSums = void (*)(const ChainPlan&, std::int64_t chunk, const ChainTile&, const ChainWork&);

/// Null: the chain takes its steps one by one.
template <class Element>
FusedSums find_fused_sums(const ChainPlan& plan) {
  std::int64_t at = 0;
  while (at < plan.step_count && plan.steps[at].kind != StepKind::sums) ++at;
  const bool looks = looks_beside_sums(plan, at), last = at + 1 == plan.step_count && !plan.want_max;
  if (at == plan.step_count || !(looks || last) || !plan.x || plan.quantize != nullptr ||
      plan.lanes % vector_floats != 0)
    return nullptr;
  const bool centred = bool(plan.steps[at].x);
  const auto kinds_are = [&](std::initializer_list<StepKind> kinds) {
    return at == static_cast<std::int64_t>(kinds.size()) &&
           has_kinds(plan, kinds.begin(), at, plan.step_count - at);
  };
  if (kinds_are({StepKind::scale_shift}) && !centred && !looks)
    return run_fused_sums<Element, false, false, StepKind::scale_shift>;
  if (kinds_are({}) && centred)
    return looks ? run_fused_sums<Element, true, true> : run_fused_sums<Element, true, false>;
  if (kinds_are({StepKind::keep_bits}) && centred)
    return looks ? run_fused_sums<Element, true, true, StepKind::keep_bits>
                 : run_fused_sums<Element, true, false, StepKind::keep_bits>;
  return nullptr;
}

}  // namespace
}  // namespace octavo::kernels
// NOLINTEND(misc-definitions-in-headers)
