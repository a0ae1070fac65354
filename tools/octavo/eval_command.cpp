// octavo eval: metrics of a run's checkpoint on the evaluation data.
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "octavo/trainer.h"
#include "train/engine.h"

namespace octavo::cli {
namespace {

struct EvalArguments {
  std::string run, checkpoint = "last";
  std::vector<std::string> overrides;
};

int eval_command(const EvalArguments& arguments) {
  const std::filesystem::path run = std::filesystem::absolute(resolve_run(arguments.run));
  if (!std::filesystem::exists(run / "config.yaml"))
    throw Error(Errc::checkpoint, "no run in " + run.string() + ": it has no config.yaml");
  Engine engine(Config::load((run / "config.yaml").string(), arguments.overrides, catalog()));
  engine.restore_model(load_checkpoint(find_checkpoint(run, arguments.checkpoint)));
  const EvalReport report = engine.evaluate();
  const nlohmann::ordered_json json{{"step", report.step},
                                    {"samples", report.samples},
                                    {"loss", report.loss},
                                    {report.metric_name, report.metric}};
  std::cout << json.dump() << '\n';
  return 0;
}

}  // namespace

void add_eval(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<EvalArguments>();
  CLI::App* sub = app.add_subcommand("eval", "metrics of a run on the evaluation data");
  sub->add_option("run", arguments->run, "run folder, or `last`")->required();
  sub->add_option("overrides", arguments->overrides, "key=value, for example data.batch=1");
  sub->add_option("--checkpoint", arguments->checkpoint, "last, best or a step");
  sub->callback([arguments, &action] { action = [arguments] { return eval_command(*arguments); }; });
}

}  // namespace octavo::cli
