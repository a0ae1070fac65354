// int8_minmax: the naive baseline that every method has to beat. Scales s = max|x| / 127 of the tensor at
// hand, no clipping, no learning-rate scaling. One scale per tensor, or one per row and channel on every axis
// that its product does not contract. Gradients are rounded stochastically, or to nearest to show what that
// costs: small gradients vanish.
#include "precision/policies/common.h"

namespace octavo {
namespace {

/// Rows of X and G (samples) and columns of W in the products with W; channels in the weight gradient.
LayerFormats row_formats(const BitSettings& bits) {
  LayerFormats formats = tensor_formats(bits);
  for (ProductFormat* product : {&formats.forward, &formats.grad_input}) {
    product->data.granularity = ScaleGranularity::sample;
    product->other.granularity = ScaleGranularity::channel;
  }
  formats.grad_weight.data.granularity = formats.grad_weight.other.granularity = ScaleGranularity::channel;
  return formats;
}

class Int8MinMax final : public Policy {
 public:
  explicit Int8MinMax(const PolicyRequest& request)
      : formats_(request.text("scales") == "tensor" ? tensor_formats(request.bits)
                                                    : row_formats(request.bits)) {
    if (request.text("gradient_rounding") == "stochastic") return;
    formats_.grad_input.data.rounding = RoundingMode::nearest_even;
    formats_.grad_weight.other.rounding = RoundingMode::nearest_even;
  }
  LayerFormats formats(const LayerInfo&) const override { return formats_; }
  SlotDecision decide(const SlotObservation&) const override { return {}; }

 private:
  LayerFormats formats_;
};

}  // namespace

PolicyDef int8_minmax_policy() {
  PolicyDef def;
  def.name = "int8_minmax";
  def.help = "scales from the maximum at hand, no clipping: the naive baseline";
  def.options = {
      choice_option("gradient_rounding", {"stochastic", "nearest"}, "rounding of gradients"),
      choice_option("scales", {"tensor", "row"}, "one per tensor, or per sample and channel"),
  };
  def.make = [](const PolicyRequest& request) { return std::make_unique<Int8MinMax>(request); };
  return def;
}

}  // namespace octavo
