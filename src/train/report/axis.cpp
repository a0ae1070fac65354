#include "train/report/axis.h"

#include <algorithm>
#include <cmath>

namespace octavo::report {
namespace {

double round_step(double width, int count) {
  const double rough = width / std::max(count, 1), power = std::pow(10, std::floor(std::log10(rough)));
  const double share = rough / power;
  return power * (share <= 1.0001 ? 1 : share <= 2.0001 ? 2 : share <= 5.0001 ? 5 : 10);
}

// 20000 -> "20k", with the decimals that tell neighbours apart.
std::string tick_label(double value, double step, Unit unit) {
  if (unit == Unit::percent) return tick_label(100 * value, 100 * step, Unit::plain) + "%";
  const double largest = std::max(std::abs(value), step);
  if (value == 0) return "0";
  if (largest < 1e-3 || largest >= 1e9) return number_text(value, 3);
  const bool millions = step >= 1e5, thousands = step >= 1e2 && largest >= 1e3;
  const double scale = millions ? 1e6 : thousands ? 1e3 : 1;
  const int decimals = std::clamp(static_cast<int>(std::ceil(-std::log10(step / scale) - 1e-9)), 0, 6);
  return fixed_text(value / scale, decimals) + (millions ? "M" : thousands ? "k" : "");
}

}  // namespace

Axis::Axis(Range values, double from, double to, bool logarithmic)
    : values_(values), from_(from), to_(to), logarithmic_(logarithmic) {
  if (!(values_.high > values_.low)) values_.high = values_.low + 1;
}

double Axis::measure(double value) const { return logarithmic_ ? std::log(value) : value; }

double Axis::operator()(double value) const {
  const double inside = std::clamp(value, values_.low, values_.high);
  const double low = measure(values_.low), high = measure(values_.high);
  return from_ + (to_ - from_) * (measure(inside) - low) / (high - low);
}

std::vector<Tick> linear_ticks(Range range, int count, Unit unit) {
  std::vector<Tick> ticks;
  if (!(range.high > range.low)) return ticks;
  const double step = round_step(range.high - range.low, count), slack = 1e-6 * step;
  const double first = std::ceil((range.low - slack) / step);
  for (int i = 0; i <= 4 * count && (first + i) * step <= range.high + slack; ++i)
    ticks.push_back({(first + i) * step, tick_label((first + i) * step, step, unit)});
  return ticks;
}

std::vector<Tick> logarithmic_ticks(Range range, int count, Unit unit) {
  std::vector<Tick> ticks;
  const int first = static_cast<int>(std::ceil(std::log10(range.low) - 1e-9));
  const int last = static_cast<int>(std::floor(std::log10(range.high) + 1e-9));
  const int stride = std::max(1, (last - first + count - 1) / std::max(count, 1));
  for (int exponent = last; exponent >= first; exponent -= stride) {
    const double value = std::pow(10, exponent);
    ticks.push_back({value, unit == Unit::percent ? value_text(value, unit)
                            : exponent == 0       ? "1"
                                                  : power_text(10, exponent)});
  }
  std::reverse(ticks.begin(), ticks.end());
  return ticks;
}

Range rounded_out(Range range, int ticks) {
  if (!(range.high > range.low)) {
    const double half = std::max(std::abs(range.low) * 0.1, 1e-12);
    range = {range.low - half, range.high + half};
  }
  const double step = round_step(range.high - range.low, ticks);
  return {std::floor(range.low / step + 1e-6) * step, std::ceil(range.high / step - 1e-6) * step};
}

Range rounded_out_logarithmic(Range range) {
  const double low = std::pow(10, std::floor(std::log10(range.low) + 1e-9));
  const double high = std::pow(10, std::ceil(std::log10(range.high) - 1e-9));
  return {low, high > low ? high : low * 10};
}

}  // namespace octavo::report
