// Clip search on magnitude histograms: what a quantizer with range +-clip would do to the counted values.
#pragma once

#include <cstdint>
#include <limits>

#include "octavo/precision.h"

namespace octavo {

/// Cosine distance 1 - <g, q(g)> / (|g| |q(g)|) of nearest rounding into +-qmax steps of clip / qmax, from
/// the counts alone: values are taken as spread evenly inside their bin. A known largest magnitude (else
/// infinity) ends the highest bin, and one value lies right there: it often carries much of the norm. 0 for
/// an empty histogram.
double cosine_distance(const MagnitudeHistogram& histogram, double clip, int bits,
                       double maximum = std::numeric_limits<double>::infinity());

/// The largest magnitude that is surely counted: upper edge of the highest non-empty bin.
double histogram_maximum(const MagnitudeHistogram& histogram);

/// Lower and upper edge of a bin.
struct BinEdges {
  double low, high;
};
BinEdges bin_edges(int bin);

}  // namespace octavo
