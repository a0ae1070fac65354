// What the pass that orders samples by class reads and writes. Pointers are of the device.
#pragma once

#include "../range_scale.h"
#include "../sample_classes.h"
#include "pointers.h"
#include "sample_order.h"

namespace octavo::kernels::cuda {

/// Classes from the samples' maxima by the executor's rule, where there are maxima; then the order by class.
struct OrderSamples {
  int samples = 1;
  int places = 1;  // entries of the order: the samples, or all rows of a single one (rows_as_batch)
  int classes = most_ranges;                // of the plan; given ones beyond the last count as the last
  const std::uint32_t* max_bits = nullptr;  // null: sample_class is given
  const float* cap = nullptr;               // no range is above it; null: none
  float qmax = 127;
  Grid grid = Grid::every;
  std::uint8_t* sample_class = nullptr;
  float* class_scale = nullptr;                      // of class 0; with maxima
  float *scale = nullptr, *inverse_scale = nullptr;  // of each sample; with maxima
  SampleOrder* order = nullptr;
  std::int32_t* entries = nullptr;  // most_segments(places, classes) * 16

  OCTAVO_HD constexpr int class_of(int place) const {
    const int of = sample_class[samples == 1 ? 0 : place];
    return of < classes ? of : classes - 1;
  }
};

inline void check_order(const OrderSamples& pass, const std::string& what) {
  if (pass.samples < 1 || (pass.samples != 1 && pass.places != pass.samples) || pass.places < pass.samples)
    throw std::invalid_argument(what + "as many places as samples, or one sample");
  check_pointer(pass.sample_class, "sample_class", what, 1);
  check_pointer(pass.order, "order", what, alignof(SampleOrder));
  check_pointer(pass.entries, "entries", what, alignof(std::int32_t));
  if (pass.classes < 1 || pass.classes > most_ranges)
    throw std::invalid_argument(what + "1 to " + std::to_string(most_ranges) + " classes");
  if (pass.max_bits == nullptr) return;
  if (pass.classes <= most_halves_below)
    throw std::invalid_argument(what + "classes from maxima are up to " +
                                std::to_string(most_halves_below + 1) +
                                "; plan with sample_classes = " + std::to_string(most_halves_below + 1));
  if (!(pass.qmax >= 1)) throw std::invalid_argument(what + "qmax starts at 1");
  check_pointer(pass.max_bits, "max_bits", what, alignof(std::uint32_t));
  check_optional_pointer(pass.cap, "cap", what, alignof(float));
  check_pointer(pass.class_scale, "class_scale", what, alignof(float));
  check_pointer(pass.scale, "scale", what, alignof(float));
  check_pointer(pass.inverse_scale, "inverse_scale", what, alignof(float));
}

}  // namespace octavo::kernels::cuda
