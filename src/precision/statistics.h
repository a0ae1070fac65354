// Statistics of a float tensor in one pass: integer counts, the same in any order and for any number of
// threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels.h"
#include "octavo/precision.h"

namespace octavo {

/// Adds `count` values to the histogram.
void count_magnitudes(const float* values, std::int64_t count, MagnitudeHistogram& histogram,
                      const kernels::Parallel& parallel);

/// One summary per channel of values [pixels][channels].
std::vector<ChannelSummary> summarize_channels(const float* values, std::int64_t pixels,
                                               std::int64_t channels, const kernels::Parallel& parallel);

/// Raises reach[k] to the largest |v| * inverse_scale[n] of channel k, values [samples][pixels][channels].
void extend_reach(const float* values, std::int64_t samples, std::int64_t pixels,
                  std::span<const float> inverse_scale, std::vector<float>& reach,
                  const kernels::Parallel& parallel);

}  // namespace octavo
