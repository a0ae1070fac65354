// Statistics of a float tensor in one pass: integer counts, the same in any order and for any number of
// threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels.h"
#include "octavo/precision.h"

namespace octavo {

/// Counts the magnitudes of values that arrive in pieces; counters of several threads add up to the same.
class MagnitudeCounter {
 public:
  void add(const float* values, std::int64_t count);
  /// Adds what was counted since the last call to `histogram`.
  void flush(MagnitudeHistogram& histogram);

 private:
  void empty_tables();
  // Counts and sums since the tables were emptied, in one word per bin, so that a value is one addition; two
  // tables take turns, so that equal neighbours do not wait for each other.
  using Table = std::vector<std::uint64_t>;
  Table even_ = Table(MagnitudeHistogram::bins), odd_ = even_, counts_ = even_, sums_ = even_;
  std::int64_t in_tables_ = 0;
};

/// Adds `count` values to the histogram.
void count_magnitudes(const float* values, std::int64_t count, MagnitudeHistogram& histogram,
                      const kernels::Parallel& parallel);

/// One summary per channel of values [pixels][channels].
std::vector<ChannelSummary> summarize_channels(const float* values, std::int64_t pixels,
                                               std::int64_t channels, const kernels::Parallel& parallel);

/// Raises reach[k] to the largest |v| * inverse_scale of channel k, values [pixels][channels].
void extend_reach(const float* values, std::int64_t pixels, float inverse_scale, std::span<float> reach);

}  // namespace octavo
