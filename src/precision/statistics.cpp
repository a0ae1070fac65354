#include "precision/statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "precision/histogram.h"

namespace octavo {
namespace {

constexpr int bins = MagnitudeHistogram::bins;
constexpr std::int64_t lanes = 16;  // channels of one block: their counters fit the L2 cache

std::uint32_t magnitude_bits(float v) { return std::bit_cast<std::uint32_t>(v) & 0x7FFFFFFFu; }

constexpr int sum_bits = 40;
constexpr std::int64_t most_in_tables = std::int64_t{1} << (sum_bits - 19);  // the sums of so many fit

void count_one(std::vector<std::uint64_t>& table, float v) {
  const std::uint32_t bits = magnitude_bits(v);
  table[bits >> 19] += (std::uint64_t{1} << sum_bits) + (bits & 0x7FFFFu);
}

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

void MagnitudeCounter::add(const float* values, std::int64_t count) {
  for (std::int64_t first = 0, end = 0; first < count; first = end) {
    if (in_tables_ == most_in_tables) empty_tables();
    end = std::min(count, first + most_in_tables - in_tables_);
    in_tables_ += end - first;
    std::int64_t i = first;
    for (; i + 2 <= end; i += 2) {
      count_one(even_, values[i]);
      count_one(odd_, values[i + 1]);
    }
    if (i < end) count_one(even_, values[i]);
  }
}

void MagnitudeCounter::empty_tables() {
  for (std::size_t i = 0; i < bins; ++i) {
    for (const std::uint64_t word : {even_[i], odd_[i]}) {
      counts_[i] += word >> sum_bits;
      sums_[i] += word & ((std::uint64_t{1} << sum_bits) - 1);
    }
    even_[i] = odd_[i] = 0;
  }
  in_tables_ = 0;
}

void MagnitudeCounter::flush(MagnitudeHistogram& histogram) {
  empty_tables();
  histogram.counts.resize(bins);
  histogram.sums.resize(bins);
  for (std::size_t i = 0; i < bins; ++i) {
    histogram.counts[i] += std::exchange(counts_[i], 0);
    histogram.sums[i] += std::exchange(sums_[i], 0);
  }
}

void count_magnitudes(const float* values, std::int64_t count, MagnitudeHistogram& histogram,
                      const kernels::Parallel& parallel) {
  const std::int64_t chunks = std::clamp<std::int64_t>(count / 65536, 1, 16);
  std::vector<MagnitudeCounter> counters(static_cast<std::size_t>(chunks));
  parallel(chunks, [&](std::int64_t chunk) {
    const std::int64_t begin = count * chunk / chunks, end = count * (chunk + 1) / chunks;
    counters[static_cast<std::size_t>(chunk)].add(values + begin, end - begin);
  });
  for (MagnitudeCounter& counter : counters) counter.flush(histogram);
}

std::vector<ChannelSummary> summarize_channels(const float* values, std::int64_t pixels,
                                               std::int64_t channels, const kernels::Parallel& parallel) {
  std::vector<ChannelSummary> summaries(static_cast<std::size_t>(channels));
  parallel((channels + lanes - 1) / lanes, [&](std::int64_t block) {
    summarize_block(values, pixels, channels, block * lanes, summaries.data());
  });
  return summaries;
}

void extend_reach(const float* values, std::int64_t pixels, float inverse_scale, std::span<float> reach) {
  for (std::int64_t p = 0; p < pixels; ++p)
    for (float& most : reach) most = std::max(most, std::fabs(*values++) * inverse_scale);
}

}  // namespace octavo
