// octavo report: one HTML page about a run.
#include <filesystem>
#include <iostream>

#include "commands.h"
#include "train/report/report.h"

namespace octavo::cli {
namespace {

struct ReportArguments {
  std::string run, out;
};

int report_command(const ReportArguments& arguments) {
  const std::filesystem::path run = resolve_run(arguments.run);
  const std::filesystem::path file =
      arguments.out.empty() ? run / "report.html" : std::filesystem::path(arguments.out);
  report::write_report(run, file);
  std::cout << std::filesystem::absolute(file).lexically_normal().string() << '\n';
  return 0;
}

}  // namespace

void add_report(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<ReportArguments>();
  CLI::App* sub = app.add_subcommand("report", "one HTML page: curves, precision of every slot, plan");
  sub->add_option("run", arguments->run, "run folder, or `last`")->required();
  sub->add_option("--out", arguments->out, "HTML file (default: report.html in the run folder)");
  sub->callback([arguments, &action] { action = [arguments] { return report_command(*arguments); }; });
}

}  // namespace octavo::cli
