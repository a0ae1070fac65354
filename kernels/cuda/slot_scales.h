// What passes over the scales of a slot read and write: from ranges to scales.
// Pointers are of the device.
#pragma once

#include <algorithm>

#include "../range_scale.h"
#include "../sample_classes.h"
#include "pointers.h"
#include "quantize_passes.h"
#include "update_rule.h"

namespace octavo::kernels::cuda {

/// Scales of `count` ranges, by the rule of the CPU (src/exec/quantize_slot.cpp): those that the host gives,
/// or maxima as bit patterns, of which those without a range take the smallest scale of the others, if their
/// integers have a zero.
struct SlotScales {
  int count = 1;
  const float* ranges = nullptr;  // null: the maxima
  const std::uint32_t* max_bits = nullptr;
  const float* cap = nullptr;  // with maxima: no range is above it; null: none
  float qmax = 127;
  bool power_of_two = false;
  Grid grid = Grid::every;
  float *scale = nullptr, *inverse = nullptr;
  std::uint32_t* largest = nullptr;  // raised to the bits of the largest scale times qmax; or null

  OCTAVO_HD constexpr float range(int i) const {
    if (ranges != nullptr) return ranges[i];
    const float most = std::bit_cast<float>(max_bits[i]);
    return cap != nullptr && *cap < most ? *cap : most;
  }
  OCTAVO_HD constexpr RangeScale at(int i) const {
    return usable_range(range(i)) ? scale_of_range(range(i), qmax, power_of_two, grid)
                                  : scale_without_range(grid);
  }
};

/// After order_samples(): the largest range of a slot by sample class, and where channels have factors the
/// scale of class 0 times each.
struct ClassScales {
  int samples = 1;
  const float* scale = nullptr;
  float qmax = 127;
  std::uint32_t* largest = nullptr;
  int channels = 0;
  const float *factor = nullptr, *class_scale = nullptr;
  float* channel_scale = nullptr;  // null: no factors
};

/// to[i] = from[i] * factor[i] (from null: 1) of up to three vectors.
struct ChannelProducts {
  int channels = 1;
  const float* factor = nullptr;
  const float* from[3] = {};
  float* to[3] = {};  // null: no such vector
};

/// Makes the gradient's norm a NaN, so that no weight changes, where a slot met Inf or NaN, a label is none
/// of the classes or a loss is not finite: the host finds why when it reads the counts.
struct StepGuard {
  const QuantizeCounts* counts = nullptr;
  int slots = 0;
  const unsigned* bad_samples = nullptr;
  const float* results = nullptr;  // losses
  int losses = 0;
  StepScalars* step = nullptr;
};

inline void check_scales(const SlotScales& s, const std::string& what) {
  if (s.count < 1) throw std::invalid_argument(what + "sizes start at 1");
  if ((s.ranges == nullptr) == (s.max_bits == nullptr))
    throw std::invalid_argument(what + "either ranges or maxima");
  if (!(s.qmax >= 1)) throw std::invalid_argument(what + "qmax starts at 1");
  check_optional_pointer(s.ranges, "ranges", what, alignof(float));
  check_optional_pointer(s.max_bits, "max_bits", what, alignof(std::uint32_t));
  check_optional_pointer(s.cap, "cap", what, alignof(float));
  check_pointer(s.scale, "scale", what, alignof(float));
  check_pointer(s.inverse, "inverse", what, alignof(float));
  check_optional_pointer(s.largest, "largest", what, alignof(std::uint32_t));
}

inline void check_scales(const ClassScales& s, const std::string& what) {
  if (s.samples < 1 || s.channels < 0) throw std::invalid_argument(what + "sizes start at 1");
  check_pointer(s.scale, "scale", what, alignof(float));
  check_pointer(s.largest, "largest", what, alignof(std::uint32_t));
  if (s.channel_scale == nullptr) return;
  if (s.channels < 1) throw std::invalid_argument(what + "scales of channels, but no channels");
  for (const float* vector : {s.factor, s.class_scale, static_cast<const float*>(s.channel_scale)})
    check_pointer(vector, "factor, class_scale or channel_scale", what, alignof(float));
}

}  // namespace octavo::kernels::cuda
