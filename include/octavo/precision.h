// Precision policies: which products run in integers, with which formats, clips and learning-rate factors.
// A policy acts between steps only: what it sees of step t sets what step t + 1 does.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "octavo/config.h"

namespace octavo {

enum class Operand : std::uint8_t { weight, activation, gradient };
enum class LayerProduct : std::uint8_t { forward, grad_input, grad_weight };

enum class RoundingMode : std::uint8_t { nearest_even, stochastic };
enum class ScaleGranularity : std::uint8_t { tensor, channel, sample };
/// `held`: one pass with the scale set between steps. `current_max`: the kernel takes the maximum, then
/// quantizes.
enum class ScaleMode : std::uint8_t { held, current_max };

/// Format of one operand of one product.
struct SlotFormat {
  int bits = 8;  ///< 2..8: integers in +-(2^(bits-1) - 1)
  ScaleGranularity granularity = ScaleGranularity::tensor;
  RoundingMode rounding = RoundingMode::nearest_even;
  bool operator==(const SlotFormat&) const = default;
};

/// One product of a layer: in integers with these formats, or in float.
struct ProductFormat {
  bool integer = false;
  SlotFormat data;   ///< X (forward, grad_weight) or G (grad_input)
  SlotFormat other;  ///< W (forward, grad_input) or G (grad_weight)
};

struct LayerFormats {
  ProductFormat forward, grad_input, grad_weight;
};

/// A layer with products, in model order.
struct LayerInfo {
  std::string name;  ///< "stage1.0.conv1"
  std::string op;    ///< "conv2d"
  bool first_of_its_op = false;
  bool depthwise = false;
};

/// Counts of |v| by the float's exponent and top four mantissa bits: bin = bit pattern of |v| >> 19.
struct MagnitudeHistogram {
  static constexpr int bins = 4096;
  std::vector<std::uint64_t> counts;
};

/// What one slot showed in the step that just ended.
struct SlotObservation {
  const std::string& layer;  ///< the first layer that reads the slot
  Operand operand;
  SlotFormat format;
  std::int64_t step;
  std::int64_t elements;
  float max_abs;  ///< of the values before clipping
  float clip;     ///< |v| was limited to this
  double saturated_share;
  const MagnitudeHistogram* histogram;  ///< only in steps that the policy asked for
  std::vector<double>& memory;          ///< the policy's own numbers for this slot; kept in checkpoints
};

/// What the slot does from the next step on.
struct SlotDecision {
  ScaleMode mode = ScaleMode::current_max;
  float clip = 0;                  ///< held: values are limited to +-clip
  double saturation_limit = 1;     ///< a larger saturated share sends the slot to current_max for one step
  float learning_rate_factor = 1;  ///< gradient slots: factor on the layer's learning rate
  double deviation = -1;           ///< cosine distance measured by the policy, for the log; negative: none
};

/// One method, one subclass, one file.
class OCTAVO_API Policy {
 public:
  virtual ~Policy() = default;
  virtual LayerFormats formats(const LayerInfo& layer) const = 0;
  /// Asked before each step for each slot: true when decide() wants a histogram of that step.
  virtual bool wants_histogram(Operand operand, std::int64_t step) const;
  virtual SlotDecision decide(const SlotObservation& seen) const = 0;
};

/// What a policy is made with: the options it declared, and the widths of the configuration.
struct PolicyRequest {
  std::map<std::string, OptionValue> options;  ///< every declared option, defaults filled in
  BitSettings bits;
  double number(const std::string& name) const { return options.at(name).number; }
  const std::string& text(const std::string& name) const { return options.at(name).text; }
};

struct PolicyDef {
  std::string name;
  std::vector<std::string> aliases;
  std::string help;
  std::vector<OptionSpec> options;
  /// The paper's own exemptions, which "@policy" in precision.keep_fp32 stands for: @first_conv, @linear,
  /// names, globs.
  std::vector<std::string> keep_fp32;
  std::function<std::unique_ptr<Policy>(const PolicyRequest&)> make;
};

/// Makes a policy known by its name. Errc::config when the name is taken.
OCTAVO_API void register_policy(PolicyDef policy);

}  // namespace octavo
