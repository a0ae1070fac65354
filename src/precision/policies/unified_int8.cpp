// unified_int8: Zhu et al., "Towards Unified INT8 Training for Convolutional Neural Network", CVPR 2020.
//   DSGC   every `period` steps c* = argmin_c of the cosine distance between g and quant(g; c), per layer
//   DCLRS  learning rate of the layer times phi(d) = max(exp(-alpha d), beta), d the distance left at c*
// The paper's search method is open; here a scan over log-spaced ratios c / max|g|, then golden section, on
// the histogram of |g| (docs/methods.md). Weights take the maximum at hand; activations hold a maximum that
// decays slowly, or take the one at hand (`activation_range`).
#include <algorithm>
#include <cmath>

#include "precision/clip_search.h"
#include "precision/histogram.h"
#include "precision/policies/common.h"

namespace octavo {
namespace {

class UnifiedInt8 final : public Policy {
 public:
  explicit UnifiedInt8(const PolicyRequest& request)
      : formats_(tensor_formats(request.bits)),
        period_(static_cast<std::int64_t>(request.number("period"))),
        alpha_(request.number("alpha")),
        beta_(request.number("beta")),
        scan_(static_cast<int>(request.number("scan"))),
        clip_(request.number("clip") != 0),
        scale_rate_(request.number("scale_rate") != 0),
        hold_activations_(request.text("activation_range") == "held"),
        decay_(static_cast<float>(request.number("activation_decay"))),
        saturation_limit_(request.number("saturation_limit")) {}

  LayerFormats formats(const LayerInfo&) const override { return formats_; }

  StatisticsRequest wants(const SlotState& slot) const override {
    return {.histogram = slot.operand == Operand::gradient && slot.step % period_ == 0};
  }

  SlotDecision decide(const SlotObservation& seen) const override {
    if (seen.operand == Operand::gradient) return decide_gradient(seen);
    if (seen.operand == Operand::activation && hold_activations_)
      return hold(following_range(seen.clip, seen.max_abs, decay_), saturation_limit_);
    return {};
  }

 private:
  SlotDecision decide_gradient(const SlotObservation& seen) const {
    std::vector<double>& memory = seen.memory;  // clip, distance
    if (seen.histogram != nullptr) {
      const double maximum = seen.max_abs, qmax = quantized_max(seen.format.bits);
      const auto distance = [&](double clip) {
        return cosine_distance(*seen.histogram, clip, qmax, maximum);
      };
      const Clip found = clip_ ? search_clip(distance, maximum, scan_) : Clip{maximum, distance(maximum)};
      memory = {found.value, found.distance};
    }
    if (memory.size() != 2 || !(memory[0] > 0)) return {};
    const double phi = std::max(std::exp(-alpha_ * memory[1]), beta_);
    SlotDecision decision = hold(static_cast<float>(memory[0]), saturation_limit_);
    if (!clip_) decision.mode = ScaleMode::current_max;
    decision.learning_rate_factor = static_cast<float>(scale_rate_ ? phi : 1);
    decision.deviation = memory[1];
    return decision;
  }

  LayerFormats formats_;
  std::int64_t period_;
  double alpha_, beta_;
  int scan_;
  bool clip_, scale_rate_, hold_activations_;
  float decay_;
  double saturation_limit_;
};

}  // namespace

PolicyDef unified_int8_policy() {
  PolicyDef def;
  def.name = "unified_int8";
  def.aliases = {"ui8"};
  def.help = "Unified INT8 training: direction-sensitive clipping, learning-rate scaling (Zhu et al. 2020)";
  def.options = {
      integer_option("period", 1, 1e6, "100", "steps between clip searches"),
      number_option("alpha", 0, 1e4, "20", "decay of the learning-rate factor exp(-alpha d)"),
      number_option("beta", 0, 1, "0.1", "smallest learning-rate factor"),
      integer_option("scan", 4, 256, "16", "ratios tried before the refinement"),
      flag_option("clip", true, "direction-sensitive clipping (false: the maximum)"),
      flag_option("scale_rate", true, "learning-rate scaling"),
      choice_option("activation_range", {"held", "current"}, "range of activations"),
      saturation_limit_option(),
      number_option("activation_decay", 0, 1, "0.9",
                    "held activations: weight of the old range when it falls"),
  };
  def.keep_fp32 = {"@first_conv", "@linear"};
  def.make = [](const PolicyRequest& request) { return std::make_unique<UnifiedInt8>(request); };
  return def;
}

}  // namespace octavo
