// What a chain is refused for before its launch, and the plan of its sums. Plain C++: tests use it without
// CUDA.
#pragma once

#include <algorithm>

#include "../chain_plan.h"
#include "chain_pass.h"
#include "chain_sums.h"
#include "quantize_checks.h"

namespace octavo::kernels::cuda {

/// The structure that the CPU gives to the sums of such a tensor.
inline SumsWalk sums_walk(const ImageLayout& l) {
  const ChainPlan plan = plan_chain({.n = l.n, .h = l.h, .w = l.w, .c = l.c});
  const bool rows = plan.segments > 1;
  SumsWalk walk;
  walk.line = rows ? l.w : l.h * l.w;
  walk.tile = static_cast<int>(rows ? plan.columns : plan.rows * l.w);
  walk.piece = static_cast<int>(plan.block / l.c);
  walk.lanes = static_cast<int>(plan.lanes / l.c);
  walk.image_lines = rows ? l.h : 1;
  walk.image_units = static_cast<int>(plan.units);
  walk.unit_tiles = static_cast<int>(plan.tiles_in_unit);
  walk.images = l.n;
  walk.chunks = static_cast<int>(plan.chunks);
  // Narrow tiles of channels make up for few chunks, down to lines of 64 bytes of bfloat16.
  const std::int64_t slots =
      std::clamp(pixel_slots(l) * plan.chunks / 256, std::int64_t{2}, std::int64_t{16});
  walk.slots = smaller(std::min<std::int64_t>(slots, chain_threads / walk.lanes), pixel_slots(l));
  return walk;
}

inline std::int64_t chain_blocks(const ChainPass& pass) {
  const ImageLayout& l = pass.layout;
  if (has_step(pass, StepKind::sums)) {
    const SumsWalk walk = sums_walk(l);
    return std::int64_t{walk.chunks} * walk.slot_tiles(l);
  }
  return pass.batch_copy != nullptr ? batch_walk(l).blocks(l) : pixel_walk(l).blocks(l);
}

/// FP64 sums of the chunks.
inline std::int64_t chain_scratch_bytes(const ChainPass& pass) {
  return has_step(pass, StepKind::sums) ? std::int64_t{2} * sums_walk(pass.layout).chunks * pass.layout.c * 8
                                        : 0;
}

/// Words of bits that neighbouring threads share and join, from zero; 0: a thread stores whole bytes.
inline std::int64_t shared_bit_words(const ImageLayout& l) {
  return l.group_channels() % 8 == 0 ? 0 : ceil_div(pixels_of(l) * l.c, 32);
}

/// What is wrong with a step's own operands.
inline void check_step(const ChainStep& step, const std::string& what) {
  const auto floats = [](FloatType type) { return static_cast<std::size_t>(float_bytes(type)); };
  for (const float* vector : {step.a, step.b, step.d})
    check_optional_pointer(vector, "a vector of channels", what, alignof(float));
  check_optional_pointer(step.x.data, "x", what, floats(step.x.type));
  if (step.kind == StepKind::store) check_pointer(step.out.data, "out", what, floats(step.out.type));
  if (step.kind == StepKind::keep_bits) check_pointer(step.bits, "bits", what, 1);
  if (step.kind == StepKind::store_bits)
    check_pointer(step.bits_out, "bits_out", what, alignof(std::uint32_t));
  if (step.kind == StepKind::drop) check_pointer(step.draws, "draws", what, alignof(Draws));
}

inline void check_look(const ChainPass& pass, const std::string& what) {
  const ChainLook& look = pass.look;
  const bool wants = look.counts != nullptr || look.channel_counts != nullptr || look.reach != nullptr;
  if (wants != has_step(pass, StepKind::look))
    throw std::invalid_argument(what + (wants ? "statistics, but no step that looks"
                                              : "a step looks, but no statistics are asked for"));
  check_optional_pointer(look.counts, "counts", what, alignof(unsigned long long));
  if (look.counts != nullptr) check_pointer(look.sums, "sums", what, alignof(unsigned long long));
  check_optional_pointer(look.channel_counts, "channel_counts", what, alignof(unsigned));
  check_optional_pointer(look.reach, "reach", what, alignof(unsigned));
  if (look.reach != nullptr) check_pointer(look.inverse_scale, "inverse_scale", what, alignof(float));
}

inline void check_tail(const ChainPass& pass, const std::string& what) {
  if (!pass.quantizes()) {
    if (pass.counts != nullptr) throw std::invalid_argument(what + "counts without a copy to write");
    return;
  }
  if (pass.layout.places > 0)
    throw std::invalid_argument(what +
                                "samples in the order of their classes; write the pixel copy alone, and "
                                "the other one from it with turn_image()");
  check_rule(pass.rule, what);
  check_pointer(pass.scales.inverse, "inverse scales", what, alignof(float));
  if (pass.rule.stochastic) check_pointer(pass.draws, "draws of stochastic rounding", what, alignof(Draws));
  check_optional_pointer(pass.pixel_copy, "pixel_copy", what, segment_bytes);
  check_optional_pointer(pass.batch_copy, "batch_copy", what, segment_bytes);
  check_optional_pointer(pass.counts, "counts", what, alignof(QuantizeCounts));
}

/// Threads write what they have read, but an element of another type lies over those of other threads.
inline void check_stores(const ChainPass& pass, const std::string& what) {
  for (int i = 0; i < pass.step_count; ++i) {
    const FloatTarget& out = pass.steps[i].out;
    const auto clashes = [&](const FloatSource& from) {
      return out.data != nullptr && out.data == from.data && out.type != from.type;
    };
    bool found = clashes(pass.x);
    for (int j = 0; j < pass.step_count; ++j) found = found || clashes(pass.steps[j].x);
    if (found)
      throw std::invalid_argument(what + "step " + std::to_string(i) +
                                  " stores over what the chain reads, as another type");
  }
}

inline void check_pass(const ChainPass& pass, const std::string& what) {
  const ImageLayout& l = pass.layout;
  check_layout(l, what);
  if (pixels_of(l) >= most_blocks - 8192)  // a thread counts on beyond the last by less than that
    throw std::invalid_argument(what + "about 2^31 pixels or more; use a smaller batch");
  if (pass.step_count < 0 || pass.step_count > most_chain_steps)
    throw std::invalid_argument(what + std::to_string(pass.step_count) + " steps; a chain has at most " +
                                std::to_string(most_chain_steps) + ", cut it at a store");
  if (chain_blocks(pass) >= most_blocks)
    throw std::invalid_argument(what + "2^31 blocks or more; use a smaller batch");
  check_optional_pointer(pass.x.data, "x", what, static_cast<std::size_t>(float_bytes(pass.x.type)));
  const ChainStep* steps = pass.steps;
  for (int i = 0; i < pass.step_count; ++i) check_step(steps[i], what + "step " + std::to_string(i) + ": ");
  for (const StepKind kind : {StepKind::sums, StepKind::look})
    if (std::count_if(steps, steps + pass.step_count, [=](const ChainStep& s) { return s.kind == kind; }) > 1)
      throw std::invalid_argument(what + "at most one step of sums and one look in a chain");
  check_stores(pass, what);
  check_look(pass, what);
  check_tail(pass, what);
  check_optional_pointer(pass.max_bits, "max_bits", what, alignof(std::uint32_t));
  if (!has_step(pass, StepKind::sums)) return;
  if (pass.sum_v == nullptr && pass.sum_vx == nullptr)
    throw std::invalid_argument(what + "a step of sums, but neither sum_v nor sum_vx");
  check_optional_pointer(pass.sum_v, "sum_v", what, alignof(double));
  check_optional_pointer(pass.sum_vx, "sum_vx", what, alignof(double));
  check_pointer(pass.scratch, "scratch", what, alignof(double));
}

}  // namespace octavo::kernels::cuda
