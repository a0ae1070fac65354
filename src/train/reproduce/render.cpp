// Tables as Markdown.
#include <algorithm>
#include <iomanip>
#include <set>
#include <sstream>

#include "core/check.h"
#include "core/numerics.h"
#include "train/reproduce/comparison.h"

namespace octavo {
namespace {

std::string fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

template <class Values, class Text>
std::string join(const Values& values, const std::string& separator, const Text& text) {
  std::string joined;
  for (const auto& value : values) joined += (joined.empty() ? "" : separator) + text(value);
  return joined;
}

std::string join(const std::set<std::string>& values) {
  return join(values, ", ", [](const std::string& value) { return value; });
}

/// Citations, numbered as they come up.
class Citations {
 public:
  std::string mark(const std::string& text) {
    auto at = std::find(texts_.begin(), texts_.end(), text);
    if (at == texts_.end()) at = texts_.insert(texts_.end(), text);
    return concat(" [", at - texts_.begin() + 1, "]");
  }
  std::string list() const {
    std::string lines;
    for (std::size_t i = 0; i < texts_.size(); ++i) lines += concat("[", i + 1, "] ", texts_[i], "\n\n");
    return lines;
  }

 private:
  std::vector<std::string> texts_;
};

std::string published_cell(const PublishedValue& published, Citations& citations) {
  switch (published.source) {
    case Attestation::none:
      return "-";
    case Attestation::recalled:
      return "not printed (recalled)" + citations.mark(published.cite);
    case Attestation::printed:
      return fixed(*published.value, 2) + citations.mark(published.cite);
    case Attestation::derived:
      return fixed(*published.value, 2) + " (derived)" + citations.mark(published.cite);
  }
  return "-";
}

std::string run_cell(const RunRecord* run) {
  if (run == nullptr) return "missing";
  if (!run->diverged.empty()) return concat("diverged after step ", run->steps);
  return fixed(100 * run->metric, 2);
}

std::string measured_cell(const RowComparison& row) {
  if (row.runs.empty()) return "not measured: " + row.planned->row.unmeasured;
  return join(row.runs, " / ", run_cell);
}

std::string drop_cell(const RowComparison& row) {
  if (!row.drop) return "-";
  return fixed(row.drop->mean, 2) + (row.drop->error ? " ± " + fixed(*row.drop->error, 2) : "");
}

std::string verdict_cell(const RowComparison& row) {
  switch (row.verdict) {
    case Verdict::none:
      return "-";
    case Verdict::incomplete:
      return "incomplete";
    case Verdict::diverged:
      return "diverged";
    case Verdict::undecided:
      return "undecided";
    case Verdict::within:
      return "within";
    case Verdict::above:
      return "above";
  }
  return "-";
}

std::vector<const RunRecord*> ended(const RowComparison& row) {
  std::vector<const RunRecord*> runs;
  for (const RunRecord* run : row.runs)
    if (run != nullptr && run->diverged.empty()) runs.push_back(run);
  return runs;
}

// The smallest share over the seeds, product by product.
std::string share_cell(const RowComparison& row) {
  const auto runs = ended(row);
  if (runs.empty()) return "-";
  const double Int8MacShare::*products[] = {&Int8MacShare::forward, &Int8MacShare::grad_input,
                                            &Int8MacShare::grad_weight};
  return join(products, " / ", [&](const double Int8MacShare::*product) {
    double least = 1;
    for (const RunRecord* run : runs) least = std::min(least, run->int8_mac_share.*product);
    return fixed(100 * least, 1);
  });
}

std::string step_cell(const RowComparison& row) {
  std::vector<double> times;
  for (const RunRecord* run : ended(row)) times.push_back(run->step_ms);
  return times.empty() ? "-" : fixed(mean_and_error(times).mean, 1);
}

std::string row_name(const PlannedRow& row) {
  if (row.row.seeds.empty()) return row.row.name;
  return row.row.name + " (seeds " +
         join(row.runs, ", ", [](const PlannedRun& run) { return std::to_string(run.seed()); }) + ")";
}

/// What stands below the rows: layers in float, notes, and where the figures come from.
class Notes {
 public:
  void add(const RowComparison& row) {
    for (const auto* runs : {&row.runs, &row.baselines})
      for (const RunRecord* run : *runs)
        if (run != nullptr) add_source(*run);
    for (const RunRecord* run : row.runs)
      if (run != nullptr && run->policy != "fp32" && !run->in_float.empty())
        in_float_.insert("No INT8 result, `int8_mac_share` is below 95%: " + row.planned->row.name +
                         "; in float: " + join(std::set(run->in_float.begin(), run->in_float.end())));
  }
  std::string text() const {
    std::string lines;
    for (const std::string& line : in_float_) lines += line + ".\n\n";
    for (const std::string& line : notes_) lines += "Note: " + line + "\n\n";
    if (commits_.empty()) return lines;
    return lines + "Measured by octavo " + join(commits_) + ", numerics version " +
           std::to_string(numerics_version) + ", on " + join(machines_) +
           ". Test data (checksum of the first samples): " +
           join(data_, "; ", [](const auto& set) { return set.first + " " + join(set.second); }) + ".\n";
  }

 private:
  void add_source(const RunRecord& run) {
    commits_.insert(run.commit);
    machines_.insert(concat(run.device, " (", run.isa, ", ", run.threads, " threads, ", run.cpu, ")"));
    if (!run.note.empty()) notes_.insert(run.note);
    if (!run.data_crc32c.empty())
      data_[run.data + (run.procedural ? " (drawn by octavo, not a data set)" : "")].insert(run.data_crc32c);
  }

  std::set<std::string> commits_, machines_, notes_, in_float_;
  std::map<std::string, std::set<std::string>> data_;  // name, checksums
};

std::string recipe(const PlannedTable& table) {
  std::vector<std::string> overrides = table.table.overrides;
  const TableScale& scale = table.table.scale(table.scale);
  overrides.insert(overrides.end(), scale.overrides.begin(), scale.overrides.end());
  return join(overrides, ", ", [](const std::string& text) { return "`" + text + "`"; });
}

std::string heading(const PlannedTable& table, const std::string& command) {
  const std::string changes = recipe(table);
  std::string text = "# " + table.table.title + ": " + table.scale + "\n\nMade by `" + command +
                     "` from the result files (JSON) beside it; do not edit.\n\n";
  if (!table.table.text.empty()) text += table.table.text + "\n\n";
  text += changes.empty() ? "" : "Changes to the rows' configuration files: " + changes + ".\n";
  if (table.scale == "quick")
    text += "This is the short scale: published figures belong to whole trainings, compare drops at most.\n";
  return text + "The bar is a drop of " + fixed(table.table.bar, 2) +
         " points; `undecided`: the standard error is " + "above half of it.\n\n";
}

}  // namespace

std::string render_table(const PlannedTable& table, const Records& records, const std::string& command) {
  Citations citations;
  Notes notes;
  std::string seeds;
  for (const PlannedRow& row : table.rows)
    if (seeds.empty() && row.row.seeds.empty() && !row.runs.empty())
      seeds = " (seeds " +
              join(row.runs, ", ", [](const PlannedRun& run) { return std::to_string(run.seed()); }) + ")";
  std::string text = heading(table, command) + "| row | published % | its drop, points | measured %" + seeds +
                     " | drop to fp32 of the same seed, points | bar " + fixed(table.table.bar, 2) +
                     " | int8_mac_share % | ms/step |\n|---|---|---|---|---|---|---|---|\n";
  for (const RowComparison& row : compare_rows(table, records)) {
    const PaperRow& published = row.planned->row;
    text += "| " + row_name(*row.planned) + " | " + published_cell(published.metric, citations) + " | " +
            published_cell(published.drop, citations) + " | " + measured_cell(row) + " | " + drop_cell(row) +
            " | " + verdict_cell(row) + " | " + share_cell(row) + " | " + step_cell(row) + " |\n";
    notes.add(row);
  }
  text += "\n" + citations.list() + notes.text();
  while (text.ends_with("\n\n")) text.pop_back();
  return text;
}

}  // namespace octavo
