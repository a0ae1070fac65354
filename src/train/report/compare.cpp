#include "train/report/compare.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace octavo::report {
namespace {

namespace fs = std::filesystem;

bool is_baseline_of(const RunFacts& candidate, const RunFacts& run) {
  return candidate.policy == "fp32" && candidate.model == run.model && candidate.data == run.data &&
         candidate.seed == run.seed && candidate.steps == run.steps &&
         candidate.metric_name == run.metric_name;
}

void compare_with(const RunFacts& baseline, ComparedRun& run) {
  const RunFacts& facts = run.facts;
  const double factor = facts.metric_unit == Unit::percent ? 100 : 1;
  const double sign = lower_is_better(facts.metric_name) ? -1 : 1;
  const double drop = factor * sign * (baseline.metric - facts.metric);
  if (std::isfinite(drop)) run.drop = drop;
  if (baseline.step_ms > 0 && facts.step_ms > 0) run.speedup = baseline.step_ms / facts.step_ms;
}

// Columns in order, each with its cell; what all runs leave empty is dropped later.
using Cell = std::pair<ComparisonTable::Column, std::string>;

std::string signed_text(double value) { return (value > 0 ? "+" : "") + fixed_text(value, 2); }

std::string share_text(const RunFacts& facts) {
  if (!facts.int8) return {};
  const auto part = [](double share) { return fixed_text(100 * share, 1); };
  return part(facts.int8->forward) + "/" + part(facts.int8->grad_input) + "/" + part(facts.int8->grad_weight);
}

std::vector<Cell> cells(const ComparedRun& run) {
  const RunFacts& facts = run.facts;
  const auto known = [](double value, std::string text) {
    return std::isfinite(value) ? std::move(text) : std::string();
  };
  const auto metric = [&](double value) {
    return known(value, facts.metric_unit == Unit::percent ? percent_text(value, 2) : number_text(value, 4));
  };
  const std::string name = facts.metric_name.empty() ? "metric" : facts.metric_name;
  return {
      {{"run", false}, facts.name},
      {{"policy", false}, facts.policy},
      {{"model", false}, facts.model},
      {{"data", false}, facts.data + (facts.procedural ? " (procedural)" : "")},
      {{"seed"}, facts.seed ? std::to_string(*facts.seed) : ""},
      {{"steps"}, count_text(facts.steps) + (facts.finished ? "" : " (unfinished)")},
      {{name}, metric(facts.metric)},
      {{"best"}, metric(facts.best_metric)},
      {{facts.metric_unit == Unit::percent ? "drop, points" : "drop"},
       run.drop ? signed_text(*run.drop) : ""},
      {{"loss"}, known(facts.loss, fixed_text(facts.loss, 4))},
      {{"step ms"}, known(facts.step_ms, fixed_text(facts.step_ms, 1))},
      {{"speedup"}, run.speedup ? fixed_text(*run.speedup, 2) + "x" : ""},
      {{"samples/s"}, known(facts.samples_per_second, fixed_text(facts.samples_per_second, 0))},
      {{"peak memory"}, known(facts.peak_bytes, bytes_text(facts.peak_bytes))},
      {{"int8 % fwd/dx/dw"}, share_text(facts)},
  };
}

// Columns on a terminal, where a character may have several bytes.
std::size_t display_width(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string padded(const std::string& text, std::size_t width, bool right) {
  const std::string space(width - std::min(width, display_width(text)), ' ');
  return right ? space + text : text + space;
}

}  // namespace

std::vector<ComparedRun> compare_runs(const std::vector<fs::path>& paths) {
  require(paths.size() >= 2, Errc::config, "compare needs at least two run folders, got ", paths.size(),
          "; octavo report shows one");
  std::vector<ComparedRun> runs;
  for (const fs::path& path : paths) {
    ComparedRun run{read_run(path), {}, {}, {}};
    for (const ComparedRun& other : runs)
      require(!fs::equivalent(run.record.path, other.record.path), Errc::config, run.record.path.string(),
              ": is given twice");
    run.facts = facts_of(run.record);
    runs.push_back(std::move(run));
  }
  for (ComparedRun& run : runs)
    for (const ComparedRun& baseline : runs)
      if (&run != &baseline && run.facts.policy != "fp32" && is_baseline_of(baseline.facts, run.facts)) {
        compare_with(baseline.facts, run);
        break;
      }
  return runs;
}

ComparisonTable comparison_table(const std::vector<ComparedRun>& runs) {
  std::vector<std::vector<Cell>> all;
  all.reserve(runs.size());
  for (const ComparedRun& run : runs) all.push_back(cells(run));
  ComparisonTable table;
  table.rows.resize(runs.size());
  for (std::size_t c = 0; c < all[0].size(); ++c) {
    const auto has_text = [&](const auto& row) { return !row[c].second.empty(); };
    if (std::none_of(all.begin(), all.end(), has_text)) continue;
    // Runs with different metrics share the column, each cell then names its own.
    const auto same_name = [&](const auto& row) { return row[c].first.name == all[0][c].first.name; };
    const bool same = std::all_of(all.begin(), all.end(), same_name);
    ComparisonTable::Column column = all[0][c].first;
    if (!same) column.name = "metric";
    table.columns.push_back(column);
    for (std::size_t r = 0; r < all.size(); ++r) {
      const auto& [own, text] = all[r][c];
      table.rows[r].push_back(text.empty() ? "-" : same ? text : own.name + " " + text);
    }
  }
  return table;
}

std::string table_text(const ComparisonTable& table) {
  std::string out;
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    widths.push_back(display_width(table.columns[c].name));
    for (const auto& row : table.rows) widths[c] = std::max(widths[c], display_width(row[c]));
  }
  const auto add = [&](const auto& text_of) {
    std::string line;
    for (std::size_t c = 0; c < widths.size(); ++c)
      line += (c > 0 ? "  " : "") + padded(text_of(c), widths[c], table.columns[c].number);
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  };
  add([&](std::size_t c) { return table.columns[c].name; });
  for (const auto& row : table.rows) add([&](std::size_t c) { return row[c]; });
  return out;
}

}  // namespace octavo::report
