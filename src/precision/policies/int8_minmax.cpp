// int8_minmax: the naive baseline that every method has to beat. One scale per tensor, s = max|x| / 127 of the tensor at
// hand, no clipping, no learning-rate scaling; stochastic rounding of gradients.
#include "precision/policies/common.h"

namespace octavo {
namespace {

class Int8MinMax final : public Policy {
 public:
  explicit Int8MinMax(const BitSettings& bits) : formats_(tensor_formats(bits)) {}
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
  def.make = [](const PolicyRequest& request) { return std::make_unique<Int8MinMax>(request.bits); };
  return def;
}

}  // namespace octavo
