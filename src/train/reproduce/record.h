// The result of one finished training as a small JSON file: what every table is generated from.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "octavo/trainer.h"
#include "train/reproduce/plan.h"

namespace octavo {

struct RunRecord {
  std::string name;    ///< PlannedRun::name, and the file's without ending
  std::string config;  ///< path, from the working folder where it lies below
  std::string config_hash;
  std::vector<std::string> overrides;
  DecidingSettings settings;
  std::string policy, model;
  std::int64_t seed = 0;
  int numerics_version = 0;
  std::string commit, device, isa, cpu;
  std::int64_t threads = 0;
  std::string data, data_crc32c;  ///< data set; checksum of its first test samples
  bool procedural = false;
  std::int64_t steps = 0;
  std::string diverged;  ///< what ended the run; empty for one that came to its end
  std::string metric_name;
  double metric = 0;  ///< a fraction
  double loss = 0;
  Int8MacShare int8_mac_share;
  std::vector<std::string> in_float;  ///< "conv0 forward: why", where a share is below 95%
  double step_ms = 0;                 ///< median
  double precision_share = 0;         ///< of the steps: passes that only look at values, searches, decisions
  std::string note;
};

/// The result files of one folder.
class Records {
 public:
  /// Errc::self_check lists every file that is damaged, or is not what its name says. A missing folder holds
  /// none.
  explicit Records(std::filesystem::path folder);

  /// The result of that run with today's numbers (core/numerics.h), or nullptr.
  const RunRecord* find(const PlannedRun& run) const;
  bool outdated(const PlannedRun& run) const;  ///< there is one, of another version of the numbers
  const std::map<std::string, RunRecord>& all() const { return records_; }
  const std::filesystem::path& folder() const { return folder_; }

  /// Writes the file, atomically. Errc::resource.
  void add(const RunRecord& record);

 private:
  std::filesystem::path folder_;
  std::map<std::string, RunRecord> records_;  // by name
};

/// What a finished run folder says (summary.json, env.json). Errc::checkpoint names the file that is damaged.
RunRecord record_of_run(const PlannedRun& run, const std::filesystem::path& folder);

/// The same for a run that ended with Errc::numeric after `steps` steps.
RunRecord record_of_divergence(const PlannedRun& run, const std::filesystem::path& folder, std::int64_t steps,
                               const std::string& message);

}  // namespace octavo
