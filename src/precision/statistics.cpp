#include "precision/statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "precision/histogram.h"

namespace octavo {
namespace {

constexpr int bins = MagnitudeHistogram::bins;
constexpr std::int64_t lanes = 16;  // channels of one block: their counters fit the L2 cache

std::uint32_t magnitude_bits(float v) { return std::bit_cast<std::uint32_t>(v) & 0x7FFFFFFFu; }

/// Counts and sums of one part. One word per bin holds both, so that a value is one addition; two tables take
/// turns, so that equal neighbours do not wait for each other.
class Part {
 public:
  void add(const float* values, std::int64_t count) {
    for (std::int64_t first = 0; first < count; first += most) {
      const std::int64_t end = std::min(first + most, count);
      std::int64_t i = first;
      for (; i + 2 <= end; i += 2) {
        add_one(even_, values[i]);
        add_one(odd_, values[i + 1]);
      }
      if (i < end) add_one(even_, values[i]);
      flush();
    }
  }

  std::vector<std::uint64_t> counts = std::vector<std::uint64_t>(bins), sums = counts;

 private:
  static constexpr int sum_bits = 40;
  static constexpr std::int64_t most = std::int64_t{1} << (sum_bits - 19);  // the sums of so many values fit

  static void add_one(std::vector<std::uint64_t>& table, float v) {
    const std::uint32_t bits = magnitude_bits(v);
    table[bits >> 19] += (std::uint64_t{1} << sum_bits) + (bits & 0x7FFFFu);
  }

  void flush() {
    for (std::size_t i = 0; i < bins; ++i) {
      for (const std::uint64_t word : {even_[i], odd_[i]}) {
        counts[i] += word >> sum_bits;
        sums[i] += word & ((std::uint64_t{1} << sum_bits) - 1);
      }
      even_[i] = odd_[i] = 0;
    }
  }

  std::vector<std::uint64_t> even_ = counts, odd_ = counts;
};

/// Channels [first, first + lanes) of all pixels.
void summarize_block(const float* values, std::int64_t pixels, std::int64_t channels, std::int64_t first,
                     ChannelSummary* out) {
  const std::int64_t width = std::min(lanes, channels - first);
  std::vector<std::uint32_t> counters(static_cast<std::size_t>(width * bins));
  std::uint32_t largest[lanes] = {};
  for (std::int64_t p = 0; p < pixels; ++p)
    for (std::int64_t k = 0; k < width; ++k) {
      const std::uint32_t bits = magnitude_bits(values[p * channels + first + k]);
      ++counters[static_cast<std::size_t>(k * bins + (bits >> 19))];
      largest[k] = std::max(largest[k], bits);
    }
  MagnitudeHistogram histogram;
  for (std::int64_t k = 0; k < width; ++k) {
    const auto begin = counters.begin() + k * bins;
    histogram.counts.assign(begin, begin + bins);
    out[first + k] = summarize(histogram, std::bit_cast<float>(largest[k]));
  }
}

}  // namespace

void count_magnitudes(const float* values, std::int64_t count, MagnitudeHistogram& histogram,
                      const kernels::Parallel& parallel) {
  const std::int64_t chunks = std::clamp<std::int64_t>(count / 65536, 1, 16);
  std::vector<Part> parts(static_cast<std::size_t>(chunks));
  parallel(chunks, [&](std::int64_t chunk) {
    const std::int64_t begin = count * chunk / chunks, end = count * (chunk + 1) / chunks;
    parts[static_cast<std::size_t>(chunk)].add(values + begin, end - begin);
  });
  histogram.counts.resize(bins);
  histogram.sums.resize(bins);
  for (const Part& part : parts)
    for (std::size_t i = 0; i < bins; ++i) {
      histogram.counts[i] += part.counts[i];
      histogram.sums[i] += part.sums[i];
    }
}

std::vector<ChannelSummary> summarize_channels(const float* values, std::int64_t pixels,
                                               std::int64_t channels, const kernels::Parallel& parallel) {
  std::vector<ChannelSummary> summaries(static_cast<std::size_t>(channels));
  parallel((channels + lanes - 1) / lanes, [&](std::int64_t block) {
    summarize_block(values, pixels, channels, block * lanes, summaries.data());
  });
  return summaries;
}

void extend_reach(const float* values, std::int64_t samples, std::int64_t pixels,
                  std::span<const float> inverse_scale, std::vector<float>& reach,
                  const kernels::Parallel& parallel) {
  const std::size_t channels = reach.size();
  std::vector<std::vector<float>> by_sample(static_cast<std::size_t>(samples), std::vector<float>(channels));
  parallel(samples, [&](std::int64_t number) {
    const auto n = static_cast<std::size_t>(number);
    float* largest = by_sample[n].data();
    const float* v = values + number * pixels * static_cast<std::int64_t>(channels);
    for (std::int64_t p = 0; p < pixels; ++p, v += channels)
      for (std::size_t k = 0; k < channels; ++k) largest[k] = std::max(largest[k], std::fabs(v[k]));
    for (std::size_t k = 0; k < channels; ++k) largest[k] *= inverse_scale[n];
  });
  for (const std::vector<float>& sample : by_sample)
    for (std::size_t k = 0; k < channels; ++k) reach[k] = std::max(reach[k], sample[k]);
}

}  // namespace octavo
