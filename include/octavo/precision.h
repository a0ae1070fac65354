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
/// Which elements share a scale. `sample_class`: one scale per sample, rounded up to a half octave below the
/// largest, so that the weight gradient, which sums over samples, can join its classes exactly.
enum class ScaleGranularity : std::uint8_t { tensor, channel, sample, sample_class };
/// Which integers of its width an operand has. `odd`: +-1, +-3, ...: 2^(bits-1) levels and no zero; above 8
/// bits. `flagged`, 15 bits: 8 bits and a flag, every integer below 128 and multiples of 128 from there to
/// 16,256, with scales of 2^round(log2 range) / 2^14.
enum class IntegerGrid : std::uint8_t { every, odd, flagged };
/// `held`: one pass with the scale set between steps. `current_max`: the kernel takes the maximum, then
/// quantizes.
enum class ScaleMode : std::uint8_t { held, current_max };

/// Digits of 8 bits that hold an integer of this width.
constexpr int plane_count(int bits) { return (bits + 7) / 8; }
/// Largest integer of a width; 16 and 24 bits end where their planes do.
constexpr std::int32_t quantized_max(int bits) {
  const std::int32_t planes = bits <= 8 ? 127 : bits <= 16 ? 32639 : 8355711, width = (1 << (bits - 1)) - 1;
  return width < planes ? width : planes;
}

/// Format of one operand of one product.
struct SlotFormat {
  int bits = 8;  ///< 2..24: integers in +-(2^(bits-1) - 1); above 8 as planes of 8 bits, 16 and 24 in
                 ///< +-32,639 and +-8,355,711 (docs/numerics.md)
  ScaleGranularity granularity = ScaleGranularity::tensor;
  RoundingMode rounding = RoundingMode::nearest_even;
  bool power_of_two = false;  ///< scales are rounded up to powers of two
  bool unsigned_ok = false;   ///< where the edge is never negative: integers in [0, 2^bits - 1]
  IntegerGrid grid = IntegerGrid::every;
  bool tanh = false;  ///< weights: tanh(w) / max |tanh(w)| takes the place of w, also in its gradient
  /// sample_class: values are first divided by a factor per channel that the policy holds, so that element
  /// (n, k) has the scale s_n f_k. Factors are rows of the weight gradient's result and fold into the weights
  /// of grad_input (fold_channels). Clips, maxima and statistics of the slot are those of the quotients.
  bool channel_factors = false;
  float fixed_clip = 0;  ///< above 0: the range in every step and in evaluation, whatever the maximum
  bool operator==(const SlotFormat&) const = default;
};

/// One product of a layer: in integers with these formats, or in float.
struct ProductFormat {
  bool integer = false;
  SlotFormat data;   ///< X (forward, grad_weight) or G (grad_input)
  SlotFormat other;  ///< W (forward, grad_input) or G (grad_weight)
  /// grad_input: G has a scale or a factor per channel, which this product sums over, so that W is multiplied
  /// by them before it is quantized. G can then share its integers with grad_weight.
  bool fold_channels = false;
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
/// Integers, so that counts of parts add up in any order.
struct MagnitudeHistogram {
  static constexpr int bins = 4096;
  std::vector<std::uint64_t> counts;
  std::vector<std::uint64_t> sums;  ///< per bin: sum of the low 19 bits, which makes the bin's mean exact
};

/// One channel of a tensor: n values v.
struct ChannelSummary {
  float max_abs = 0;
  double sigma = 0;        ///< sqrt(mean v^2)
  double above_sigma = 0;  ///< share of |v| > sigma: 0.317 for a Gaussian, less for sharper shapes
};

/// What a policy wants to see of a slot besides maxima and saturation; each costs a pass over the tensor.
struct StatisticsRequest {
  bool histogram = false;
  bool channels = false;
  bool reach = false;        ///< slots with channel_factors: how far each channel reaches
  bool mean_square = false;  ///< SlotObservation::mean_square
};

/// A slot before a step.
struct SlotState {
  const std::string& layer;  ///< the first layer that reads the slot
  Operand operand;
  SlotFormat format;
  std::int64_t step;
  const std::vector<double>& memory;
};

/// What one slot showed in the step that just ended.
struct SlotObservation {
  const std::string& layer;
  Operand operand;
  SlotFormat format;  ///< with the width of this step
  std::int64_t step;
  std::int64_t elements;
  float max_abs;  ///< of the values before clipping
  float clip;     ///< |v| was limited to this; the largest where scales differ
  double saturated_share;
  /// Of the integers, in steps that the policy asked for: 1 / (12 mean_square) of the energy is what rounding
  /// to nearest adds.
  double mean_square;
  const MagnitudeHistogram* histogram;       ///< only in steps that the policy asked for
  std::vector<double>& memory;               ///< the policy's own numbers for this slot; kept in checkpoints
  std::span<const float> channel_max = {};   ///< gradient slots of channel granularity: maxima of this step
  std::span<const float> channel_clip = {};  ///< and what they were limited to
  /// Only in steps that the policy asked for: one per channel of a slot of channel granularity, else one of
  /// all.
  std::span<const ChannelSummary> channels = {};
  /// With a histogram, slots with sample scales: the samples' maxima.
  std::span<const float> sample_max = {};
  /// Slots with channel_factors: the factors of this step, and, where the policy asked, the largest integer
  /// of each channel as a share of the range.
  std::span<const float> channel_factor = {}, channel_reach = {};
};

/// What the slot does from the next step on.
struct SlotDecision {
  ScaleMode mode = ScaleMode::current_max;
  float clip = 0;                   ///< held: values are limited to +-clip, scales per sample follow below it
  std::vector<float> channel_clip;  ///< held, channel granularity: one per channel
  std::vector<float>
      channel_factor;              ///< slots with channel_factors: from the next step on; empty: as they are
  int bits = 0;                    ///< width from the next step on; 0: as it is
  double saturation_limit = 1;     ///< a larger saturated share sends the slot to current_max for one step
  float learning_rate_factor = 1;  ///< gradient slots: factor on the layer's learning rate
  double deviation = -1;           ///< cosine distance measured by the policy, for the log; negative: none
  double mean_shift = -1;          ///< relative shift of mean|v|, log2(1 + shift), likewise
  float eval_clip = 0;             ///< range of evaluation; 0: a running mean of the training maxima
};

/// One method, one subclass, one file.
class OCTAVO_API Policy {
 public:
  virtual ~Policy() = default;
  virtual LayerFormats formats(const LayerInfo& layer) const = 0;
  /// Asked before each step for each slot.
  virtual StatisticsRequest wants(const SlotState& slot) const;
  virtual SlotDecision decide(const SlotObservation& seen) const = 0;
};

/// What a policy is made with: the options it declared, and the widths of the configuration.
struct PolicyRequest {
  std::map<std::string, OptionValue> options;  ///< every declared option, defaults filled in
  BitSettings bits;
  std::int64_t steps_per_epoch = 1;
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
  /// Raise it when the same statistics lead to other numbers: results with an earlier one are out of date.
  int revision = 1;
  std::function<std::unique_ptr<Policy>(const PolicyRequest&)> make;
};

/// Makes a policy known by its name. Errc::config when the name is taken.
OCTAVO_API void register_policy(PolicyDef policy);

}  // namespace octavo
