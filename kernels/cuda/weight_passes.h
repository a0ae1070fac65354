// What passes over weights read and write: their ranges, the scales of their slots, their integer copies.
// Pointers are of the device.
#pragma once

#include "quantize_passes.h"
#include "slot_scales.h"
#include "weight_tiles.h"

namespace octavo::kernels::cuda {

/// Which weights share a range.
enum class WeightAxis : std::uint8_t { tensor, filter, input };

/// From what a step takes the ranges of a slot: a pass over the weights, the largest of each filter or of
/// each input channel times the filters' factors, as an update has told them, or ranges of the host.
enum class KnownMaxima : std::uint8_t { none, rows, columns, ranges };

/// The scales of one slot of weights.
struct WeightScales {
  SlotScales to;  // without ranges or maxima
  WeightLayout layout;
  WeightAxis axis = WeightAxis::tensor;
  const float* weights = nullptr;
  const float* factor = nullptr;        // per filter: of |w factor[filter]|; null: 1
  const KnownMaxima* known = nullptr;   // in this step
  const float* ranges = nullptr;        // as many as scales, as are the maxima
  const std::uint32_t* rows = nullptr;  // bits of the largest |w| of each filter
  const std::uint32_t* columns = nullptr;
  std::uint32_t* max_bits = nullptr;  // KnownMaxima::none: zeroed by the caller, raised; a NaN is largest

  OCTAVO_HD constexpr int range_of(int filter, int input) const {
    if (axis == WeightAxis::tensor) return 0;
    return axis == WeightAxis::filter ? filter : filter / layout.outputs() * layout.inputs() + input;
  }
  /// Whether maxima of filters are those of the scales as they are.
  OCTAVO_HD constexpr bool takes_rows() const { return axis == WeightAxis::filter && factor == nullptr; }
  /// Rounding keeps the order of products: the largest of a filter times its factor is the largest.
  OCTAVO_HD constexpr std::uint32_t row_range(int filter) const {
    const std::uint32_t bits = rows[filter];
    return factor == nullptr ? bits : magnitude_of(std::bit_cast<float>(bits) * factor[filter]);
  }
};

/// One integer copy. Scales per tensor, or per filter (forward, depthwise) or input channel (grad_input), as
/// granularity channel.
struct CopyOfWeights {
  WeightCopy kind = WeightCopy::forward;
  const float* factor = nullptr;  // per filter: quantized is w factor[filter]; null: 1
  QuantizeScales scales;
  QuantizeRule rule;
  std::int8_t* copy = nullptr;
  QuantizeCounts* counts = nullptr;
  const Draws* draws = nullptr;  // in place of the rule's key and first_index
};

/// FP32 weights [k, r, s, c / groups] into copies, from one read.
constexpr int most_copies = 4;
struct QuantizeWeights {
  WeightLayout layout;
  const float* weights = nullptr;
  CopyOfWeights copies[most_copies] = {};
  int count = 0;  // depthwise copies stay among themselves

  OCTAVO_HD constexpr WeightMatrices matrices() const {
    return matrices_of(layout, copies[0].kind == WeightCopy::depthwise);
  }
};

}  // namespace octavo::kernels::cuda
