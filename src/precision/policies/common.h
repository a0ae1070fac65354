// What several policies share.
#pragma once

#include <algorithm>

#include "octavo/precision.h"

namespace octavo {

/// All three products in integers, one scale per tensor: W and X to nearest, G stochastic.
inline LayerFormats tensor_formats(const BitSettings& bits) {
  const SlotFormat w{static_cast<int>(bits.weight)}, x{static_cast<int>(bits.activation)};
  const SlotFormat g{static_cast<int>(bits.gradient), ScaleGranularity::tensor, RoundingMode::stochastic};
  return {{true, x, w}, {true, g, w}, {true, x, g}};
}

/// Range of a tensor for the next step from the maxima so far: follows a rise at once and a fall slowly.
/// Saturated values were counted before they were clipped, so the maximum is the true one.
inline float following_range(float clip, float max_abs, float decay) {
  return std::max(max_abs, decay * clip + (1 - decay) * max_abs);
}

inline SlotDecision hold(float clip, double saturation_limit) {
  SlotDecision decision;
  decision.mode = ScaleMode::held;
  decision.clip = clip;
  decision.saturation_limit = saturation_limit;
  return decision;
}

inline OptionSpec flag_option(const char* name, bool value, const char* help) {
  return {name, OptionSpec::Type::flag, 0, 1, value ? "true" : "false", help, {}};
}
inline OptionSpec number_option(const char* name, double min, double max, const char* value,
                                const char* help) {
  return {name, OptionSpec::Type::number, min, max, value, help, {}};
}
inline OptionSpec integer_option(const char* name, double min, double max, const char* value,
                                 const char* help) {
  return {name, OptionSpec::Type::integer, min, max, value, help, {}};
}
inline OptionSpec choice_option(const char* name, std::vector<std::string> choices, const char* help) {
  const std::string first = choices.front();
  return {name, OptionSpec::Type::choice, 0, 0, first, help, std::move(choices)};
}

// Of policies that hold() the following_range() of activations.
inline OptionSpec range_decay_option() {
  return number_option("range_decay", 0, 1, "0.9",
                       "weight of the old range where it follows a falling maximum");
}
inline OptionSpec saturation_limit_option() {
  return number_option("saturation_limit", 0, 1, "0.01",
                       "a larger clipped share takes the maximum in the next step");
}

}  // namespace octavo
