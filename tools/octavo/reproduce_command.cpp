// octavo reproduce: tables of papers, published beside measured, from the result files of finished runs.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <optional>
#include <set>

#include "commands.h"
#include "config/problems.h"
#include "core/check.h"
#include "progress.h"
#include "train/engine.h"
#include "train/file_io.h"
#include "train/reproduce/comparison.h"
#include "train/reproduce/missing.h"
#include "train/signals.h"

namespace octavo::cli {
namespace {

namespace fs = std::filesystem;

struct ReproduceArguments {
  std::vector<std::string> items;  // tables and overrides
  PlanChoices choices;
  std::string tables, results = "docs/results";
  bool list = false, missing = false;
  MissingOptions options;
  std::string runs = options.runs.string();
};

std::string table_folder(const ReproduceArguments& arguments) {
  if (!arguments.tables.empty()) return arguments.tables;
  const std::string installed = (fs::path(catalog().share_folder) / "configs/paper").string();
  return fs::exists("configs/paper") || !fs::exists(installed) ? "configs/paper" : installed;
}

// A table is a name of the folder, or the path of a file.
std::vector<PaperTable> load_tables(const std::vector<std::string>& names, const std::string& folder) {
  const std::vector<std::string> paths = paper_table_paths(folder);
  std::vector<std::string> known(paths.size());
  std::transform(paths.begin(), paths.end(), known.begin(),
                 [](const std::string& path) { return fs::path(path).stem().string(); });
  std::vector<PaperTable> tables;
  if (names.empty())
    for (const std::string& path : paths) tables.push_back(load_paper_table(path));
  for (const std::string& name : names) {
    const bool is_path = name.ends_with(".yaml");
    const auto at = std::find(known.begin(), known.end(), name);
    require(is_path || at != known.end(), Errc::config, "no table '", name, "' in ",
            fs::absolute(folder).string(), suggestion(name, known));
    tables.push_back(load_paper_table(is_path ? name : paths[static_cast<std::size_t>(at - known.begin())]));
  }
  require(!tables.empty(), Errc::config, "no tables in ", fs::absolute(folder).string(),
          "; name their folder with --tables");
  return tables;
}

std::vector<PlannedTable> plan_tables(const std::vector<PaperTable>& tables, const PlanChoices& choices) {
  std::vector<PlannedTable> planned;
  planned.reserve(tables.size());
  for (const PaperTable& table : tables) planned.push_back(plan_table(table, choices));
  return planned;
}

std::vector<PlannedRun> absent(const std::vector<PlannedTable>& tables, const Records& records) {
  std::vector<PlannedRun> runs = distinct_runs(tables);
  std::erase_if(runs, [&](const PlannedRun& run) { return records.find(run) != nullptr; });
  return runs;
}

// One line per row that lacks runs: "missing: auto, seeds 1, 2".
std::string missing_rows(const PlannedTable& table, const Records& records) {
  std::set<std::string> seen;
  std::vector<std::pair<std::string, std::string>> rows;  // name, seeds
  const auto add = [&](const std::string& name, const PlannedRun& run) {
    if (records.find(run) != nullptr || !seen.insert(run.name).second) return;
    auto at = std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.first == name; });
    if (at == rows.end()) at = rows.insert(rows.end(), {name, ""});
    at->second += concat(at->second.empty() ? "" : ", ", run.seed(),
                         records.outdated(run) ? " (there is a result of older numerics)" : "");
  };
  for (const PlannedRow& row : table.rows) {
    for (const PlannedRun& run : row.runs) add(row.row.name, run);
    for (const PlannedRun& run : row.baselines) add("fp32 baseline of " + row.row.name, run);
  }
  std::string text;
  for (const auto& [name, seeds] : rows) text += concat("    missing: ", name, ", seeds ", seeds, "\n");
  return text;
}

int list_tables(const std::vector<PaperTable>& tables, PlanChoices choices, const Records& records) {
  for (const PaperTable& table : tables) {
    std::cout << table.name << ": " << table.title << '\n';
    for (const char* scale : {"quick", "full"}) {
      choices.scale = scale;
      const std::vector<PlannedTable> planned = plan_tables({table}, choices);
      const std::size_t all = distinct_runs(planned).size(), left = absent(planned, records).size();
      std::cout << "  " << scale << ": " << all - left << " of " << all << " runs done\n"
                << missing_rows(planned[0], records);
    }
  }
  return 0;
}

/// Progress of one run after the other.
class RunDisplay {
 public:
  RunOptions callbacks(const StopSignals& signals) {
    RunOptions options;
    options.stop = [&signals] { return signals.stop_requested(); };
    options.on_start = [this](const RunStart& at) { progress_.emplace().start(at); };
    options.on_step = [this](const StepReport& report) { progress_->step(report); };
    options.on_warning = [this](const std::string& text) { line("warning: " + text); };
    options.on_evaluation = [this](const EvalReport& report) {
      line("step " + std::to_string(report.step) + "  " + report.metric_name + " " + fixed(report.metric, 4));
    };
    return options;
  }
  void line(const std::string& text) {
    if (progress_)
      progress_->line(text);
    else
      std::cerr << text << '\n';
  }

 private:
  std::optional<Progress> progress_;
};

int run_absent(const std::vector<PlannedTable>& tables, Records& records, MissingOptions options) {
  const StopSignals signals;
  RunDisplay display;
  options.callbacks = display.callbacks(signals);
  options.on_line = [&](const std::string& text) { display.line(text); };
  const MissingReport report = run_missing(distinct_runs(tables), records, options);
  display.line(concat(report.finished, " runs finished, ", report.left, " left"));
  if (signals.stop_requested()) return signals.exit_code();
  return report.failures.empty() ? 0 : static_cast<int>(report.failures.front().code());
}

// The file of a table is what the table says; a variant of the command line is only shown.
void write_tables(const std::vector<PlannedTable>& tables, const Records& records,
                  const ReproduceArguments& arguments) {
  std::string changes;
  for (const std::string& text : arguments.choices.overrides)
    if (decides_numbers(text)) changes += " " + text;
  const bool variant = !changes.empty() || !arguments.choices.seeds.empty();
  for (const PlannedTable& table : tables) {
    const std::string command = "octavo reproduce " + table.table.name + " --scale " + table.scale + changes;
    const std::string text = render_table(table, records, command);
    std::cout << text << '\n';
    const bool empty = absent({table}, records).size() == distinct_runs({table}).size();
    if (!variant && !empty)
      replace_file(system_files(), records.folder() / (table.table.name + "-" + table.scale + ".md"), text);
  }
}

// What is missing cannot be run without its data: exit 3 with the paths tried.
void require_data(const PlannedRun& run) {
  try {
    Engine engine(run.config);
  } catch (const Error& error) {
    if (error.code() == Errc::data) throw;
  }
}

int reproduce_command(ReproduceArguments arguments) {
  std::vector<std::string> names;
  for (const std::string& item : arguments.items)
    (item.find('=') == std::string::npos ? names : arguments.choices.overrides).push_back(item);
  const std::vector<PaperTable> tables = load_tables(names, table_folder(arguments));
  Records records(arguments.results);
  if (arguments.list || (names.empty() && !arguments.missing))
    return list_tables(tables, arguments.choices, records);

  const std::vector<PlannedTable> planned = plan_tables(tables, arguments.choices);
  arguments.options.runs = arguments.runs;
  const int code = arguments.missing ? run_absent(planned, records, arguments.options) : 0;
  write_tables(planned, records, arguments);
  const std::vector<PlannedRun> left = absent(planned, records);
  if (!left.empty() && !arguments.missing) {
    require_data(left.front());
    std::cerr << left.size() << " runs are missing; --missing runs them, cheapest first\n";
  }
  return code;
}

}  // namespace

void add_reproduce(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<ReproduceArguments>();
  CLI::App* sub = app.add_subcommand(
      "reproduce",
      "tables of papers, published beside measured; without a table: what there is and what is missing");
  sub->add_option("items", arguments->items,
                  "tables, by name or file, and overrides key=value for every run");
  sub->add_option("--scale", arguments->choices.scale, "quick: hours on two cores; full: as published")
      ->check(CLI::IsMember({"quick", "full"}));
  sub->add_flag("--list", arguments->list, "the tables and the runs they lack");
  sub->add_flag("--missing", arguments->missing,
                "run what is missing, cheapest first; interrupted runs go on");
  sub->add_option("--minutes", arguments->options.minutes, "longest time of one run in one call")
      ->check(CLI::PositiveNumber);
  sub->add_option("--seeds", arguments->choices.seeds, "instead of the table's own, for example 1,2,3")
      ->delimiter(',')
      ->allow_extra_args(false);
  sub->add_option("--results", arguments->results, "folder of result files and tables");
  sub->add_option("--runs", arguments->runs, "folder of the run folders");
  sub->add_option("--tables", arguments->tables, "folder of the table files");
  sub->add_option("--note", arguments->options.note,
                  "kept with the results of this call, for example on the data");
  sub->callback([arguments, &action] { action = [arguments] { return reproduce_command(*arguments); }; });
}

}  // namespace octavo::cli
