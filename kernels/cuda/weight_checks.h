// What passes over weights are refused for, when a list of them is made.
#pragma once

#include "quantize_checks.h"
#include "weight_passes.h"

namespace octavo::kernels::cuda {

inline void check_layout(const WeightLayout& l, const std::string& what) {
  for (const int size : {l.k, l.taps, l.c, l.groups})
    if (size < 1) throw std::invalid_argument(what + "sizes start at 1");
  if (l.k % l.groups != 0 || l.c % l.groups != 0)
    throw std::invalid_argument(what + "groups must divide filters and channels");
}

inline void check_pass(const WeightScales& w) {
  const std::string what = describe_pass("weight_scales", w.layout);
  check_layout(w.layout, what);
  const int ranges = w.axis == WeightAxis::tensor   ? 1
                     : w.axis == WeightAxis::filter ? w.layout.k
                                                    : w.layout.c;
  if (w.to.count != ranges)
    throw std::invalid_argument(what + std::to_string(w.to.count) + " scales for " + std::to_string(ranges) +
                                " ranges");
  SlotScales to = w.to;
  if (to.ranges != nullptr || to.max_bits != nullptr)
    throw std::invalid_argument(what + "ranges and maxima are those of the pass");
  to.max_bits = w.max_bits;
  check_pointer(w.max_bits, "max_bits", what, alignof(std::uint32_t));
  check_scales(to, what);
  check_pointer(w.weights, "weights", what, alignof(float));
  check_pointer(w.known, "known", what, alignof(KnownMaxima));
  check_pointer(w.ranges, "ranges", what, alignof(float));
  check_optional_pointer(w.factor, "factor", what, alignof(float));
  check_optional_pointer(w.rows, "rows", what, alignof(std::uint32_t));
  check_optional_pointer(w.columns, "columns", what, alignof(std::uint32_t));
}

inline void check_copy(const CopyOfWeights& copy, const WeightLayout& l, bool depthwise,
                       const std::string& what) {
  check_rule(copy.rule, what);
  if ((copy.kind == WeightCopy::depthwise) != depthwise)
    throw std::invalid_argument(what + "depthwise copies stay among themselves");
  if (depthwise && l.inputs() != 1)
    throw std::invalid_argument(what + "a depthwise copy has one input a filter");
  if (copy.scales.granularity == Granularity::sample)
    throw std::invalid_argument(what + "weights have no scales by sample");
  check_optional_pointer(copy.factor, "factor", what, alignof(float));
  check_pointer(copy.scales.inverse, "inverse scales", what, alignof(float));
  check_pointer(copy.copy, "copy", what, segment_bytes);
  check_optional_pointer(copy.counts, "counts", what, alignof(QuantizeCounts));
  check_optional_pointer(copy.draws, "draws", what, alignof(Draws));
}

inline void check_pass(const QuantizeWeights& pass) {
  const std::string what = describe_pass("quantize_weights", pass.layout);
  check_layout(pass.layout, what);
  if (pass.count < 1 || pass.count > most_copies)
    throw std::invalid_argument(what + "1 to " + std::to_string(most_copies) + " copies");
  check_pointer(pass.weights, "weights", what, alignof(float));
  const bool depthwise = pass.copies[0].kind == WeightCopy::depthwise;
  for (int i = 0; i < pass.count; ++i) check_copy(pass.copies[i], pass.layout, depthwise, what);
}

}  // namespace octavo::kernels::cuda
