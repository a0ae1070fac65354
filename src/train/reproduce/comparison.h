// A table's rows with what was measured: drops against FP32 of the same seed, their error, and what they
// decide.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "train/reproduce/record.h"

namespace octavo {

enum class Verdict : std::uint8_t {
  none,        ///< the FP32 row, or a row that nothing runs for
  incomplete,  ///< runs are missing
  diverged,    ///< a run ended with a loss or gradient that is not finite
  undecided,   ///< the standard error is above half of the bar, or one seed gives none
  within,      ///< mean drop at most the bar
  above,
};

struct MeanAndError {
  double mean = 0;
  std::optional<double> error;  ///< standard error of the mean, from two values on
};

/// Sample mean; error = sqrt(sum (v - mean)^2 / (n - 1) / n). `values` is not empty.
MeanAndError mean_and_error(const std::vector<double>& values);

/// One row; pointers are into the records, nullptr where a run is missing.
struct RowComparison {
  const PlannedRow* planned = nullptr;
  std::vector<const RunRecord*> runs, baselines;  ///< by seed
  std::optional<MeanAndError> drop;               ///< points, over the seeds that both have
  Verdict verdict = Verdict::none;
  int missing() const;  ///< runs of its own
};

std::vector<RowComparison> compare_rows(const PlannedTable& table, const Records& records);

/// The table as Markdown: published beside measured, notes, provenance. `command` made it.
std::string render_table(const PlannedTable& table, const Records& records, const std::string& command);

}  // namespace octavo
