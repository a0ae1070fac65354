// Quantization of one edge or weight with the formats and scales that its slot asks for, and the integer
// product of two such operands: all that the executor and the laboratory know of slots.
#pragma once

#include <span>

#include "exec/plan.h"
#include "exec/runtime.h"
#include "octavo/op.h"
#include "precision/slots.h"
#include "weight_pass.h"

namespace octavo {

/// Where the integer copies of an edge go: one view each, of plane_count(bits) planes.
struct QuantizeTargets {
  std::span<const kernels::View> views;
  std::span<void* const> targets;
  std::span<const std::uint32_t> sample_maxima = {};  // known already: spares the pass for them
  bool known = false;  // the same values again: the slot keeps their scales and counts nothing
};

/// Runs `chain` with a tail that writes the views: takes the maximum first where the slot's mode asks for it
/// and, in training, counts what the controller wants to know. Errc::numeric at Inf or NaN.
void quantize_edge(Runtime& runtime, Slot& slot, kernels::Chain chain, Phase phase,
                   const QuantizeTargets& to);

/// A layer's weights, [k, r, s, c / groups].
struct Weights {
  const float* values;
  const Shape& shape;
  std::int64_t groups;
  std::span<const std::uint32_t> row_max = {};  ///< bits of the largest |value| of each k, where known
  /// Writes the values, segment by segment, before they are quantized; where quantizes_ahead().
  const kernels::WeightWriter* writer = nullptr;
};

/// The integers of weights in one slot, and who takes them.
struct WeightCopy {
  Slot* slot;
  std::span<const kernels::PackTarget> targets;
  const float* factor = nullptr;  ///< k of them: quantized is values[k, ...] factor[k]
  std::span<const std::uint32_t> column_max =
      {};                                   ///< bits of the largest |value factor| of each c, where known
  kernels::QuantizeStats* ahead = nullptr;  ///< with a writer: what was seen, for count_weights()
};

/// Quantizes a layer's weights and packs them for the targets of all copies, which are made in one pass where
/// they can be. Channel scales: k of them (by output), or one per input channel of all groups.
void quantize_weights(Runtime& runtime, const Weights& weights, std::span<const WeightCopy> copies);

/// Whether all copies can be made for the next step while the weights become those of it, in segments of
/// multiples of `unit` weights: their ranges are given, and nobody wants to look at them.
bool quantizes_ahead(Runtime& runtime, const Weights& weights, std::span<const WeightCopy> copies,
                     std::int64_t unit);

/// Of copies that were made with a writer: adds what that saw to the statistics of the step in progress.
/// Errc::numeric at Inf or NaN.
void count_weights(Runtime& runtime, const Weights& weights, std::span<const WeightCopy> copies);

/// The factors of a slot with channel_factors, all 1 until a policy has set them.
std::span<const float> channel_factors(Slot& slot, std::int64_t channels);

/// 1 / factor of each of the `channels` of a slot with channel_factors, valid until its next call; null for
/// other slots.
const float* inverse_factors(Slot& slot, std::int64_t channels);

/// What the channels of G have and W takes over where it is folded: its scale or factor of each channel.
const float* folded_factors(const Slot& gradient);

/// One integer product with the scales that its slots hold.
struct IntegerProduct {
  LayerProduct which;
  const kernels::ConvS8& kernel;
  const Slot &a_slot, &b_slot;
  const void *a, *b;  // as kernels::ConvArgs names them
  const float* bias;
  kernels::FloatTarget out;
  bool accumulate;
  bool folded = false;  ///< what A has per channel is in B already
  /// forward: sums by channel of the results, which batch norm begins with (src/ops/batch_norm.cpp), are made
  /// beside them; or null.
  ToldSums* sums = nullptr;
  Geometry geometry = {};  ///< of the results
};
void run_integer_product(Runtime& runtime, const IntegerProduct& product);

}  // namespace octavo
