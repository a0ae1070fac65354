// The frequent chains, each in one pass: a strip goes through all steps and the quantization in registers.
// Bit-equal to the steps one by one, which all other chains take. Compiled for each instruction set like
// chain_tile.h.
#pragma once

#include "chain_quantize_tile.h"
#include "chain_strip.h"
#include "chain_sums_tile.h"

// NOLINTBEGIN(misc-definitions-in-headers): internal to the file of each instruction set
namespace octavo::kernels {
namespace {

enum class Tail : std::uint8_t { none, largest, nearest, stochastic };

/// Scales of a tile: a vector of channels, or one scale repeated for a strip.
struct InverseScales {
  alignas(64) float repeated[chain_strip];
  const float* values;
  std::int64_t mask;  // of a place in the vectors of channels
  InverseScales(const ChainPlan& plan, const ChainTile& tile) {
    const Quantize& q = *plan.quantize;
    const bool by_channel = q.granularity == Granularity::channel;
    values = by_channel ? plan.inverse_vector() : repeated;
    mask = by_channel ? -1 : 0;
    for (float& value : repeated)
      value = by_channel ? 0.0f : q.inverse_scale[q.granularity == Granularity::sample ? tile.sample : 0];
  }
};

/// Random bits of a strip; `index` is its first element's.
inline void draw_strip(RandomKey key, std::uint64_t index, const WholeStrip&, typename Simd::Integers* out) {
  Simd::draw(random_block_key(key, index >> 5), static_cast<std::uint32_t>(index >> 5) * 16, out);
}
inline void draw_strip(RandomKey key, std::uint64_t index, const PartStrip& strip,
                       typename Simd::Integers* out) {
  std::uint32_t bits[chain_strip] = {};
  for (std::int64_t i = 0; i < strip.count; ++i)
    bits[i] = random_bits16(key, index + static_cast<std::uint64_t>(i));
  std::memcpy(out, bits, sizeof bits);
}

/// largest[c] = max(largest[c], |v|), 0 behind the end of a part; bit patterns of magnitudes.
inline void note_channel_max(const Floats* v, std::uint32_t* largest) {
  for (int j = 0; j < Simd::width; ++j) {
    Floats seen;
    std::memcpy(&seen, largest + j * vector_floats, sizeof seen);
    seen = Simd::farther(seen, v[j]);
    std::memcpy(largest + j * vector_floats, &seen, sizeof seen);
  }
}

/// Strips from element `begin` of the tile to `end`. All state is local and no address of it leaves the
/// function, or the counters would live in memory, which costs more than all arithmetic.
template <class Element, Tail tail, class Strip, StepKind... kinds>
[[gnu::noinline]] void run_strips(const ChainPlan& plan, std::int64_t chunk, const ChainTile& tile,
                                  const Strip strip, std::int64_t begin, std::int64_t end, std::int8_t* out) {
  const FusedSteps<Element, sizeof...(kinds)> fused(plan, tile);
  const Element* const x = plan.x.template as<Element>() + tile.first;
  const std::int64_t period = plan.period;
  const auto values = [&](std::int64_t i, std::int64_t k, Floats(&v)[Simd::width]) {
    for (int j = 0; j < Simd::width; ++j) v[j] = strip.load(x + i, j);
    apply_all<kinds...>(fused.steps, strip, i, k, v);
  };
  const auto next = [period](std::int64_t k) {
    k += chain_strip;
    return k >= period ? k - period : k;
  };
  if constexpr (tail == Tail::none) {
    for (std::int64_t i = begin, k = begin % period; i < end; i += chain_strip, k = next(k)) {
      Floats v[Simd::width];
      values(i, k, v);
    }
  } else if constexpr (tail == Tail::largest) {
    Floats largest[Simd::width] = {};
    for (std::int64_t i = begin, k = begin % period; i < end; i += chain_strip, k = next(k)) {
      Floats v[Simd::width];
      values(i, k, v);
      strip.clear_rest(v, Simd::width);
      for (int j = 0; j < Simd::width; ++j) largest[j] = Simd::farther(largest[j], v[j]);
    }
    Floats all = largest[0];
    for (int j = 1; j < Simd::width; ++j) all = Simd::farther(all, largest[j]);
    note_tile_max(plan, tile, largest_bits(all));
  } else {
    const Quantize& q = *plan.quantize;
    const InverseScales inverse(plan, tile);
    const std::uint64_t first = q.first_index + static_cast<std::uint64_t>(tile.first);
    const RandomKey key = q.key;
    std::uint32_t* const largest = plan.want_max ? plan.channel_max(chunk) : nullptr;
    typename Simd::Quantizer quantizer(q, 0.0f);
    for (std::int64_t i = begin, k = begin % period; i < end; i += chain_strip, k = next(k)) {
      Floats v[Simd::width];
      typename Simd::Integers random[Simd::width] = {};
      values(i, k, v);
      strip.clear_rest(v, Simd::width);
      if constexpr (tail == Tail::stochastic)
        draw_strip(key, first + static_cast<std::uint64_t>(i), strip, random);
      quantizer.template strip<tail == Tail::stochastic>(v, inverse.values + (k & inverse.mask), random,
                                                         out + i);
      if (largest != nullptr) note_channel_max(v, largest + k);
    }
    quantizer.finish(plan.counts()[chunk]);
  }
}

/// Whole strips start where a draw of random numbers does; parts of strips are left at the ends of the tile.
template <class Element, Tail tail, StepKind... kinds>
void run_fused(const ChainPlan& plan, std::int64_t chunk, const ChainTile& tile, std::int8_t* out) {
  std::int64_t head = 0;
  if (tail == Tail::stochastic) {
    const std::uint64_t first = plan.quantize->first_index + static_cast<std::uint64_t>(tile.first);
    head = least(static_cast<std::int64_t>(-first % chain_strip), tile.count);
  }
  const std::int64_t end = head + (tile.count - head) / chain_strip * chain_strip;
  if (head > 0) run_strips<Element, tail, PartStrip, kinds...>(plan, chunk, tile, {head}, 0, head, out);
  run_strips<Element, tail, WholeStrip, kinds...>(plan, chunk, tile, {}, head, end, out);
  if (end < tile.count)
    run_strips<Element, tail, PartStrip, kinds...>(plan, chunk, tile, {tile.count - end}, end, tile.count,
                                                   out);
  if (tail == Tail::nearest || tail == Tail::stochastic)
    count_integers(plan, plan.counts()[chunk], out, tile.count);
}

using FusedRun = void (*)(const ChainPlan&, std::int64_t chunk, const ChainTile&, std::int8_t* out);

struct FusedChain {
  StepKind kinds[4];
  std::int64_t count;
  FusedRun runs[4];  // by Tail
};

template <class Element, StepKind... kinds>
constexpr FusedChain fused_chain() {
  return {{kinds...},
          sizeof...(kinds),
          {run_fused<Element, Tail::none, kinds...>, run_fused<Element, Tail::largest, kinds...>,
           run_fused<Element, Tail::nearest, kinds...>, run_fused<Element, Tail::stochastic, kinds...>}};
}

/// Batch norm, sums and ReLU forward, in training and evaluation; ReLU and batch norm backward; bare edges.
template <class Element>
constexpr FusedChain fused_chains[] = {
    fused_chain<Element>(),
    fused_chain<Element, StepKind::scale_shift>(),
    fused_chain<Element, StepKind::add>(),
    fused_chain<Element, StepKind::scale_shift, StepKind::add>(),
    fused_chain<Element, StepKind::relu>(),
    fused_chain<Element, StepKind::scale_shift, StepKind::relu>(),
    fused_chain<Element, StepKind::scale_shift, StepKind::clamp>(),
    fused_chain<Element, StepKind::scale_shift, StepKind::add, StepKind::relu>(),
    fused_chain<Element, StepKind::store_bits, StepKind::relu>(),
    fused_chain<Element, StepKind::scale_shift, StepKind::store_bits, StepKind::relu>(),
    fused_chain<Element, StepKind::scale_shift, StepKind::store_bits, StepKind::clamp>(),
    fused_chain<Element, StepKind::scale_shift, StepKind::add, StepKind::store_bits, StepKind::relu>(),
    fused_chain<Element, StepKind::keep_bits>(),
    fused_chain<Element, StepKind::keep_bits, StepKind::scale_shift>(),
    fused_chain<Element, StepKind::combine>(),
    fused_chain<Element, StepKind::keep_bits, StepKind::combine>(),
};

/// Null: the chain takes its steps one by one.
template <class Element>
FusedRun find_fused(const ChainPlan& plan) {
  const Quantize* q = plan.quantize;
  const bool max_by_channel = plan.max_granularity == Granularity::channel;
  if (!plan.x || (q != nullptr && q->planes > 1)) return nullptr;
  if (plan.want_max &&
      (q != nullptr ? !max_by_channel || q->granularity != Granularity::channel : max_by_channel))
    return nullptr;
  const Tail tail = q == nullptr                          ? (plan.want_max ? Tail::largest : Tail::none)
                    : q->rounding == Rounding::stochastic ? Tail::stochastic
                                                          : Tail::nearest;
  for (const FusedChain& chain : fused_chains<Element>)
    if (has_kinds(plan, chain.kinds, chain.count, 0)) return chain.runs[static_cast<int>(tail)];
  return nullptr;
}

/// Bits are loaded and stored in whole bytes.
bool fits_fused(const ChainPlan& plan, const ChainTile& tile) {
  if (fills_bytes(tile) && (plan.quantize == nullptr || plan.quantize->first_index % 8 == 0)) return true;
  for (std::int64_t i = 0; i < plan.step_count; ++i)
    if (plan.steps[i].kind == StepKind::keep_bits || plan.steps[i].kind == StepKind::store_bits) return false;
  return true;
}

}  // namespace
}  // namespace octavo::kernels
// NOLINTEND(misc-definitions-in-headers)
