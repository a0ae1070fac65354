// How blocks and threads share weights when they write all copies from one read: a block takes 64 filters
// and 64 inputs of one tap, a thread 16 inputs of one filter, and for a copy with filters innermost it stores
// through shared memory 16 filters of one input.
#pragma once

#include "layouts.h"
#include "quantize_tiles.h"

namespace octavo::kernels::cuda {

/// Weights as matrices [filters][inputs], one for each group and tap. Depthwise: one, its inputs the taps.
struct WeightMatrices {
  int filters = 1, inputs = 1, groups = 1, taps = 1;

  OCTAVO_HD constexpr int filter_pitch() const { return static_cast<int>(whole_segments(filters)); }
  OCTAVO_HD constexpr int input_pitch() const { return static_cast<int>(whole_segments(inputs)); }
  OCTAVO_HD constexpr int filter_tiles() const { return static_cast<int>(ceil_div(filters, quantize_tile)); }
  OCTAVO_HD constexpr int input_tiles() const { return static_cast<int>(ceil_div(inputs, quantize_tile)); }
  OCTAVO_HD constexpr std::int64_t tiles() const {
    return std::int64_t{groups} * taps * filter_tiles() * input_tiles();
  }

  OCTAVO_HD constexpr std::int64_t element(int group, int tap, int filter, int input) const {
    return ((std::int64_t{group} * filters + filter) * taps + tap) * inputs + input;
  }
  /// Bytes of the copy with inputs innermost, and of the one with filters innermost.
  OCTAVO_HD constexpr std::int64_t forward_byte(int group, int tap, int filter, int input) const {
    return ((std::int64_t{group} * filters + filter) * taps + tap) * input_pitch() + input;
  }
  OCTAVO_HD constexpr std::int64_t turned_byte(int group, int tap, int filter, int input) const {
    return ((std::int64_t{group} * inputs + input) * taps + tap) * filter_pitch() + filter;
  }
};
OCTAVO_HD constexpr WeightMatrices matrices_of(const WeightLayout& l, bool depthwise) {
  return depthwise ? WeightMatrices{l.k, l.taps, 1, 1}
                   : WeightMatrices{l.outputs(), l.inputs(), l.groups, l.taps};
}

/// The tile of a block: its first filter and input in a group.
struct WeightTile {
  int group, tap, filter, input;
};
OCTAVO_HD constexpr WeightTile weight_tile(const WeightMatrices& m, int part) {
  const int of_inputs = part / m.input_tiles(), of_filters = of_inputs / m.filter_tiles();
  return {of_filters / m.taps, of_filters % m.taps, of_inputs % m.filter_tiles() * quantize_tile,
          part % m.input_tiles() * quantize_tile};
}

}  // namespace octavo::kernels::cuda
