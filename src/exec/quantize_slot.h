// The scales of a slot and one quantize pass with them: what edges and weights share.
#pragma once

#include "exec/quantize.h"
#include "function_ref.h"

namespace octavo {

constexpr std::uint32_t infinity_bits = 0x7F800000u;

/// Errc::numeric, naming the slot, where the largest magnitude is Inf or NaN.
void refuse_non_finite(const Slot& slot, const Runtime& runtime, std::uint32_t max_bits);

/// Scales of a chain's values: 1, or one per sample or channel.
std::size_t scale_count(ScaleGranularity granularity, const kernels::Chain& chain);

/// The ranges that a pass need not look for, one per scale: fixed, frozen for evaluation or held. False:
/// maxima decide. Weights are as in training in evaluation too.
bool given_ranges(const Slot& slot, Phase phase, std::span<float> ranges);

/// No range of a sample is above it: a held range cannot be each sample's, it is the most that any covers.
float sample_cap(const Slot& slot);

/// Adds slot.max_bits, of channels, to what the step has seen.
void merge_channel_maxima(Slot& slot);

/// The scale of |v| <= range.
void set_scale(Slot& slot, std::size_t index, float range);

/// The scales of slot.max_bits. Errc::numeric at Inf or NaN.
void scales_from_maxima(Slot& slot, Runtime& runtime);

/// slot.max_bits of the chain's values, by a pass over them.
void look_for_maximum(Slot& slot, Runtime& runtime, const kernels::Chain& chain, std::size_t count);
/// And their scales.
void take_maximum(Slot& slot, Runtime& runtime, const kernels::Chain& chain, std::size_t count);

/// The quantization of one pass, with the scales that the slot holds now.
kernels::Quantize describe(const Slot& slot, const Runtime& runtime, std::uint64_t first_index);

/// Runs the chain with its tail, by `pass`; `observed` adds what it saw to the slot's statistics.
/// Errc::numeric at Inf or NaN.
void run_tail(Runtime& runtime, Slot& slot, kernels::Chain chain, const kernels::Quantize& quantize,
              bool observed, FunctionRef<void(kernels::Chain&)> pass);

/// Adds what a tail counted, with the scales that the slot holds, to its statistics.
void count_tail(Slot& slot, const kernels::QuantizeStats& stats, std::int64_t elements);

void run(Runtime& runtime, kernels::Chain& chain);

}  // namespace octavo
