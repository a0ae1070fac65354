// adaptive_precision (APT): Zhang et al., "Adaptive Precision Training: Quantify Back Propagation in Neural
// Networks with Fixed-point Numbers", arXiv 1911.00361. Each operand has a width n of 8, 16 or 24 bits and a
// scale 2^s.
//   s     = ceil(log2(max|x| / (2^(n-1) - 1)))
//   QEM   Diff = log2(| mean|x| - mean|q(x)| | / mean|x| + 1), nearest rounding
//   QPA   when due: n grows by 8 while Diff > threshold; next update after
//           I = max(round(beta / max(d1, d2) - gamma), 1) steps, at most an epoch,
//           d1 = change of the moving average m of s (weight alpha on the new s),  d2 = delta Diff^2
//         every step in the first `initial_phase` of an epoch, once per epoch after the first.
// Mode 1 starts each search at 8 bits again, mode 2 at the width so far. Constants and their sources:
// docs/methods.md.
#include <cmath>

#include "precision/histogram.h"
#include "precision/policies/common.h"

namespace octavo {
namespace {

int scale_exponent(double maximum, int bits) {
  return static_cast<int>(std::ceil(std::log2(maximum / quantized_max(bits))));
}

class AdaptivePrecision final : public Policy {
 public:
  explicit AdaptivePrecision(const PolicyRequest& request)
      : epoch_(static_cast<double>(request.steps_per_epoch)),
        threshold_(request.number("threshold")),
        alpha_(request.number("alpha")),
        beta_(request.number("beta")),
        gamma_(request.number("gamma")),
        delta_(request.number("delta")),
        initial_phase_(request.number("initial_phase")),
        most_bits_(std::stoi(request.text("max_bits"))),
        restart_(request.text("mode") == "1"),
        saturation_limit_(request.number("saturation_limit")) {
    format_.power_of_two = true;
    gradient_ = format_;
    if (request.text("gradient_rounding") == "stochastic") gradient_.rounding = RoundingMode::stochastic;
  }

  LayerFormats formats(const LayerInfo&) const override {
    return {{true, format_, format_}, {true, gradient_, format_}, {true, format_, gradient_}};
  }

  StatisticsRequest wants(const SlotState& slot) const override {
    return {.histogram = slot.memory.empty() || static_cast<double>(slot.step) >= slot.memory[next_update]};
  }

  SlotDecision decide(const SlotObservation& seen) const override {
    if (!(seen.max_abs > 0)) return {};
    std::vector<double>& memory = seen.memory;
    int bits = seen.format.bits;
    double difference = -1;
    if (seen.histogram != nullptr) {
      bits = search_width(seen, difference);
      if (!memory.empty()) memory[average] -= bits - seen.format.bits;
    }
    const int s = scale_exponent(seen.max_abs, bits);
    if (memory.empty()) memory = {static_cast<double>(s), 0, 0};
    const double before = memory[average];
    memory[average] = alpha_ * s + (1 - alpha_) * before;
    if (seen.histogram != nullptr) {
      memory[exponent] = s;
      const double change = std::fabs(memory[average] - before);
      memory[next_update] = static_cast<double>(seen.step) + interval(seen.step, change, difference);
    }
    const double clip = std::exp2(memory[exponent]) * quantized_max(bits);
    SlotDecision decision = hold(static_cast<float>(clip), saturation_limit_);
    decision.bits = bits;
    decision.mean_shift = difference;
    return decision;
  }

 private:
  enum Memory { average, next_update, exponent };

  int search_width(const SlotObservation& seen, double& difference) const {
    for (int bits = restart_ ? 8 : seen.format.bits;; bits += 8) {
      const double scale = std::exp2(scale_exponent(seen.max_abs, bits));
      difference = mean_shift(*seen.histogram, scale, quantized_max(bits), seen.max_abs);
      if (difference <= threshold_ || bits + 8 > most_bits_) return bits;
    }
  }

  double interval(std::int64_t step, double change, double difference) const {
    const auto at = static_cast<double>(step);
    if (at < initial_phase_ * epoch_) return 1;
    if (at >= epoch_) return epoch_;
    const double pace = std::max(change, delta_ * difference * difference);
    if (!(pace > 0)) return epoch_;
    return std::clamp(std::round(beta_ / pace - gamma_), 1.0, epoch_);
  }

  double epoch_, threshold_, alpha_, beta_, gamma_, delta_, initial_phase_;
  int most_bits_;
  bool restart_;
  double saturation_limit_;
  SlotFormat format_, gradient_;
};

}  // namespace

PolicyDef adaptive_precision_policy() {
  PolicyDef def;
  def.name = "adaptive_precision";
  def.aliases = {"apt"};
  def.help = "widths of 8, 16 or 24 bits from measured quantization error (Zhang et al. 2019)";
  def.options = {
      number_option("threshold", 1e-6, 0.5, "0.03", "largest Diff before the width grows"),
      number_option("alpha", 0, 0.4, "0.04", "weight of the new exponent in its moving average"),
      number_option("beta", 0, 1, "0.1", "update interval: numerator"),
      number_option("gamma", 0, 100, "2", "update interval: offset"),
      number_option("delta", 0, 1000, "100", "update interval: weight of Diff^2"),
      number_option("initial_phase", 0, 1, "0.01", "share of the first epoch with an update at every step"),
      choice_option("mode", {"2", "1"}, "2: widths never fall; 1: each update starts at 8 bits"),
      choice_option("max_bits", {"24", "16", "8"}, "widest format"),
      choice_option("gradient_rounding", {"nearest", "stochastic"}, "rounding of gradients"),
      saturation_limit_option(),
  };
  def.make = [](const PolicyRequest& request) { return std::make_unique<AdaptivePrecision>(request); };
  return def;
}

}  // namespace octavo
