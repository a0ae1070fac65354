// Values to colour classes.
#include <algorithm>
#include <cmath>

#include "train/report/heat_map.h"
#include "train/report/markup.h"

namespace octavo::report {
namespace {

constexpr int sequential_levels = 16, diverging_side = 8;
constexpr double smallest = 1e-300;  // what has no logarithm counts as this

}  // namespace

double ColourScale::measure(double value) const {
  return logarithmic || kind == Kind::diverging ? std::log(std::max(value, smallest)) : value;
}

int ColourScale::level(double value) const {
  const double low = measure(range.low), high = measure(range.high), at = measure(value);
  if (kind == Kind::diverging) {  // as far down as up
    const double centre = measure(middle);
    const double reach = std::max({centre - low, high - centre, 1e-6});
    const double share = std::clamp((at - centre) / reach, -1.0, 1.0);
    return diverging_side + static_cast<int>(std::lround(share * diverging_side));
  }
  const double share = high > low ? std::clamp((at - low) / (high - low), 0.0, 1.0) : 0;
  const int level = static_cast<int>(std::lround(share * (sequential_levels - 1)));
  return kind == Kind::falling ? sequential_levels - 1 - level : level;
}

std::string ColourScale::colour(double value) const {
  return (kind == Kind::diverging ? "d" : "s") + std::to_string(level(value));
}

std::string ColourScale::legend(Unit unit) const {
  constexpr int count = 24, wide = 5;
  const double low = measure(range.low), high = measure(range.high);
  Markup out;
  out.open("p", {{"class", "scale"}}).element("span", {}, value_text(range.low, unit));
  out.open("svg", {{"viewBox", "0 0 " + std::to_string(wide * count) + " 10"}, {"aria-hidden", "true"}});
  for (int i = 0; i < count; ++i) {
    const double at = low + (high - low) * i / (count - 1.0);
    const bool by_logarithm = logarithmic || kind == Kind::diverging;
    out.empty("rect", {{"x", std::to_string(wide * i)},
                       {"y", "0"},
                       {"width", "5.3"},  // no hairline between neighbours
                       {"height", "10"},
                       {"class", colour(by_logarithm ? std::exp(at) : at)}});
  }
  return out.close().element("span", {}, value_text(range.high, unit)).take();
}

std::string ColourScale::legend(const std::set<double>& values, Unit unit) const {
  Markup out;
  out.open("p", {{"class", "scale"}});
  for (const double value : values) {
    out.open("svg", {{"viewBox", "0 0 12 10"}, {"class", "swatch"}, {"aria-hidden", "true"}});
    out.empty("rect", {{"width", "12"}, {"height", "10"}, {"class", colour(value)}}).close();
    out.element("span", {}, value_text(value, unit));
  }
  return out.take();
}

}  // namespace octavo::report
