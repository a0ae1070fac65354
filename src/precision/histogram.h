// What a quantizer would do to counted values: clip search, class and width tests work on magnitude
// histograms. Inside a bin values are taken as spread with a linear density of the bin's mean (even where the
// means were not kept); the largest magnitude, when known, lies right where it is: it often carries much of
// the norm.
#pragma once

#include <cstdint>
#include <limits>

#include "octavo/precision.h"

namespace octavo {

inline constexpr double unknown_maximum = std::numeric_limits<double>::infinity();

/// Cosine distance 1 - <g, q(g)> / (|g| |q(g)|) of nearest rounding into +-qmax steps of clip / qmax. 0 for
/// an empty histogram.
double cosine_distance(const MagnitudeHistogram& histogram, double clip, double qmax,
                       double maximum = unknown_maximum);

/// log2(|mean|x| - mean|q(x)|| / mean|x| + 1) for nearest rounding into +-qmax steps of `step`: the
/// quantization error measurement of Zhang et al. (arXiv 1911.00361). 0 for an empty histogram.
double mean_shift(const MagnitudeHistogram& histogram, double step, double qmax,
                  double maximum = unknown_maximum);

/// Sums over all v of v^2, |v| min(|v|, clip) and min(|v|, clip)^2: what clipping alone does to a direction.
struct ClippedSums {
  double energy = 0, product = 0, clipped = 0;
};
ClippedSums clipped_sums(const MagnitudeHistogram& histogram, double clip, double maximum = unknown_maximum);

/// sqrt(mean v^2), and the share of |v| above it; `maximum` is the largest |v|.
ChannelSummary summarize(const MagnitudeHistogram& histogram, float maximum);

/// The largest magnitude that is surely counted: upper edge of the highest non-empty bin.
double histogram_maximum(const MagnitudeHistogram& histogram);

/// Lower and upper edge of a bin.
struct BinEdges {
  double low, high;
};
BinEdges bin_edges(int bin);

}  // namespace octavo
