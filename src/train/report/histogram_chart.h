// The distribution of one slot's magnitudes, early and late in training.
#pragma once

#include <string>

#include "train/report/run_record.h"
#include "train/report/series.h"

namespace octavo::report {

struct HistogramChart {
  std::string title;
  const OctaveHistogram* early = nullptr;
  const OctaveHistogram* late = nullptr;  ///< null: only one was recorded
  Range exponents;                        ///< of the horizontal axis, shared by all charts of a page
};

std::string histogram_chart(const HistogramChart& chart);  ///< a <figure>

}  // namespace octavo::report
