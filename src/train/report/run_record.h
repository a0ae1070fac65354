// What a run folder tells, read for pages and tables. Every field may be missing: old runs, runs that still
// go on and fp32 runs know less. Unknown numbers are NaN.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace octavo::report {

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

/// One training step, a "train" line of metrics.jsonl.
struct TrainPoint {
  std::int64_t step = 0, epoch = 0;
  double loss = unknown, learning_rate = unknown, gradient_norm = unknown, seconds = unknown,
         samples_per_second = unknown;
};

/// One evaluation; the metric is a fraction for accuracies.
struct EvalPoint {
  std::int64_t step = 0;
  double loss = unknown, metric = unknown;
};

/// Counts of |v| per octave: counts[i] of [2^(first_exponent + i), 2^(first_exponent + i + 1)).
struct OctaveHistogram {
  std::int64_t step = 0;
  int first_exponent = 0;
  std::vector<double> counts;
  double zeros = 0;
  double clip = unknown;  ///< range of that step
  double total() const;   ///< zeros included
};

/// One line of precision.jsonl about a slot.
struct SlotSample {
  std::int64_t step = 0;
  double bits = unknown, max_abs = unknown, clip = unknown, saturated_share = unknown,
         cosine_distance = unknown, learning_rate_factor = unknown;
};

struct SlotRecord {
  std::string key, layer, operand, format;
  std::vector<SlotSample> samples;             ///< ascending steps
  std::optional<OctaveHistogram> first, last;  ///< earliest and latest recorded
  std::map<std::string, int> reasons;          ///< interventions of the controller, with their number
};

/// One product of the plan.
struct PlanRow {
  std::string layer, product, kernel;
  std::string data, other;  ///< slots of the operands, when in integers
  std::string why;          ///< why it runs in float
  bool integer = false;
  double macs = 0;
};

struct RunRecord {
  std::string name;  ///< of the folder
  std::filesystem::path path;
  std::string config;                           ///< config.yaml
  nlohmann::ordered_json environment, summary;  ///< empty objects when there is no file
  std::string metric_name;                      ///< empty: never evaluated
  std::vector<TrainPoint> train;
  std::vector<EvalPoint> evaluations;
  std::vector<PlanRow> plan;
  std::vector<SlotRecord> slots;  ///< layers in model order, then weight, activation, gradient

  bool finished() const { return !summary.empty(); }
  std::int64_t last_step() const;
  std::int64_t steps_per_epoch() const;  ///< 0: less than one epoch was seen
};

/// Errc::checkpoint when `path` is no run folder or a file in it is damaged, with file and line. An
/// incomplete last line is left out: a run that goes on may be writing it.
RunRecord read_run(const std::filesystem::path& path);

/// Reads precision.jsonl into plan and slots; a missing file is fine.
void read_precision(const std::filesystem::path& file, RunRecord& run);

}  // namespace octavo::report
