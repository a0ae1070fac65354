// Running what a table lacks: cheapest first, each for a limited time, going on with what was interrupted.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "octavo/trainer.h"
#include "train/reproduce/record.h"

namespace octavo {

struct MissingOptions {
  std::filesystem::path runs = "runs/reproduce";  ///< run folders, "<name>-n<numerics version>"
  double minutes = 60;   ///< of one run in one call; then it is left with a checkpoint
  std::string note;      ///< kept in the results and shown below the tables
  RunOptions callbacks;  ///< stop and on_...; `folder` and `stop_after` are not read
  std::function<void(const std::string&)> on_line = [](const std::string&) {};
};

struct MissingReport {
  int finished = 0, left = 0;   ///< left: out of time, stopped or failed
  std::vector<Error> failures;  ///< of single runs; the others go on
};

/// Runs everything of `runs` that `records` lacks and adds the results. A run that diverges is a result too.
/// Errc::data ends it at once: without data nothing can run.
MissingReport run_missing(const std::vector<PlannedRun>& runs, Records& records,
                          const MissingOptions& options);

}  // namespace octavo
