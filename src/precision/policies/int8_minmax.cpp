// int8_minmax: the naive baseline that every method has to beat. One scale per tensor, s = max|x| / 127 of
// the tensor at hand, no clipping, no learning-rate scaling. Gradients are rounded stochastically, or to
// nearest to show what that costs: small gradients vanish.
#include "precision/policies/common.h"

namespace octavo {
namespace {

class Int8MinMax final : public Policy {
 public:
  explicit Int8MinMax(const PolicyRequest& request) : formats_(tensor_formats(request.bits)) {
    if (request.text("gradient_rounding") == "stochastic") return;
    formats_.grad_input.data.rounding = RoundingMode::nearest_even;
    formats_.grad_weight.other.rounding = RoundingMode::nearest_even;
  }
  LayerFormats formats(const LayerInfo&) const override { return formats_; }
  SlotDecision decide(const SlotObservation&) const override { return {.mode = ScaleMode::current_max}; }

 private:
  LayerFormats formats_;
};

}  // namespace

PolicyDef int8_minmax_policy() {
  PolicyDef def;
  def.name = "int8_minmax";
  def.help = "one scale per tensor from its maximum, no clipping: the naive baseline";
  def.options = {{"gradient_rounding",
                  OptionSpec::Type::choice,
                  0,
                  0,
                  "stochastic",
                  "rounding of gradients",
                  {"stochastic", "nearest"}}};
  def.make = [](const PolicyRequest& request) { return std::make_unique<Int8MinMax>(request); };
  return def;
}

}  // namespace octavo
