// wageubn: Yang et al., "Training high-performance and large-scale deep neural networks with full 8-bit
// integers", Neural Networks 2020.
//   W   8 bits, multiples of 2^-7 within +-(1 - 2^-7)
//   X   multiples of 2^-7, not clipped: 16-bit integers hold them up to 255
//   G   8 bits and a flag: with r = 2^round(log2 max|g|) / 2^7, multiples of r up to 127 r, and below r
//       multiples of r / 2^7
// Weights stored with 24 bits and their integer update are optimizer `fixed_point`. What differs:
// docs/methods.md.
#include "core/check.h"
#include "precision/policies/common.h"

namespace octavo {
namespace {

class Wageubn final : public Policy {
 public:
  explicit Wageubn(const BitSettings& bits) {
    require(bits.weight == 8 && bits.activation == 8 && bits.gradient == 8, Errc::config,
            "precision.bits: the grids of wageubn have 8 bits; leave them out");
  }

  LayerFormats formats(const LayerInfo&) const override {
    const SlotFormat w{.bits = 8, .fixed_clip = 127.0f / 128}, x{.bits = 16, .fixed_clip = 32639.0f / 128},
        g{.bits = 15, .grid = IntegerGrid::flagged};
    return {{true, x, w}, {true, g, w}, {true, x, g}};
  }
  SlotDecision decide(const SlotObservation&) const override { return {}; }
};

}  // namespace

PolicyDef wageubn_policy() {
  PolicyDef def;
  def.name = "wageubn";
  def.help =
      "WAGEUBN: fixed units for W and X, 8 bits and a flag for G; with optimizer fixed_point "
      "(Yang et al. 2020)";
  def.keep_fp32 = {"@first_conv", "@linear"};
  def.make = [](const PolicyRequest& request) { return std::make_unique<Wageubn>(request.bits); };
  return def;
}

}  // namespace octavo
