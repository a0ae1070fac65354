// The controller: resolves the precision of every layer before training, and between steps turns statistics
// into formats, clips and learning-rate factors by asking the policy.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "octavo/config.h"
#include "octavo/precision.h"
#include "precision/slots.h"

namespace octavo {

class Controller {
 public:
  using EventSink = std::function<void(const nlohmann::ordered_json&)>;

  /// Writes formats and exemptions into `layers`. Errc::config when a pattern of keep_fp32 matches no layer
  /// or a format puts scales on an axis that its product contracts.
  Controller(const PrecisionSettings& settings, std::vector<Layer>& layers, SlotTable& slots,
             std::int64_t steps_per_epoch = 1);

  void begin_step(std::int64_t step);
  /// Decisions for the next step; the sink receives what changed and what was measured. True when a width
  /// changed: plans must be made again. Weights are as they were in this step, or of the next one already.
  bool end_step(std::int64_t step, const EventSink& sink);

  float learning_rate_factor(int layer) const;  ///< 1 for layer -1

  nlohmann::json state() const;
  void load_state(const nlohmann::json& state);  ///< Errc::checkpoint when it does not fit

 private:
  void resolve(const PrecisionSettings& settings);
  bool keep_fp32(const std::string& pattern);  // whether any layer matches
  std::string no_such_layer(const std::string& pattern) const;
  SlotDecision ask(Slot& slot, std::int64_t step) const;
  bool may_hold(const Slot& slot) const;  // precision.weight_range
  bool folds_new_factors(const Slot& weights, const std::vector<SlotDecision>& decisions) const;
  bool apply(Slot& slot, SlotDecision decision, std::int64_t step, const EventSink& sink);
  StatisticsRequest wanted(const Slot& slot, std::int64_t step) const;

  std::unique_ptr<Policy> policy_;
  std::vector<Layer>& layers_;
  SlotTable& slots_;
  bool holds_weights_;
};

}  // namespace octavo
