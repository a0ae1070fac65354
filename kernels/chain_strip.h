// A strip of floats in registers and what a step does to it; compiled for each instruction set like
// chain_tile.h.
#pragma once

#include <algorithm>
#include <cstring>

#include "chain_plan.h"
#include "fetch.h"

// NOLINTBEGIN(misc-definitions-in-headers): internal to the file of each instruction set
namespace octavo::kernels {
namespace {

using Floats = typename Simd::Floats;
constexpr std::int64_t vector_floats = sizeof(Floats) / sizeof(float);

/// A step in one tile: pointers at the tile's first element, vectors at the first channel. `Element` is how
/// the tensors lie in memory.
template <class Element>
struct FusedStep {
  const float *a, *b, *d;
  const Element* x;
  const std::uint8_t* bits;
  std::uint8_t* bits_out;
  Element* store;  // of a `store` right behind this step, or null
  float lo, hi;
};

/// All `n` vectors of a strip. Tensors stream by: lines far ahead are asked for, once each.
struct WholeStrip {
  template <class Element>
  static void fetch(const Element* v, int i) {
    if (i * vector_floats * sizeof(Element) % 64 == 0)
      __builtin_prefetch(reinterpret_cast<const float*>(v) + fetch_distance);
  }
  template <class Element>
  Floats load(const Element* v, int i) const {
    fetch(v + i * vector_floats, i);
    return Simd::load(v + i * vector_floats);
  }
  template <class Element>
  void store(Element* out, int i, Floats v) const {
    fetch(out + i * vector_floats, i);
    Simd::store(out + i * vector_floats, v);
  }
  template <int n>
  std::uint64_t load_bits(const std::uint8_t* from) const {
    std::uint64_t bits = 0;
    std::memcpy(&bits, from, n * vector_floats / 8);
    return bits;
  }
  template <int n>
  void store_bits(std::uint8_t* out, std::uint64_t bits) const {
    std::memcpy(out, &bits, n * vector_floats / 8);
  }
  void clear_rest(Floats*, int) const {}
};

/// The first `count` elements of a strip; bits come in whole bytes.
struct PartStrip {
  std::int64_t count;

  template <class Element>
  std::size_t bytes(int i) const {
    const std::int64_t left = count - i * vector_floats;
    return static_cast<std::size_t>(left < 0               ? 0
                                    : left < vector_floats ? left
                                                           : vector_floats) *
           sizeof(Element);
  }
  template <class Element>
  Floats load(const Element* v, int i) const {
    Element values[vector_floats] = {};
    std::memcpy(values, v + i * vector_floats, bytes<Element>(i));
    return Simd::load(values);
  }
  template <class Element>
  void store(Element* out, int i, Floats v) const {
    Element values[vector_floats];
    Simd::store(values, v);
    std::memcpy(out + i * vector_floats, values, bytes<Element>(i));
  }
  template <int n>
  std::uint64_t load_bits(const std::uint8_t* from) const {
    std::uint64_t bits = 0;
    std::memcpy(&bits, from, static_cast<std::size_t>(count / 8));
    return bits;
  }
  template <int n>
  void store_bits(std::uint8_t* out, std::uint64_t bits) const {
    std::memcpy(out, &bits, static_cast<std::size_t>(count / 8));
  }
  void clear_rest(Floats* v, int n) const {
    for (int i = 0; i < n; ++i) {
      float values[vector_floats] = {};
      std::memcpy(values, &v[i], bytes<float>(i));
      v[i] = Simd::load(values);
    }
  }
};

/// `n` vectors from element `i` of the tile on, whose channels start at element `k` of the vectors.
template <StepKind kind, class Element, int n, class Strip>
[[gnu::always_inline]] inline void apply(const FusedStep<Element>& s, const Strip& strip, std::int64_t i,
                                         std::int64_t k, Floats (&v)[n]) {
  const auto channels = [k](const float* vector, int j) {
    return Simd::load(vector + k + j * vector_floats);
  };
  std::uint64_t bits = 0;
  if constexpr (kind == StepKind::keep_bits) bits = strip.template load_bits<n>(s.bits + (i >> 3));
  for (int j = 0; j < n; ++j) {
    const auto shift = j * vector_floats;
    if constexpr (kind == StepKind::scale_shift) v[j] = channels(s.a, j) * v[j] + channels(s.b, j);
    if constexpr (kind == StepKind::add) v[j] = v[j] + strip.load(s.x + i, j);
    if constexpr (kind == StepKind::relu || kind == StepKind::clamp) v[j] = Simd::positive(v[j]);
    if constexpr (kind == StepKind::clamp) v[j] = Simd::at_most(s.hi, v[j]);
    if constexpr (kind == StepKind::keep_bits)
      v[j] = Simd::keep(v[j], static_cast<std::uint32_t>(bits >> shift));
    if constexpr (kind == StepKind::combine)
      v[j] = channels(s.a, j) * v[j] + channels(s.b, j) * strip.load(s.x + i, j) + channels(s.d, j);
    if constexpr (kind == StepKind::store_bits)
      bits |= std::uint64_t{Simd::between(v[j], s.lo, s.hi)} << shift;
  }
  if constexpr (kind == StepKind::store_bits) strip.template store_bits<n>(s.bits_out + (i >> 3), bits);
  if (s.store != nullptr)
    for (int j = 0; j < n; ++j) strip.store(s.store + i, j, v[j]);
}

template <StepKind... kinds, class Element, int n, class Strip>
[[gnu::always_inline]] inline void apply_all([[maybe_unused]] const FusedStep<Element>* steps,
                                             const Strip& strip, [[maybe_unused]] std::int64_t i,
                                             [[maybe_unused]] std::int64_t k,
                                             [[maybe_unused]] Floats (&v)[n]) {
  [[maybe_unused]] int index = 0;
  (apply<kinds>(steps[index++], strip, i, k, v), ...);
}

/// The steps of a chain but its stores, which join the step before them.
template <class Element, int most>
struct FusedSteps {
  FusedStep<Element> steps[std::max(most, 1)];
  FusedSteps(const ChainPlan& plan, const ChainTile& tile) {
    int count = 0;
    for (std::int64_t index = 0; index < plan.step_count && count <= most; ++index) {
      const Step& step = plan.steps[index];
      if (step.kind == StepKind::store && count > 0)
        steps[count - 1].store = step.out.template as<Element>() + tile.first;
      else if (count < most)
        steps[count++] = resolve(plan, tile, index);
      else
        break;
    }
  }

 private:
  static FusedStep<Element> resolve(const ChainPlan& plan, const ChainTile& tile, std::int64_t index) {
    const Step& step = plan.steps[index];
    return {.a = plan.vector(index, 0),
            .b = plan.vector(index, 1),
            .d = plan.vector(index, 2),
            .x = step.x ? step.x.template as<Element>() + tile.first : nullptr,
            .bits = step.bits != nullptr ? step.bits + tile.first / 8 : nullptr,
            .bits_out = step.bits_out != nullptr ? step.bits_out + tile.first / 8 : nullptr,
            .store = nullptr,
            .lo = step.lo,
            .hi = step.hi};
  }
};

/// Whether the chain's steps but its stores are `kinds`, the last `rest` left aside; it must not start with a
/// store.
inline bool has_kinds(const ChainPlan& plan, const StepKind* kinds, std::int64_t count, std::int64_t rest) {
  std::int64_t found = 0;
  for (std::int64_t i = 0; i + rest < plan.step_count; ++i) {
    if (plan.steps[i].kind == StepKind::store) {
      if (i == 0 || plan.steps[i - 1].kind == StepKind::store) return false;
      continue;
    }
    if (found == count || plan.steps[i].kind != kinds[found++]) return false;
  }
  return found == count;
}

/// Whether all tensors of floats lie in memory as elements of this type.
inline bool all_tensors_are(const ChainPlan& plan, FloatType type) {
  bool all = !plan.x || plan.x.type == type;
  for (std::int64_t i = 0; i < plan.step_count; ++i) {
    const Step& step = plan.steps[i];
    all = all && (!step.x || step.x.type == type) && (!step.out || step.out.type == type);
  }
  return all;
}

/// Bits of such a tile fill whole bytes.
inline bool fills_bytes(const ChainTile& tile) { return (tile.first | tile.count) % 8 == 0; }

}  // namespace
}  // namespace octavo::kernels
// NOLINTEND(misc-definitions-in-headers)
