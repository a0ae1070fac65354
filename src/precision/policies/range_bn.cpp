// range_bn: Banner et al., "Scalable methods for 8-bit training of neural networks", NeurIPS 2018.
//   W, X  8 bits to nearest, range of the tensor; X unsigned where it is never negative
//   G     bifurcated: 8 bits, stochastic, for the data gradient; 16 bits to nearest for the weight gradient
// Range batch normalization itself is an op, range_batch_norm: models name it (`with: {norm:
// range_batch_norm}`). What the paper leaves open, and where this differs: docs/methods.md.
#include "precision/policies/common.h"

namespace octavo {
namespace {

class RangeBn final : public Policy {
 public:
  explicit RangeBn(const PolicyRequest& request)
      : decay_(static_cast<float>(request.number("range_decay"))),
        saturation_limit_(request.number("saturation_limit")) {
    const SlotFormat w{.bits = static_cast<int>(request.bits.weight)};
    SlotFormat x{.bits = static_cast<int>(request.bits.activation)};
    x.unsigned_ok = x.bits <= 8;
    const SlotFormat narrow{.bits = static_cast<int>(request.bits.gradient),
                            .rounding = RoundingMode::stochastic},
        wide{.bits = static_cast<int>(request.number("weight_gradient_bits"))};
    formats_ = {{true, x, w}, {true, narrow, w}, {true, x, wide}};
  }

  LayerFormats formats(const LayerInfo&) const override { return formats_; }

  SlotDecision decide(const SlotObservation& seen) const override {
    if (seen.operand != Operand::activation || !(seen.max_abs > 0)) return {};
    return hold(following_range(seen.clip, seen.max_abs, decay_), saturation_limit_);
  }

 private:
  LayerFormats formats_;
  float decay_;
  double saturation_limit_;
};

}  // namespace

PolicyDef range_bn_policy() {
  PolicyDef def;
  def.name = "range_bn";
  def.aliases = {"sbm"};
  def.help = "8-bit training with two copies of each gradient; for range_batch_norm (Banner et al. 2018)";
  def.options = {
      integer_option("weight_gradient_bits", 8, 24, "16",
                     "width of the gradient's copy for the weight gradient"),
      range_decay_option(),
      saturation_limit_option(),
  };
  def.make = [](const PolicyRequest& request) { return std::make_unique<RangeBn>(request); };
  return def;
}

}  // namespace octavo
