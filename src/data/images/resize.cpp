// Scaling a part of an image: rows are mixed first, into one row of floats, then its columns.
#include "data/images/resize.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace octavo {
namespace {

/// For each output position the input positions first .. first + count and their weights, which add up to 1.
class Taps {
 public:
  Taps(double start, double length, std::int64_t in, std::int64_t out)
      : pitch_(static_cast<std::size_t>(2 * std::ceil(std::max(1.0, length / static_cast<double>(out)))) + 1),
        weights_(static_cast<std::size_t>(out) * pitch_),
        firsts_(static_cast<std::size_t>(out)),
        counts_(static_cast<std::size_t>(out)) {
    const double scale = length / static_cast<double>(out), reach = std::max(1.0, scale);
    const double last = static_cast<double>(in - 1);
    for (std::size_t i = 0; i < firsts_.size(); ++i) {
      const double centre = start + (static_cast<double>(i) + 0.5) * scale;
      // Pixel j lies at j + 0.5 and weighs in when that is within reach; one at least, also at the edges.
      const double low = std::clamp(std::floor(centre - reach + 0.5), 0.0, last);
      const double high = std::clamp(std::ceil(centre + reach - 0.5), low + 1, last + 1);
      firsts_[i] = static_cast<std::int64_t>(low);
      counts_[i] = std::min(static_cast<std::size_t>(high - low), pitch_);
      fill(&weights_[i * pitch_], counts_[i], low + 0.5 - centre, reach);
    }
  }

  std::int64_t first(std::int64_t i) const { return firsts_[static_cast<std::size_t>(i)]; }
  std::int64_t count(std::int64_t i) const {
    return static_cast<std::int64_t>(counts_[static_cast<std::size_t>(i)]);
  }
  const float* weights(std::int64_t i) const { return &weights_[static_cast<std::size_t>(i) * pitch_]; }
  std::int64_t begin() const { return firsts_.front(); }
  std::int64_t end() const { return firsts_.back() + static_cast<std::int64_t>(counts_.back()); }

 private:
  static void fill(float* weights, std::size_t count, double distance, double reach) {
    double sum = 0;
    const auto weight = [&](std::size_t k) {
      return std::max(0.0, 1 - std::abs(distance + static_cast<double>(k)) / reach);
    };
    for (std::size_t k = 0; k < count; ++k) sum += weight(k);
    for (std::size_t k = 0; k < count; ++k)
      weights[k] = static_cast<float>(sum > 0 ? weight(k) / sum : 1.0 / static_cast<double>(count));
  }

  std::size_t pitch_;
  std::vector<float> weights_;
  std::vector<std::int64_t> firsts_;
  std::vector<std::size_t> counts_;
};

/// out = the weighted sum of `count` rows.
void mix_rows(const std::uint8_t* rows, std::int64_t pitch, const float* weights, std::int64_t count,
              std::int64_t values, float* __restrict out) {
  for (std::int64_t i = 0; i < values; ++i) out[i] = weights[0] * static_cast<float>(rows[i]);
  for (std::int64_t k = 1; k < count; ++k) {
    const std::uint8_t* row = rows + k * pitch;
    const float weight = weights[k];
    for (std::int64_t i = 0; i < values; ++i) out[i] += weight * static_cast<float>(row[i]);
  }
}

/// The first `c` of the `channels` that lie side by side.
template <std::int64_t c>
void mix_columns(const float* row, const Taps& taps, std::int64_t channels, std::int64_t out_w,
                 std::uint8_t* out) {
  for (std::int64_t x = 0; x < out_w; ++x, out += channels) {
    const float* from = row + (taps.first(x) - taps.begin()) * channels;
    const float* weights = taps.weights(x);
    float sums[c] = {};
    for (std::int64_t k = 0; k < taps.count(x); ++k, from += channels)
      for (std::int64_t channel = 0; channel < c; ++channel) sums[channel] += weights[k] * from[channel];
    for (std::int64_t channel = 0; channel < c; ++channel)
      out[channel] = static_cast<std::uint8_t>(std::min(sums[channel] + 0.5f, 255.0f));
  }
}

}  // namespace

void resize(const ImageView& in, const Region& region, std::int64_t out_h, std::int64_t out_w,
            std::uint8_t* out) {
  const Taps rows(region.y, region.h, in.h, out_h), columns(region.x, region.w, in.w, out_w);
  const std::int64_t pitch = in.w * in.c, values = (columns.end() - columns.begin()) * in.c;
  std::vector<float> mixed(static_cast<std::size_t>(values));
  for (std::int64_t y = 0; y < out_h; ++y, out += out_w * in.c) {
    mix_rows(in.data + rows.first(y) * pitch + columns.begin() * in.c, pitch, rows.weights(y), rows.count(y),
             values, mixed.data());
    if (in.c == 3) {
      mix_columns<3>(mixed.data(), columns, 3, out_w, out);
    } else {
      for (std::int64_t channel = 0; channel < in.c; ++channel)
        mix_columns<1>(mixed.data() + channel, columns, in.c, out_w, out + channel);
    }
  }
}

}  // namespace octavo
