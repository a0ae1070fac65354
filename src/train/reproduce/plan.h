// The trainings of a table: each row and seed as a checked configuration with an identity of its own, so that
// tables which ask for the same training share it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "octavo/config.h"
#include "train/reproduce/table.h"

namespace octavo {

/// Settings that decide the numbers of a run, by key: those that differ from their default, without the seed,
/// and the model as "name@checksum of its files". Paths, threads and how often is saved or evaluated are left
/// out, and for fp32 all of `precision` but the policy.
using DecidingSettings = std::map<std::string, std::string>;
DecidingSettings deciding_settings(const Config& config);
std::string settings_hash(const DecidingSettings& settings);  ///< CRC32C, hexadecimal

/// Whether an override "key=value" can change the numbers of a run: not the place of the data, threads, ...
bool decides_numbers(const std::string& override_text);

struct PlannedRun {
  Config config;
  std::string config_path;
  std::vector<std::string> overrides;  ///< without the seed and what does not decide the numbers
  DecidingSettings settings;
  std::string hash;  ///< settings_hash
  std::string name;  ///< "<model>-<policy>-<hash>-seed<n>": of its result file and run folder
  std::int64_t seed() const { return config.train().seed; }
};

struct PlannedRow {
  PaperRow row;
  std::vector<PlannedRun> runs;       ///< by seed
  std::vector<PlannedRun> baselines;  ///< fp32 without the row's `method`, else equal, by seed; empty for a
                                      ///< row that is fp32 itself
};

struct PlannedTable {
  PaperTable table;
  std::string scale;
  std::vector<PlannedRow> rows;
};

/// What a command line adds to a table.
struct PlanChoices {
  std::string scale = "quick";
  std::vector<std::string> overrides;  ///< above those of table, scale and row
  std::vector<std::int64_t> seeds;     ///< instead of the table's; empty: the table's
};

/// Errc::config with the place of every row that is no valid configuration.
PlannedTable plan_table(const PaperTable& table, const PlanChoices& choices);

/// All runs and baselines of some tables, each once.
std::vector<PlannedRun> distinct_runs(const std::vector<PlannedTable>& tables);

}  // namespace octavo
