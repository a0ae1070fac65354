// auto: octavo's own policy, built on where the error of an INT8 gradient comes from (docs/methods.md).
//   - A scale lies on every axis that its product does not contract, as long as one integer copy serves all
//     readers: W per output channel forward and per input channel backward; X unsigned where it is never
//     negative; G per sample. In the weight gradient, which contracts the samples, they fall into classes of
//     half octaves, and the reduction runs class by class.
//   - Gradients are rounded stochastically, W and X to nearest.
//   - Rounding adds 1 / (12 m) of a slot's energy, m the mean square of its integers (twice that where
//   rounding
//     is stochastic): known exactly after each step, without another pass. Where it stays above `error_limit`
//     for `patience` steps the slot gets 16 bits, and 8 again when 8 would stay below half of the limit.
#include "precision/policies/common.h"

namespace octavo {
namespace {

class Auto final : public Policy {
 public:
  explicit Auto(const PolicyRequest& request)
      : error_limit_(request.number("error_limit")),
        patience_(request.number("patience")),
        decay_(static_cast<float>(request.number("range_decay"))),
        saturation_limit_(request.number("saturation_limit")) {
    const SlotFormat w{.bits = static_cast<int>(request.bits.weight),
                       .granularity = ScaleGranularity::channel};
    SlotFormat x{.bits = static_cast<int>(request.bits.activation)};
    x.unsigned_ok = x.bits <= 8 && request.number("unsigned_activations") != 0;
    const SlotFormat g{.bits = static_cast<int>(request.bits.gradient),
                       .granularity = ScaleGranularity::sample_class,
                       .rounding = RoundingMode::stochastic};
    formats_ = {{true, x, w}, {true, g, w}, {true, x, g}};
  }

  LayerFormats formats(const LayerInfo&) const override { return formats_; }

  SlotDecision decide(const SlotObservation& seen) const override {
    if (seen.operand == Operand::weight || !(seen.max_abs > 0)) return {};
    if (seen.operand == Operand::activation)
      return hold(following_range(seen.clip, seen.max_abs, decay_), saturation_limit_);
    SlotDecision decision;
    decision.deviation = rounding_error(seen);
    decision.bits = next_width(seen, decision.deviation);
    return decision;
  }

 private:
  /// Cosine distance that stochastic rounding makes: half of its energy, 1/6 of a step squared.
  static double rounding_error(const SlotObservation& seen) {
    return seen.mean_square > 0 ? 1 / (12 * seen.mean_square) : 0;
  }

  int next_width(const SlotObservation& seen, double error) const {
    std::vector<double>& memory = seen.memory;  // steps in a row that asked for another width
    if (memory.empty()) memory = {0};
    const double narrower = error * 257 * 257;  // the integers of 8 bits are 257 times smaller
    const bool wide = seen.format.bits > 8;
    const bool change = wide ? narrower < 0.5 * error_limit_ : error > error_limit_;
    memory[0] = change ? memory[0] + 1 : 0;
    if (memory[0] < patience_) return 0;
    memory[0] = 0;
    return wide ? 8 : 16;
  }

  LayerFormats formats_;
  double error_limit_, patience_;
  float decay_;
  double saturation_limit_;
};

}  // namespace

PolicyDef auto_policy() {
  PolicyDef def;
  def.name = "auto";
  def.help = "octavo's own: scales on every free axis, samples in scale classes, widths from measured error";
  def.options = {
      number_option("error_limit", 1e-6, 1, "0.02", "cosine distance of a gradient that asks for 16 bits"),
      integer_option("patience", 1, 1e6, "10", "steps in a row before a width changes"),
      flag_option("unsigned_activations", true, "256 levels where activations are never negative"),
      number_option("range_decay", 0, 1, "0.9", "weight of the old range where it follows a falling maximum"),
      number_option("saturation_limit", 0, 1, "0.01",
                    "a larger clipped share takes the maximum in the next step"),
  };
  def.make = [](const PolicyRequest& request) { return std::make_unique<Auto>(request); };
  return def;
}

}  // namespace octavo
