#include "precision/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace octavo {
namespace {

constexpr int finite_bins = 0xFF << 4;  // exponent 255 is Inf and NaN
constexpr int zero_bins = 1 << 4;       // exponent 0: zeros and denormals, which have no direction to lose

struct Moments {
  double xq = 0, xx = 0, qq = 0;  // sums of g q(g), g g, q(g) q(g)
};

// Integrals over x in [low, high], divided by its width, where x rounds to `level` steps of size `step`.
void add_piece(Moments& m, double count, double low, double high, double width, double q) {
  if (high <= low) return;
  const double share = count * (high - low) / width, mean = 0.5 * (low + high);
  m.xq += share * mean * q;
  m.qq += share * q * q;
}

void add_value(Moments& m, double value, double count, double step, double qmax) {
  const double q = step * std::min(qmax, std::nearbyint(value / step));
  m.xx += count * value * value;
  m.xq += count * value * q;
  m.qq += count * q * q;
}

void add_bin(Moments& m, const BinEdges& bin, double count, double step, double qmax) {
  const double width = bin.high - bin.low;
  if (width <= 0) return add_value(m, bin.low, count, step, qmax);
  m.xx += count * (bin.low * bin.low + bin.low * bin.high + bin.high * bin.high) / 3;
  const int first = static_cast<int>(std::min(qmax, std::nearbyint(bin.low / step))),
            last = static_cast<int>(std::min(qmax, std::nearbyint(bin.high / step)));
  for (int level = first; level <= last; ++level) {
    const double from = level == first ? bin.low : (level - 0.5) * step;
    const double to = level == last ? bin.high : (level + 0.5) * step;
    add_piece(m, count, from, to, width, level * step);
  }
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

double cosine_distance(const MagnitudeHistogram& histogram, double clip, int bits, double maximum) {
  const double qmax = (1 << (bits - 1)) - 1, step = clip / qmax;
  Moments m;
  if (!(step > 0)) return 0;
  for (int bin = zero_bins; bin < finite_bins; ++bin) {
    auto count = static_cast<double>(histogram.counts[static_cast<std::size_t>(bin)]);
    BinEdges edges = bin_edges(bin);
    if (count > 0 && edges.low <= maximum && maximum < edges.high) {
      add_value(m, maximum, 1, step, qmax);
      count -= 1;
      edges.high = maximum;
    }
    if (count > 0) add_bin(m, edges, count, step, qmax);
  }
  if (m.xx <= 0) return 0;
  return m.qq > 0 ? std::max(0.0, 1 - m.xq / std::sqrt(m.xx * m.qq)) : 1;
}

}  // namespace octavo
