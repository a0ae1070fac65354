// What a run is and reached, in one flat record: from summary.json, or for a run without one from its events.
#pragma once

#include <optional>
#include <string>

#include "octavo/trainer.h"
#include "train/report/run_record.h"
#include "train/report/text.h"

namespace octavo::report {

struct RunFacts {
  std::string name, policy, model, data;
  bool finished = false, procedural = false;
  std::optional<std::int64_t> seed;
  std::int64_t steps = 0;        ///< done
  std::int64_t total_steps = 0;  ///< 0: not known
  std::string metric_name;
  Unit metric_unit = Unit::plain;           ///< percent for fractions
  double metric = unknown, loss = unknown;  ///< of the last evaluation
  double best_metric = unknown;
  std::int64_t best_step = 0;
  double step_ms = unknown, samples_per_second = unknown, peak_bytes = unknown;
  std::optional<Int8MacShare> int8;  ///< none: the run told no MACs
};

/// Errc::checkpoint when a member of summary.json has the wrong type.
RunFacts facts_of(const RunRecord& run);

/// Losses and perplexities fall, every other metric rises.
bool lower_is_better(const std::string& metric_name);

}  // namespace octavo::report
