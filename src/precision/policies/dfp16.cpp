// dfp16: dynamic fixed point of 16 bits with one power-of-two scale per tensor, in all three products (Das et
// al., "Mixed precision training of convolutional neural networks using integer operations", ICLR 2018). The
// baseline that APT's widths start from: safe, and four INT8 products for each of its own.
#include "precision/policies/common.h"

namespace octavo {
namespace {

class Dfp16 final : public Policy {
 public:
  LayerFormats formats(const LayerInfo&) const override {
    const SlotFormat format{.bits = 16, .power_of_two = true};
    return {{true, format, format}, {true, format, format}, {true, format, format}};
  }
  SlotDecision decide(const SlotObservation&) const override { return {}; }
};

}  // namespace

PolicyDef dfp16_policy() {
  PolicyDef def;
  def.name = "dfp16";
  def.help = "dynamic fixed point of 16 bits, scales of powers of two (Das et al. 2018)";
  def.make = [](const PolicyRequest&) { return std::make_unique<Dfp16>(); };
  return def;
}

}  // namespace octavo
