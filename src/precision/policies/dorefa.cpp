// dorefa: Zhou et al., "DoReFa-Net: Training Low Bitwidth Convolutional Neural Networks with Low Bitwidth
// Gradients", arXiv 1606.06160, at k bits for W, X and G (8-8-8 by default).
//   quantize_k(x) = round(x (2^k - 1)) / (2^k - 1),  x in [0, 1]
//   W   2 quantize_k(tanh(w) / (2 max |tanh(w)|) + 1/2) - 1:  odd integers over 2^k - 1
//   X   quantize_k(clip(x, 0, 1)), or of x over its range: integers from 0 to 2^k - 1
//   G   2 M (quantize_k(g / (2 M) + 1/2 + noise) - 1/2), M the maximum of the sample: odd integers again,
//       rounded stochastically
// Odd integers take one bit more, so two planes, and products are exact. What differs: docs/methods.md.
#include "core/check.h"
#include "precision/policies/common.h"

namespace octavo {
namespace {

class Dorefa final : public Policy {
 public:
  explicit Dorefa(const PolicyRequest& request)
      : unit_(request.text("activation_range") == "unit"),
        decay_(static_cast<float>(request.number("range_decay"))),
        saturation_limit_(request.number("saturation_limit")) {
    for (const auto bits : {request.bits.weight, request.bits.gradient})
      require(bits >= 8 && bits <= 14, Errc::config,
              "precision.bits: dorefa takes 8 to 14 bits for weights and gradients, not ", bits);
    const SlotFormat w{
        .bits = static_cast<int>(request.bits.weight) + 1, .grid = IntegerGrid::odd, .tanh = true};
    SlotFormat x{.bits = static_cast<int>(request.bits.activation)};
    x.unsigned_ok = x.bits <= 8;
    const SlotFormat g{.bits = static_cast<int>(request.bits.gradient) + 1,
                       .granularity = ScaleGranularity::sample_class,
                       .rounding = RoundingMode::stochastic,
                       .grid = IntegerGrid::odd};
    formats_ = {{true, x, w}, {true, g, w}, {true, x, g}};
  }

  LayerFormats formats(const LayerInfo&) const override { return formats_; }

  SlotDecision decide(const SlotObservation& seen) const override {
    if (seen.operand != Operand::activation) return {};
    if (!unit_ || !seen.format.unsigned_ok)
      return seen.max_abs > 0 ? hold(following_range(seen.clip, seen.max_abs, decay_), saturation_limit_)
                              : SlotDecision{};
    SlotDecision one = hold(1, 1);
    one.eval_clip = 1;
    return one;
  }

 private:
  LayerFormats formats_;
  bool unit_;
  float decay_;
  double saturation_limit_;
};

}  // namespace

PolicyDef dorefa_policy() {
  PolicyDef def;
  def.name = "dorefa";
  def.help =
      "DoReFa-Net at 8 bits: squeezed weights, activations in [0, 1], gradients by sample (Zhou et al. 2016)";
  def.options = {
      choice_option(
          "activation_range", {"held", "unit"},
          "range of activations; unit: clipped to [0, 1] as published, for networks with relu_max 1"),
      range_decay_option(),
      saturation_limit_option(),
  };
  def.keep_fp32 = {"@first_conv", "@linear"};
  def.make = [](const PolicyRequest& request) { return std::make_unique<Dorefa>(request); };
  return def;
}

}  // namespace octavo
