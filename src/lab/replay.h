// Replay: a policy decides on recorded statistics as it would have in training, without training.
#pragma once

#include "lab/recording.h"
#include "octavo/config.h"

namespace octavo {

/// What a policy chose for one slot after one recorded step, and the error that its choice of the step before
/// makes of this step's values: nearest rounding, from the histogram; a scale per tensor only.
struct ReplayRow {
  std::int64_t step = 0;
  std::string layer, slot;
  Operand operand = Operand::gradient;
  int bits = 8;
  double max_abs = 0, clip = 0;
  double cosine_distance = -1;  ///< -1: the slot has more than one scale
  double mean_shift = -1;
  double saturated_share = 0;
  double learning_rate_factor = 1;
};

std::vector<ReplayRow> replay(const Recording& recording, const PrecisionSettings& settings);

/// One line per operand: widths, clip ratio, error, factor; means over layers and steps.
std::string replay_table(const std::map<std::string, std::vector<ReplayRow>>& by_policy);
nlohmann::ordered_json replay_json(const std::map<std::string, std::vector<ReplayRow>>& by_policy);

}  // namespace octavo
