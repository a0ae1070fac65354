// Which part of an image becomes the sample.
#include "data/images/crop.h"

#include <algorithm>
#include <cmath>

#include "data/streams.h"

namespace octavo {
namespace {

constexpr double least_area = 0.08, widest = 4.0 / 3.0;
constexpr double log_widest = 0.28768207245178090;
constexpr int tries = 10;

/// exp on [-0.3, 0.3] by its series: that of the C library differs in the last bit from machine to machine.
double exp_series(double x) {
  double sum = 1;
  for (int i = 12; i > 0; --i) sum = 1 + x / i * sum;
  return sum;
}

/// The middle of one of 2^16 equal parts of [0, 1].
double uniform16(std::uint32_t bits) { return ((bits & 0xFFFFu) + 0.5) / 65536; }

Region central_part(double h, double w) {
  double part_h = h, part_w = w;
  if (w < h / widest) part_h = std::max(1.0, std::round(w * widest));
  if (w > h * widest) part_w = std::max(1.0, std::round(h * widest));
  return {std::floor((h - part_h) / 2), std::floor((w - part_w) / 2), part_h, part_w};
}

}  // namespace

Region random_region(std::int64_t h, std::int64_t w, kernels::RandomKey key, std::uint32_t counter) {
  const double height = static_cast<double>(h), width = static_cast<double>(w);
  for (std::uint32_t i = 0; i < tries; ++i) {
    const std::uint32_t bits = kernels::random_bits(key, counter + i);
    const double area = height * width * (least_area + (1 - least_area) * uniform16(bits >> 16));
    const double ratio = exp_series(log_widest * (2 * uniform16(bits) - 1));
    const double part_w = std::round(std::sqrt(area * ratio)), part_h = std::round(std::sqrt(area / ratio));
    if (part_w < 1 || part_h < 1 || part_w > width || part_h > height) continue;
    const auto places_y = static_cast<std::uint64_t>(height - part_h) + 1;
    const auto places_x = static_cast<std::uint64_t>(width - part_w) + 1;
    return {static_cast<double>(random_below(key, counter + tries, places_y)),
            static_cast<double>(random_below(key, counter + tries + 1, places_x)), part_h, part_w};
  }
  return central_part(height, width);
}

Region central_region(std::int64_t h, std::int64_t w, std::int64_t size, double share) {
  const std::int64_t scaled_short = std::llround(static_cast<double>(size) / share);
  const std::int64_t scaled_long = scaled_short * std::max(h, w) / std::min(h, w);
  const std::int64_t scaled_h = h <= w ? scaled_short : scaled_long;
  const std::int64_t scaled_w = h <= w ? scaled_long : scaled_short;
  // Of each axis: the first scaled pixel, to even like Python's round, and back to pixels of the image.
  const auto first = [size](std::int64_t scaled) {
    return std::nearbyint(static_cast<double>(scaled - size) / 2);
  };
  const double unit_y = static_cast<double>(h) / static_cast<double>(scaled_h);
  const double unit_x = static_cast<double>(w) / static_cast<double>(scaled_w);
  return {first(scaled_h) * unit_y, first(scaled_w) * unit_x, static_cast<double>(size) * unit_y,
          static_cast<double>(size) * unit_x};
}

}  // namespace octavo
