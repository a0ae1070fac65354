// Precision settings as a configuration would resolve them, and slot statistics of given values.
#pragma once

#include <bit>
#include <cmath>
#include <span>

#include "precision/controller.h"
#include "precision/registry.h"

namespace octavo::test {

/// The policy with all defaults, `changes` on top ("period" -> "3").
inline PrecisionSettings precision_settings(const std::string& policy,
                                            const std::map<std::string, std::string>& changes = {}) {
  PrecisionSettings settings;
  settings.policy = policy;
  for (const OptionSpec& option : find_policy(policy).options) {
    const auto change = changes.find(option.name);
    const std::string text = change == changes.end() ? option.default_value : change->second;
    OptionValue& value = settings.options[option.name];
    value.text = text;
    if (option.type == OptionSpec::Type::flag) value.number = text == "true";
    if (option.type == OptionSpec::Type::integer || option.type == OptionSpec::Type::number)
      value.number = std::stod(text);
  }
  return settings;
}

inline std::unique_ptr<Policy> make_policy(const PrecisionSettings& settings) {
  return find_policy(settings.policy).make({settings.options, settings.bits});
}

inline MagnitudeHistogram histogram_of(std::span<const float> values) {
  MagnitudeHistogram histogram;
  histogram.counts.resize(MagnitudeHistogram::bins);
  histogram.sums.resize(MagnitudeHistogram::bins);
  for (float v : values) {
    const auto bits = std::bit_cast<std::uint32_t>(std::fabs(v));
    ++histogram.counts[bits >> 19];
    histogram.sums[bits >> 19] += bits & 0x7FFFF;
  }
  return histogram;
}

}  // namespace octavo::test
