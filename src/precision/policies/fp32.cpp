// fp32: nothing is quantized. The baseline of every comparison.
#include "octavo/precision.h"

namespace octavo {
namespace {

class Fp32 final : public Policy {
 public:
  LayerFormats formats(const LayerInfo&) const override { return {}; }
  SlotDecision decide(const SlotObservation&) const override { return {}; }
};

}  // namespace

PolicyDef fp32_policy() {
  PolicyDef def;
  def.name = "fp32";
  def.help = "no quantization: the baseline";
  def.make = [](const PolicyRequest&) { return std::make_unique<Fp32>(); };
  return def;
}

}  // namespace octavo
