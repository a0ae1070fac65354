// octavo train, octavo resume.
#include <iostream>

#include "commands.h"
#include "estimate.h"
#include "progress.h"
#include "train/engine.h"
#include "train/signals.h"
#include "train/summary.h"

namespace octavo::cli {
namespace {

struct TrainArguments {
  ConfigArguments config;
  std::string run, out, checkpoint = "last";
  std::int64_t steps = 0;
  bool dry_run = false;
};

int run_command(const std::function<RunResult(const RunOptions&)>& start, RunOptions options) {
  StopSignals signals;
  Progress progress;
  options.stop = [&] { return signals.stop_requested(); };
  options.on_start = [&](const RunStart& at) { progress.start(at); };
  options.on_step = [&](const StepReport& report) { progress.step(report); };
  options.on_warning = [&](const std::string& text) { progress.line("warning: " + text); };
  options.on_evaluation = [&](const EvalReport& report) {
    progress.line("step " + std::to_string(report.step) + "  evaluation: loss " + fixed(report.loss, 4) +
                  "  " + report.metric_name + " " + fixed(report.metric, 4));
  };
  const RunResult result = start(options);
  progress.end();
  if (result.finished)
    std::cout << result.last.metric_name << ' ' << fixed(result.last.metric, 4) << "  loss "
              << fixed(result.last.loss, 4) << "  best " << fixed(result.best.metric, 4) << " at step "
              << result.best.step << "\n";
  else
    std::cout << "stopped after step " << result.step << "; go on with: octavo resume " << result.folder
              << "\n";
  std::cout << result.folder << std::endl;
  return signals.stop_requested() ? signals.exit_code() : 0;
}

int dry_run(const Config& config) {
  Engine engine(config);
  std::cout << layer_table(engine.program()) << '\n'
            << precision_plan(engine.training_plan(), engine.program()) << '\n'
            << data_line(engine) << memory_line(engine);
  const StepReport report = engine.step();
  std::cout << "dry run: one step of " << engine.total_steps() << ", loss " << fixed(report.loss, 4) << ", "
            << fixed(report.seconds * 1000, 1) << " ms; nothing was written\n";
  return 0;
}

int train_command(const TrainArguments& arguments) {
  const Config config = arguments.config.load();
  if (arguments.dry_run) return dry_run(config);
  RunOptions options;
  options.folder = arguments.out;
  options.stop_after = arguments.steps;
  return run_command([&](const RunOptions& with) { return train(config, with); }, options);
}

int resume_command(const TrainArguments& arguments) {
  const std::string folder = resolve_run(arguments.run);
  RunOptions options;
  options.stop_after = arguments.steps;
  options.checkpoint = arguments.checkpoint;
  return run_command([&](const RunOptions& with) { return resume(folder, with); }, options);
}

}  // namespace

void add_train(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<TrainArguments>();
  CLI::App* train = app.add_subcommand("train", "train from a configuration");
  arguments->config.add_to(*train);
  train->add_option("--out", arguments->out, "run folder (default: output.dir, else runs/<config>-<time>)");
  train
      ->add_option("--steps", arguments->steps, "stop after this step, with a checkpoint; the schedule stays")
      ->check(CLI::PositiveNumber);
  train->add_flag("--dry-run", arguments->dry_run,
                  "build everything, print the plan, run one step, write nothing");
  train->callback([arguments, &action] { action = [arguments] { return train_command(*arguments); }; });

  CLI::App* resume =
      app.add_subcommand("resume", "go on with a run from a checkpoint, the last one unless told otherwise");
  resume->add_option("run", arguments->run, "run folder, or `last`")->required();
  resume->add_option("--steps", arguments->steps, "stop after this step, with a checkpoint")
      ->check(CLI::PositiveNumber);
  resume->add_option("--checkpoint", arguments->checkpoint,
                     "last, best, a step, or auto: the newest that is intact");
  resume->callback([arguments, &action] { action = [arguments] { return resume_command(*arguments); }; });
}

}  // namespace octavo::cli
