// octavo compare: runs side by side.
#include <filesystem>
#include <iostream>

#include "commands.h"
#include "train/file_io.h"
#include "train/report/compare.h"

namespace octavo::cli {
namespace {

struct CompareArguments {
  std::vector<std::string> runs;
  std::string html;
};

int compare_command(const CompareArguments& arguments) {
  std::vector<std::filesystem::path> paths;
  for (const std::string& run : arguments.runs) paths.emplace_back(resolve_run(run));
  const std::vector<report::ComparedRun> runs = report::compare_runs(paths);
  if (!arguments.html.empty()) replace_file(system_files(), arguments.html, report::comparison_page(runs));
  std::cout << report::table_text(report::comparison_table(runs));
  return 0;
}

}  // namespace

void add_compare(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<CompareArguments>();
  CLI::App* sub = app.add_subcommand("compare", "final metric, speed and memory of several runs");
  sub->add_option("runs", arguments->runs, "run folders; `last` is the newest")->required();
  sub->add_option("--html", arguments->html, "also write a page with the curves over each other");
  sub->callback([arguments, &action] { action = [arguments] { return compare_command(*arguments); }; });
}

}  // namespace octavo::cli
