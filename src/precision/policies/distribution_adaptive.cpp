// distribution_adaptive (DAI8): Zhao et al., "Distribution Adaptive INT8 Quantization for Training CNNs",
// AAAI 2021.
//   GVQ   the gradient is quantized twice: per output channel for the weight gradient, per tensor for the
//   data
//         gradient
//   class of a channel: Gaussian where P(|g| > sigma) > lambda, else inverted-T
//   MCS   clip of a Gaussian channel max|g|; of an inverted-T channel s_t = (1 - k A) s_{t-1} + A max|g|_t
// Ranges of step t hold in step t + 1. docs/methods.md says what the paper leaves open.
#include <cmath>

#include "precision/policies/common.h"

namespace octavo {
namespace {

class DistributionAdaptive final : public Policy {
 public:
  explicit DistributionAdaptive(const PolicyRequest& request)
      : formats_(tensor_formats(request.bits)),
        lambda_(request.number("lambda")),
        hysteresis_(request.number("hysteresis")),
        gain_(request.number("gain")),
        carry_(1 - request.number("k") * request.number("gain")),
        period_(static_cast<std::int64_t>(request.number("period"))),
        clip_(request.number("clip") != 0),
        decay_(static_cast<float>(request.number("range_decay"))),
        saturation_limit_(request.number("saturation_limit")) {
    if (request.number("vectorize") == 0) return;
    formats_.grad_weight.other.granularity = ScaleGranularity::channel;
    if (request.number("fold") == 0) return;
    formats_.grad_input.data = formats_.grad_weight.other;
    formats_.grad_input.fold_channels = true;
  }

  LayerFormats formats(const LayerInfo&) const override { return formats_; }

  StatisticsRequest wants(const SlotState& slot) const override {
    return {.channels = slot.operand == Operand::gradient && clip_ && slot.step % period_ == 0};
  }

  SlotDecision decide(const SlotObservation& seen) const override {
    if (seen.operand == Operand::weight || !(seen.max_abs > 0)) return {};
    if (seen.operand == Operand::activation)
      return hold(following_range(seen.clip, seen.max_abs, decay_), saturation_limit_);
    return decide_gradient(seen);
  }

 private:
  /// The policy's memory: one class and one range per channel; a tensor is one channel.
  static constexpr double gaussian = 1, inverted_t = 2;  // 0: not yet seen

  SlotDecision decide_gradient(const SlotObservation& seen) const {
    const std::span<const float> maxima =
        seen.channel_max.empty() ? std::span(&seen.max_abs, 1) : seen.channel_max;
    const std::size_t count = maxima.size();
    std::vector<double>& memory = seen.memory;
    if (memory.size() != 2 * count) memory.assign(2 * count, 0);
    const double values = static_cast<double>(seen.elements) / static_cast<double>(count);
    for (std::size_t i = 0; i < seen.channels.size(); ++i)
      memory[i] = classify(seen.channels[i].above_sigma, memory[i], values);
    SlotDecision decision = hold(0, saturation_limit_);
    decision.channel_clip.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      double& range = memory[count + i];
      range = next_range(memory[i], range, maxima[i]);
      // A channel of zeros says nothing about its next gradient: the tensor's range is safe.
      const double clip = range > 0 ? range : seen.max_abs;
      decision.channel_clip.push_back(static_cast<float>(clip));
    }
    if (seen.channel_max.empty()) {
      decision.clip = decision.channel_clip[0];
      decision.channel_clip.clear();
    }
    return decision;
  }

  /// The share is a mean over few values: it has to leave a band of `hysteresis` standard errors around
  /// lambda before a channel changes its class.
  double classify(double above_sigma, double before, double values) const {
    const double band = hysteresis_ * std::sqrt(lambda_ * (1 - lambda_) / values);
    if (before == gaussian) return above_sigma > lambda_ - band ? gaussian : inverted_t;
    if (before == inverted_t) return above_sigma > lambda_ + band ? gaussian : inverted_t;
    return above_sigma > lambda_ ? gaussian : inverted_t;
  }

  double next_range(double channel_class, double range, float max_abs) const {
    if (range == 0) return max_abs;
    if (channel_class == inverted_t) return carry_ * range + gain_ * max_abs;
    return following_range(static_cast<float>(range), max_abs, decay_);
  }

  LayerFormats formats_;
  double lambda_, hysteresis_, gain_, carry_;
  std::int64_t period_;
  bool clip_;
  float decay_;
  double saturation_limit_;
};

}  // namespace

PolicyDef distribution_adaptive_policy() {
  PolicyDef def;
  def.name = "distribution_adaptive";
  def.aliases = {"dai8"};
  def.help = "Distribution Adaptive INT8: gradients per channel, magnitude-aware clipping (Zhao et al. 2021)";
  def.options = {
      number_option("lambda", 0.01, 0.99, "0.3", "P(|g| > sigma) above which a channel is Gaussian"),
      number_option("hysteresis", 0, 10, "2", "standard errors by which the share must pass lambda"),
      number_option("gain", 0.01, 1, "0.8",
                    "A: weight of the new maximum in the range of an inverted-T channel"),
      number_option("k", 0, 1, "1", "k: the old range keeps 1 - k A"),
      integer_option("period", 1, 1e6, "100", "steps between class tests"),
      flag_option("vectorize", true, "a scale per channel for the weight gradient (false: per tensor)"),
      flag_option("fold", false,
                  "multiply these scales into the data gradient's weights: one copy of G for both"),
      flag_option("clip", true, "magnitude-aware clipping (false: maxima)"),
      range_decay_option(),
      saturation_limit_option(),
  };
  def.keep_fp32 = {"@first_conv", "@linear"};
  def.make = [](const PolicyRequest& request) { return std::make_unique<DistributionAdaptive>(request); };
  return def;
}

}  // namespace octavo
