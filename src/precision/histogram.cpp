#include "precision/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace octavo {
namespace {

constexpr int finite_bins = 0xFF << 4;  // exponent 255 is Inf and NaN
constexpr int zero_bins = 1 << 4;       // exponent 0: zeros and denormals, which have no direction to lose
constexpr double bin_steps = 1 << 19;   // floats in a bin

/// `count` values in [low, high] with mean low + mean * (high - low).
struct Bin {
  double count, low, high, mean;
  double width() const { return high - low; }
};

struct Moments {
  double x = 0, q = 0, xx = 0, xq = 0, qq = 0;  // sums of |g|, |q(g)|, ...
};

/// Density 1 + slope (t - 1/2) over t in [0, 1] of a bin: its mean is 1/2 + slope / 12.
struct Density {
  double slope;
  double mass(double from, double to) const { return (to - from) * (1 + slope * 0.5 * (from + to - 1)); }
  double first_moment(double from, double to) const {
    const double squares = 0.5 * (to * to - from * from), cubes = (to * to * to - from * from * from) / 3;
    return squares * (1 - 0.5 * slope) + slope * cubes;
  }
};

/// A linear density cannot lean further than a mean of 1/3 or 2/3; then values fill one side of the bin.
Bin with_linear_density(Bin bin) {
  const double width = bin.width();
  if (bin.mean > 2.0 / 3) {
    bin.low += (2 * bin.mean - 1) * width;
    bin.mean = 0.5;
  } else if (bin.mean < 1.0 / 3) {
    bin.high = bin.low + 2 * bin.mean * width;
    bin.mean = 0.5;
  }
  return bin;
}

void add_value(Moments& m, double value, double count, double step, double qmax) {
  const double q = step * std::min(qmax, std::nearbyint(value / step));
  m.x += count * value;
  m.q += count * q;
  m.xx += count * value * value;
  m.xq += count * value * q;
  m.qq += count * q * q;
}

void add_bin(Moments& m, const Bin& bin, double step, double qmax) {
  const double width = bin.width();
  const Density density{12 * (bin.mean - 0.5)};
  const double second = 1.0 / 3 + density.slope / 12;
  m.x += bin.count * (bin.low + width * bin.mean);
  m.xx += bin.count * (bin.low * bin.low + 2 * bin.low * width * bin.mean + width * width * second);
  const auto level_of = [&](double v) {
    return static_cast<std::int64_t>(std::min(qmax, std::nearbyint(v / step)));
  };
  const std::int64_t first = level_of(bin.low), last = level_of(bin.high);
  for (std::int64_t index = first; index <= last; ++index) {
    const auto level = static_cast<double>(index);
    const double from = index == first ? 0 : ((level - 0.5) * step - bin.low) / width;
    const double to = index == last ? 1 : ((level + 0.5) * step - bin.low) / width;
    if (to <= from) continue;
    const double mass = bin.count * density.mass(from, to), q = level * step;
    m.q += mass * q;
    m.qq += mass * q * q;
    m.xq += q * (mass * bin.low + bin.count * width * density.first_moment(from, to));
  }
}

/// More than this many levels in a bin: the rounding inside it averages out to nothing.
constexpr double many_levels = 64;

void add_fine_bin(Moments& m, const Bin& bin) {
  const double value = bin.low + bin.width() * bin.mean;
  const double square = value * value + bin.width() * bin.width() / 12;
  m.x += bin.count * value;
  m.q += bin.count * value;
  m.xx += bin.count * square;
  m.xq += bin.count * square;
  m.qq += bin.count * square;
}

Bin bin_of(const MagnitudeHistogram& histogram, int index) {
  const auto i = static_cast<std::size_t>(index);
  const BinEdges edges = bin_edges(index);
  const auto count = static_cast<double>(histogram.counts[i]);
  const double mean =
      histogram.sums.empty() ? 0.5 : static_cast<double>(histogram.sums[i]) / (count * bin_steps);
  return {count, edges.low, edges.high, mean};
}

/// Visits the bins that hold anything; the largest value by itself, as a bin of no width.
template <class Visit>
void each_bin(const MagnitudeHistogram& histogram, int first, double maximum, const Visit& visit) {
  for (int index = first; index < finite_bins; ++index) {
    if (histogram.counts[static_cast<std::size_t>(index)] == 0) continue;
    Bin bin = bin_of(histogram, index);
    if (bin.low <= maximum && maximum < bin.high) {
      visit(Bin{1, maximum, maximum, 0});
      const double rest = bin.count * (bin.low + bin.mean * bin.width()) - maximum;
      bin.count -= 1;
      bin.high = maximum;
      if (!histogram.sums.empty() && bin.count > 0 && bin.width() > 0)
        bin.mean = std::clamp((rest / bin.count - bin.low) / bin.width(), 0.0, 1.0);
    }
    if (bin.count > 0) visit(with_linear_density(bin));
  }
}

Moments moments(const MagnitudeHistogram& histogram, double step, double qmax, double maximum) {
  Moments m;
  each_bin(histogram, zero_bins, maximum, [&](const Bin& bin) {
    if (bin.width() <= 0)
      add_value(m, bin.low, bin.count, step, qmax);
    else if (bin.high <= qmax * step && bin.width() > many_levels * step)
      add_fine_bin(m, bin);
    else
      add_bin(m, bin, step, qmax);
  });
  return m;
}

}  // namespace

BinEdges bin_edges(int bin) {
  const auto edge = [](int index) {
    return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(index) << 19));
  };
  return {edge(bin), bin + 1 < finite_bins ? edge(bin + 1) : 3.4028234663852886e38};
}

double histogram_maximum(const MagnitudeHistogram& histogram) {
  for (int bin = finite_bins; bin-- > 0;)
    if (histogram.counts[static_cast<std::size_t>(bin)] != 0) return bin_edges(bin).high;
  return 0;
}

double cosine_distance(const MagnitudeHistogram& histogram, double clip, double qmax, double maximum) {
  if (!(clip > 0)) return 0;
  const Moments m = moments(histogram, clip / qmax, qmax, maximum);
  if (m.xx <= 0) return 0;
  return m.qq > 0 ? std::max(0.0, 1 - m.xq / std::sqrt(m.xx * m.qq)) : 1;
}

double mean_shift(const MagnitudeHistogram& histogram, double step, double qmax, double maximum) {
  if (!(step > 0)) return 0;
  const Moments m = moments(histogram, step, qmax, maximum);
  return m.x > 0 ? std::log2(std::fabs(m.x - m.q) / m.x + 1) : 0;
}

ClippedSums clipped_sums(const MagnitudeHistogram& histogram, double clip, double maximum) {
  ClippedSums sums;
  each_bin(histogram, zero_bins, maximum, [&](const Bin& bin) {
    const double value = bin.low + bin.mean * bin.width();
    const double square = value * value + bin.width() * bin.width() / 12;
    sums.energy += bin.count * square;
    sums.product += bin.count * (value <= clip ? square : value * clip);
    sums.clipped += bin.count * (value <= clip ? square : clip * clip);
  });
  return sums;
}

ChannelSummary summarize(const MagnitudeHistogram& histogram, float maximum) {
  double squares = 0, count = 0, above = 0;
  each_bin(histogram, 0, maximum, [&](const Bin& bin) {
    const double value = bin.low + bin.mean * bin.width();
    squares += bin.count * (value * value + bin.width() * bin.width() / 12);
    count += bin.count;
  });
  if (count == 0) return {};
  const double sigma = std::sqrt(squares / count);
  // Values that are all alike lie at sigma, not above it, whatever its last bits are.
  const double threshold = sigma * (1 + 1e-6);
  each_bin(histogram, 0, maximum, [&](const Bin& bin) {
    if (bin.low > threshold)
      above += bin.count;
    else if (bin.high > threshold)
      above += bin.count * Density{12 * (bin.mean - 0.5)}.mass((threshold - bin.low) / bin.width(), 1);
  });
  return {maximum, sigma, above / count};
}

}  // namespace octavo
