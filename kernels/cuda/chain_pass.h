// A pointwise chain on the device: kernels::Chain with pointers of the device, and what changes from step to
// step behind them. A captured step then runs again with other scales and other random numbers.
#pragma once

#include <bit>

#include "quantize_passes.h"

namespace octavo::kernels::cuda {

constexpr int most_chain_steps = 16;
using Values = float[segment_bytes];  // what a thread holds of a pixel

/// As kernels::Step. `look` shows its values to ChainPass::look.
struct ChainStep {
  StepKind kind = StepKind::relu;
  const float *a = nullptr, *b = nullptr, *d = nullptr;
  FloatSource x;
  FloatTarget out;
  const std::uint8_t* bits = nullptr;
  std::uint8_t* bits_out = nullptr;  // whole 32-bit words, which the chain does not read
  float lo = 0, hi = 3.0e38f;
  const Draws* draws = nullptr;  // drop
};

constexpr int magnitude_bins = 4096;  // of the high bits of |v|, as MagnitudeHistogram has them
/// The bits of |v|. What arithmetic makes NaN has all of them on a device; it counts as the CPU's.
OCTAVO_HD constexpr std::uint32_t counted_bits(float v) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(v) & 0x7FFFFFFFu;
  return bits == 0x7FFFFFFFu ? 0x7FC00000u : bits;
}

/// What a step `look` counts, added to; null: not wanted.
struct ChainLook {
  unsigned long long* counts = nullptr;  // per bin: values
  unsigned long long* sums = nullptr;    // with counts: sums of the low 19 bits
  unsigned* channel_counts = nullptr;    // [c][bins]
  unsigned* reach = nullptr;             // per channel: bits of the largest |v| * (inverse_scale / qmax)
  const float* inverse_scale = nullptr;  // with reach: 1 value, or n
  bool inverse_by_sample = false;
  float qmax = 127;

  OCTAVO_HD constexpr bool counts_bins() const { return counts != nullptr; }
};

/// v = x (or zero), the steps, the tails that are asked for; see kernels::Chain. A store may go over a tensor
/// that the chain reads: an element is one thread's. Without copies nothing is quantized. Results that are
/// added to or maxima are the caller's to zero.
struct ChainPass {
  ImageLayout layout;  // groups matter to the copies alone
  FloatSource x;
  int step_count = 0;
  ChainStep steps[most_chain_steps];

  QuantizeScales scales;
  QuantizeRule rule;
  const Draws* draws = nullptr;  // where rounding is stochastic
  std::int8_t* pixel_copy = nullptr;
  std::int8_t* batch_copy = nullptr;
  QuantizeCounts* counts = nullptr;

  std::uint32_t* max_bits = nullptr;  // 1, c or n values
  Granularity max_granularity = Granularity::tensor;
  double* sum_v = nullptr;   // c values, overwritten
  double* sum_vx = nullptr;  // or null
  void* scratch = nullptr;   // chain_scratch_bytes(pass)
  ChainLook look;

  OCTAVO_HD constexpr bool quantizes() const { return pixel_copy != nullptr || batch_copy != nullptr; }
};

OCTAVO_HD constexpr bool has_step(const ChainPass& pass, StepKind kind) {
  for (int i = 0; i < pass.step_count; ++i)
    if (pass.steps[i].kind == kind) return true;
  return false;
}

}  // namespace octavo::kernels::cuda
