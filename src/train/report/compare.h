// Several runs side by side: a table for the terminal and a page with their curves over each other.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "train/report/facts.h"
#include "train/report/run_record.h"

namespace octavo::report {

struct ComparedRun {
  RunRecord record;
  RunFacts facts;
  /// How much worse than the fp32 run of the same model, data, seed and number of steps: in points (percent
  /// of the fraction) for fractions, else in units of the metric; negative is better. None without such a
  /// run.
  std::optional<double> drop;
  std::optional<double> speedup;  ///< step time of that run / step time of this one
};

/// Reads the run folders in this order. Errc::config for fewer than two or the same one twice;
/// Errc::checkpoint as read_run.
std::vector<ComparedRun> compare_runs(const std::vector<std::filesystem::path>& paths);

/// Header and one row of cells per run; numbers as they are shown. Columns that no run knows are left out.
struct ComparisonTable {
  struct Column {
    std::string name;
    bool number = true;
  };
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;
};
ComparisonTable comparison_table(const std::vector<ComparedRun>& runs);

std::string table_text(const ComparisonTable& table);  ///< aligned for a terminal
std::string comparison_page(const std::vector<ComparedRun>& runs);

}  // namespace octavo::report
