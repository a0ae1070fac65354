// Chains, block by block in L1, compiled once for each instruction set by a file that defines `Simd` before
// including this. Loops over floats are left to the compiler's vectorizer; everything on integers goes
// through Simd.
#pragma once

#include <atomic>
#include <bit>
#include <cstring>

#include "chain_fused_tile.h"
#include "chain_plan.h"
#include "chain_quantize_tile.h"
#include "chain_sums_tile.h"
#include "chain_view_tile.h"

// NOLINTBEGIN(misc-definitions-in-headers): internal to the file of each instruction set
namespace octavo::kernels {
namespace {

template <class Body>
inline void each(std::int64_t count, const Body& body) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) body(i);
}

/// body(i, k) with k = i % period.
template <class Body>
inline void each_in_period(std::int64_t count, std::int64_t period, const Body& body) {
  for (std::int64_t first = 0; first < count; first += period) {
    const std::int64_t size = count - first < period ? count - first : period;
#pragma GCC ivdep
    for (std::int64_t k = 0; k < size; ++k) body(first + k, k);
  }
}

// Functions with inner loops stay apart (noinline): together they run out of registers inside their loops.

/// A block of a tensor in FP32: as it lies in memory, or in the buffer.
[[gnu::noinline]] const float* floats_of(FloatSource source, const ChainTile& tile, float* buffer) {
  if (source.type == FloatType::f32) return source ? source.as<float>() + tile.first : nullptr;
  const Bf16* from = source.as<Bf16>() + tile.first;
  each(tile.count, [=](std::int64_t i) { buffer[i] = to_float(from[i]); });
  return buffer;
}

[[gnu::noinline]] void store_block(FloatTarget target, const ChainTile& tile, const float* v) {
  with_type(target.type, [&](auto element) {
    auto* out = target.as<decltype(element)>() + tile.first;
    each(tile.count, [=](std::int64_t i) { assign(out[i], v[i]); });
  });
}

/// What one step sees of its block: reads `in`, writes `out` (which may be the same).
struct StepTile {
  const ChainPlan& plan;
  const ChainTile& tile;
  const Step& step;
  const ChainWork& work;
  const float *a, *b, *d, *x, *in;
  float* out;
  StepTile(const ChainPlan& p, const ChainTile& t, const ChainWork& w, std::int64_t index, const float* input)
      : plan(p),
        tile(t),
        step(p.steps[index]),
        work(w),
        a(p.vector(index, 0)),
        b(p.vector(index, 1)),
        d(p.vector(index, 2)),
        x(floats_of(step.x, t, w.other)),
        in(input),
        out(w.values) {}
};

inline float positive(float v) { return v < 0.0f ? 0.0f : v; }
inline float clamped(float v, float hi) {
  const float p = positive(v);
  return p > hi ? hi : p;
}

/// The step itself and, in the same pass, a ReLU that follows it: same arithmetic, one pass less.
template <class Body>
bool with_activation(const Step* next, std::int64_t count, std::int64_t period, float* out,
                     const Body& body) {
  if (next != nullptr && next->kind == StepKind::relu) {
    each_in_period(count, period, [=](std::int64_t i, std::int64_t k) { out[i] = positive(body(i, k)); });
    return true;
  }
  if (next != nullptr && next->kind == StepKind::clamp) {
    const float hi = next->hi;
    each_in_period(count, period, [=](std::int64_t i, std::int64_t k) { out[i] = clamped(body(i, k), hi); });
    return true;
  }
  each_in_period(count, period, [=](std::int64_t i, std::int64_t k) { out[i] = body(i, k); });
  return false;
}

[[gnu::noinline]] bool scale_shift(const StepTile& s, const Step* next) {
  const float *a = s.a, *b = s.b, *in = s.in;
  return with_activation(next, s.tile.count, s.plan.period, s.out,
                         [=](std::int64_t i, std::int64_t k) { return a[k] * in[i] + b[k]; });
}

[[gnu::noinline]] bool add(const StepTile& s, const Step* next) {
  const float *x = s.x, *in = s.in;
  return with_activation(next, s.tile.count, s.tile.count, s.out,
                         [=](std::int64_t i, std::int64_t) { return in[i] + x[i]; });
}

inline float kept(float lo, float seen, float hi, float v) {
  const float above = lo < seen ? v : 0.0f;
  return seen < hi ? above : 0.0f;
}

[[gnu::noinline]] void keep_where(const StepTile& s) {
  const float *a = s.a, *b = s.b, *x = s.x, *in = s.in, lo = s.step.lo, hi = s.step.hi;
  float* out = s.out;
  each_in_period(s.tile.count, s.plan.period,
                 [=](std::int64_t i, std::int64_t k) { out[i] = kept(lo, a[k] * x[i] + b[k], hi, in[i]); });
}

[[gnu::noinline]] void combine(const StepTile& s) {
  const float *a = s.a, *b = s.b, *d = s.d, *x = s.x, *in = s.in;
  float* out = s.out;
  each_in_period(s.tile.count, s.plan.period,
                 [=](std::int64_t i, std::int64_t k) { out[i] = a[k] * in[i] + b[k] * x[i] + d[k]; });
}

/// keep_where and then combine with the same x, the gradient of batch norm and ReLU, in one pass.
[[gnu::noinline]] void keep_and_combine(const StepTile& mask, const StepTile& s) {
  const float *ma = mask.a, *mb = mask.b, lo = mask.step.lo, hi = mask.step.hi;
  const float *a = s.a, *b = s.b, *d = s.d, *x = s.x, *in = mask.in;
  float* out = s.out;
  each_in_period(s.tile.count, s.plan.period, [=](std::int64_t i, std::int64_t k) {
    const float seen = x[i];
    out[i] = a[k] * kept(lo, ma[k] * seen + mb[k], hi, in[i]) + b[k] * seen + d[k];
  });
}

[[gnu::noinline]] void drop(const StepTile& s) {
  const float *in = s.in, p = s.step.lo, factor = s.step.hi;
  const RandomKey key = s.step.key;
  const auto first = s.step.first_index + static_cast<std::uint32_t>(s.tile.first);
  float* out = s.out;
  each(s.tile.count, [=](std::int64_t i) {
    out[i] = random_uniform(key, first + static_cast<std::uint32_t>(i)) < p ? 0.0f : in[i] * factor;
  });
}

/// Bits of the tile from its first element on, whatever bit of a byte that is in the tensor.
const std::uint8_t* tile_bits(const std::uint8_t* bits, const ChainTile& tile, std::uint8_t* buffer) {
  bits += tile.first / 8;
  const int shift = static_cast<int>(tile.first % 8);
  if (shift == 0) return bits;
  const std::int64_t bytes = (tile.count + 7) / 8, stored = (shift + tile.count + 7) / 8;
  for (std::int64_t i = 0; i < bytes; ++i) {
    const int high = i + 1 < stored ? bits[i + 1] << (8 - shift) : 0;
    buffer[i] = static_cast<std::uint8_t>(bits[i] >> shift | high);
  }
  return buffer;
}

[[gnu::noinline]] void keep_bits(const StepTile& s) {
  const std::uint8_t* bits = tile_bits(s.step.bits, s.tile, s.work.bits);
  std::int64_t i = 0;
  for (; i + vector_floats <= s.tile.count; i += vector_floats) {
    const auto kept = static_cast<std::uint32_t>(WholeStrip{}.load_bits<1>(bits + i / 8));
    Simd::store(s.out + i, Simd::keep(Simd::load(s.in + i), kept));
  }
  for (; i < s.tile.count; ++i) s.out[i] = (bits[i / 8] >> (i % 8) & 1) != 0 ? s.in[i] : 0.0f;
}

/// Joins bits into a byte that another tile, perhaps on another thread, also writes.
void join_byte(std::uint8_t& byte, int bits) {
  std::atomic_ref(byte).fetch_or(static_cast<std::uint8_t>(bits), std::memory_order_relaxed);
}

[[gnu::noinline]] void store_bits(const StepTile& s) {
  const std::int64_t count = s.tile.count, whole = count / 16 * 16;
  std::uint8_t* packed = s.work.bits;
  for (std::int64_t i = 0; i < whole; i += vector_floats)
    WholeStrip{}.store_bits<1>(packed + i / 8, Simd::between(Simd::load(s.in + i), s.step.lo, s.step.hi));
  int mask = 0;
  for (std::int64_t i = whole; i < count; ++i)
    mask |= (s.step.lo < s.in[i] && s.in[i] < s.step.hi ? 1 : 0) << (i - whole);
  packed[whole / 8] = static_cast<std::uint8_t>(mask);
  packed[whole / 8 + 1] = static_cast<std::uint8_t>(mask >> 8);

  std::uint8_t* out = s.step.bits_out + s.tile.first / 8;
  const int shift = static_cast<int>(s.tile.first % 8);
  const std::int64_t end = shift + count;  // in bits from out[0]
  if (shift == 0) {
    std::memcpy(out, packed, static_cast<std::size_t>(count / 8));
  } else {
    if (end >= 8) join_byte(out[0], packed[0] << shift);
    for (std::int64_t i = 1; i < end / 8; ++i)
      out[i] = static_cast<std::uint8_t>(packed[i] << shift | packed[i - 1] >> (8 - shift));
  }
  if (end % 8 == 0) return;
  const std::int64_t last = end / 8;
  const int low = last > 0 && shift != 0 ? packed[last - 1] >> (8 - shift) : 0;
  const int high = last * 8 - shift < count ? packed[last] << shift : 0;
  join_byte(out[last], (low | high) & ((1 << (end % 8)) - 1));
}

/// Runs step `index` (and perhaps the one after it); answers how many it ran.
int run_step(const StepTile& s, std::int64_t index, std::int64_t chunk) {
  const Step* next = index + 1 < s.plan.step_count ? &s.plan.steps[index + 1] : nullptr;
  const float* in = s.in;
  float* out = s.out;
  switch (s.step.kind) {
    case StepKind::scale_shift:
      return scale_shift(s, next) ? 2 : 1;
    case StepKind::add:
      return add(s, next) ? 2 : 1;
    case StepKind::relu:
      each(s.tile.count, [=](std::int64_t i) { out[i] = positive(in[i]); });
      break;
    case StepKind::clamp:
      each(s.tile.count, [=, hi = s.step.hi](std::int64_t i) { out[i] = clamped(in[i], hi); });
      break;
    case StepKind::keep_where:
      if (next != nullptr && next->kind == StepKind::combine && s.plan.steps[index + 1].x == s.step.x) {
        keep_and_combine(s, StepTile(s.plan, s.tile, s.work, index + 1, s.in));
        return 2;
      }
      keep_where(s);
      break;
    case StepKind::keep_bits:
      keep_bits(s);
      break;
    case StepKind::combine:
      combine(s);
      break;
    case StepKind::drop:
      drop(s);
      break;
    case StepKind::store:
      store_block(s.step.out, s.tile, in);
      break;
    case StepKind::store_bits:
      store_bits(s);
      break;
    case StepKind::look:
      (*s.step.look)(s.tile.sample, s.tile.count / s.plan.c, in);
      break;
    case StepKind::sums: {
      Look nothing;
      (s.x != nullptr ? add_sums<true, false> : add_sums<false, false>)(s.plan, chunk, s.tile, index, in, s.x,
                                                                        s.work, nothing);
      break;
    }
  }
  return 1;
}

bool changes_value(StepKind kind) {
  return kind != StepKind::store && kind != StepKind::store_bits && kind != StepKind::sums &&
         kind != StepKind::look;
}

[[gnu::noinline]] void count_max(const ChainPlan& plan, std::int64_t chunk, const ChainTile& tile,
                                 const float* v) {
  if (plan.max_granularity != Granularity::channel) {
    Floats largest[4] = {};
    std::int64_t i = 0;
    for (; i + 4 * vector_floats <= tile.count; i += 4 * vector_floats)
      for (int j = 0; j < 4; ++j) largest[j] = Simd::farther(largest[j], WholeStrip{}.load(v + i, j));
    for (int j = 1; j < 4; ++j) largest[0] = Simd::farther(largest[0], largest[j]);
    std::uint32_t found = largest_bits(largest[0]);
    for (; i < tile.count; ++i) found = larger_magnitude(found, v[i]);
    return note_tile_max(plan, tile, found);
  }
  std::uint32_t* largest = plan.channel_max(chunk);
  each_in_period(tile.count, plan.period,
                 [=](std::int64_t i, std::int64_t k) { largest[k] = larger_magnitude(largest[k], v[i]); });
}

/// The bits of the largest magnitude; unlike count_max it takes a NaN for one.
std::uint32_t largest_of(const float* v, std::int64_t count) {
  typename Simd::Integers largest[4] = {};
  std::int64_t i = 0;
  for (; i + 4 * vector_floats <= count; i += 4 * vector_floats)
    for (int j = 0; j < 4; ++j)
      largest[j] = Simd::largest_magnitude(largest[j], Simd::load(v + i + j * vector_floats));
  std::uint32_t lanes[4 * vector_floats], found = 0;
  std::memcpy(lanes, largest, sizeof(lanes));
  for (const std::uint32_t lane : lanes) found = lane > found ? lane : found;
  for (; i < count; ++i) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(v[i]) & 0x7FFFFFFFu;
    found = bits > found ? bits : found;
  }
  return found;
}

[[gnu::noinline]] void run_block(const ChainPlan& plan, std::int64_t chunk, const ChainTile& tile,
                                 const ChainWork& work, std::int8_t* integers) {
  const float* v = plan.x ? floats_of(plan.x, tile, work.values) : work.values;
  if (!plan.x) std::memset(work.values, 0, static_cast<std::size_t>(tile.count) * sizeof(float));
  for (std::int64_t i = 0; i < plan.step_count;) {
    const StepTile step(plan, tile, work, i, v);
    if (looks_beside_sums(plan, i)) {
      Look look{plan.vector(i + 1, 0)};
      (step.x != nullptr ? add_sums<true, true> : add_sums<false, true>)(plan, chunk, tile, i, v, step.x,
                                                                         work, look);
      return note_tile_max(plan, tile, largest_bits(look.largest));
    }
    i += run_step(step, i, chunk);
    if (changes_value(step.step.kind)) v = work.values;
  }
  if (plan.want_max) count_max(plan, chunk, tile, v);
  if (plan.quantize == nullptr) return;
  quantize_block(plan, plan.counts()[chunk], tile, v, work, integers);
}

void run_tiles(const ChainPlan& plan, std::int64_t chunk) {
  alignas(64) char stack[chain_stack_bytes];
  const ChainWork work(plan, chunk, stack);
  FusedRun fused = nullptr;
  FusedSums sums = nullptr;
  with_type(plan.x.type, [&](auto element) {
    if (!all_tensors_are(plan, plan.x.type)) return;
    fused = find_fused<decltype(element)>(plan);
    sums = find_fused_sums<decltype(element)>(plan);
  });
  for_tiles(plan, chunk, [&](const ChainTile& tile) {
    if (fused != nullptr && fits_fused(plan, tile))
      fused(plan, chunk, tile, work.integers);
    else
      for_blocks(plan, tile, [&](const ChainTile& block, std::int64_t done) {
        if (sums != nullptr && block.count % plan.lanes == 0 && fills_bytes(block))
          sums(plan, chunk, block, work);
        else
          run_block(plan, chunk, block, work, work.integers + done);
      });
    for_planes(plan, work, [&](std::int64_t view, const std::int8_t* q, void* target) {
      write_view(plan, view, tile, q, target);
    });
  });
}

}  // namespace
}  // namespace octavo::kernels
// NOLINTEND(misc-definitions-in-headers)
