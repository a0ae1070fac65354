// Axes: from values to places in a drawing, with ticks at round values.
#pragma once

#include <string>
#include <vector>

#include "train/report/series.h"
#include "train/report/text.h"

namespace octavo::report {

struct Tick {
  double value = 0;
  std::string label;
};

/// Maps [low, high] to [from, to], linearly or by logarithm; values outside land on the nearer end.
class Axis {
 public:
  Axis(Range values, double from, double to, bool logarithmic = false);
  double operator()(double value) const;
  const Range& values() const { return values_; }
  double from() const { return from_; }
  double to() const { return to_; }
  bool logarithmic() const { return logarithmic_; }

 private:
  double measure(double value) const;

  Range values_;
  double from_, to_;
  bool logarithmic_;
};

/// Steps of 1, 2 or 5 times a power of ten, about `count` of them, within the range.
std::vector<Tick> linear_ticks(Range range, int count, Unit unit = Unit::plain);
/// The powers of ten within the range, thinned to about `count`: "10⁻⁴", "0.01%".
std::vector<Tick> logarithmic_ticks(Range range, int count, Unit unit = Unit::plain);

/// The range widened to round values; a range of one value gets a width.
Range rounded_out(Range range, int ticks);
/// The same to whole powers of ten; `low` must be above 0.
Range rounded_out_logarithmic(Range range);

}  // namespace octavo::report
