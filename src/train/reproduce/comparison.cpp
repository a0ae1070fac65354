#include "train/reproduce/comparison.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace octavo {
namespace {

// The drop may only compare runs on the same images.
bool comparable(const RunRecord& run, const RunRecord& baseline) {
  return run.diverged.empty() && baseline.diverged.empty() && run.data_crc32c == baseline.data_crc32c;
}

Verdict verdict_of(const RowComparison& row, double bar) {
  if (row.planned->baselines.empty()) return row.missing() > 0 ? Verdict::incomplete : Verdict::none;
  const auto diverged = [](const RunRecord* run) { return run != nullptr && !run->diverged.empty(); };
  if (std::any_of(row.runs.begin(), row.runs.end(), diverged)) return Verdict::diverged;
  std::size_t pairs = 0;
  for (std::size_t i = 0; i < row.runs.size(); ++i)
    if (row.runs[i] != nullptr && row.baselines[i] != nullptr && comparable(*row.runs[i], *row.baselines[i]))
      ++pairs;
  if (pairs < row.runs.size()) return Verdict::incomplete;
  if (!row.drop->error || *row.drop->error > bar / 2) return Verdict::undecided;
  return row.drop->mean <= bar ? Verdict::within : Verdict::above;
}

RowComparison compare(const PlannedRow& planned, double bar, const Records& records) {
  RowComparison row;
  row.planned = &planned;
  for (const PlannedRun& run : planned.runs) row.runs.push_back(records.find(run));
  for (const PlannedRun& run : planned.baselines) row.baselines.push_back(records.find(run));
  std::vector<double> drops;
  for (std::size_t i = 0; i < row.baselines.size(); ++i) {
    const RunRecord *run = row.runs[i], *baseline = row.baselines[i];
    if (run != nullptr && baseline != nullptr && comparable(*run, *baseline))
      drops.push_back(100 * (baseline->metric - run->metric));
  }
  if (!drops.empty()) row.drop = mean_and_error(drops);
  row.verdict = verdict_of(row, bar);
  return row;
}

}  // namespace

MeanAndError mean_and_error(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  MeanAndError result{std::accumulate(values.begin(), values.end(), 0.0) / n, {}};
  if (values.size() < 2) return result;
  double squares = 0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  result.error = std::sqrt(squares / (n - 1) / n);
  return result;
}

int RowComparison::missing() const { return static_cast<int>(std::count(runs.begin(), runs.end(), nullptr)); }

std::vector<RowComparison> compare_rows(const PlannedTable& table, const Records& records) {
  std::vector<RowComparison> rows;
  for (const PlannedRow& row : table.rows) rows.push_back(compare(row, table.table.bar, records));
  return rows;
}

}  // namespace octavo
