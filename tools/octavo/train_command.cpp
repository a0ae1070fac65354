// octavo train, octavo resume.
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <sstream>

#include "commands.h"
#include "core/log.h"
#include "octavo/trainer.h"
#include "train/metrics.h"
#include "train/signals.h"

namespace octavo::cli {

void ConfigArguments::add_to(CLI::App& command) {
  command.add_option("config", path, "YAML file of the experiment")->required();
  command.add_option("overrides", overrides, "key=value, for example optimizer.lr=0.05 or precision=fp32");
}

Config ConfigArguments::load() const { return Config::load(path, overrides, catalog()); }

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

std::string fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

// A bar on a terminal, a line every ten seconds in a pipe.
class Progress {
 public:
  explicit Progress(std::int64_t total) : total_(total), eta_(total), terminal_(isatty(STDERR_FILENO) != 0) {}

  void step(const StepReport& report) {
    const double now = std::chrono::duration<double>(Clock::now() - start_).count();
    eta_.update(report.step, now);
    const double pause = terminal_ ? 0.2 : 10;
    if (shown_ >= 0 && now - shown_ < pause && report.step < total_) return;
    shown_ = now;
    const std::string detail = "epoch " + std::to_string(report.epoch + 1) + "  loss " + fixed(report.loss, 4) + "  lr " +
                               fixed(report.learning_rate, 5) + "  " + fixed(1000 * report.seconds, 1) + " ms/step";
    std::cerr << (terminal_ ? "\r" : "") << progress_line(report.step, total_, eta_.seconds(), detail, terminal_, 100)
              << (terminal_ ? "" : "\n") << std::flush;
  }

  void line(const std::string& text) { std::cerr << (terminal_ ? "\r\033[K" : "") << text << std::endl; }

 private:
  std::int64_t total_;
  Eta eta_;
  bool terminal_;
  Clock::time_point start_ = Clock::now();
  double shown_ = -1;
};

struct TrainArguments {
  ConfigArguments config;
  std::string run, out;
  std::int64_t steps = 0;
  bool dry_run = false, strict = false;
};

int run_command(const std::function<RunResult(const RunOptions&)>& start, RunOptions options, std::int64_t total) {
  StopSignals signals;
  Progress progress(total);
  options.stop = [&] { return signals.stop_requested(); };
  options.on_start = [&](const std::string& folder) { progress.line("run folder " + folder); };
  options.on_step = [&](const StepReport& report) { progress.step(report); };
  options.on_warning = [&](const std::string& text) { progress.line("warning: " + text); };
  options.on_evaluation = [&](const EvalReport& report) {
    progress.line("step " + std::to_string(report.step) + "  evaluation: loss " + fixed(report.loss, 4) + "  " +
                  report.metric_name + " " + fixed(report.metric, 4));
  };
  const RunResult result = start(options);
  progress.line("");
  if (result.finished)
    std::cout << result.last.metric_name << ' ' << fixed(result.last.metric, 4) << "  loss " << fixed(result.last.loss, 4)
              << "  best " << fixed(result.best.metric, 4) << " at step " << result.best.step << "\n";
  else
    std::cout << "stopped after step " << result.step << "; go on with: octavo resume " << result.folder << "\n";
  std::cout << result.folder << std::endl;
  return signals.stop_requested() ? signals.exit_code() : 0;
}

// The newest folder under ./runs that holds a run.
std::string resolve_run(const std::string& run) {
  if (run != "last") return run;
  fs::path newest;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("runs", ignored))
    if (fs::exists(entry.path() / "config.yaml") &&
        (newest.empty() || fs::last_write_time(entry.path()) > fs::last_write_time(newest)))
      newest = entry.path();
  if (newest.empty()) throw Error(Errc::checkpoint, "no run in " + fs::absolute("runs").string());
  return newest.string();
}

int dry_run(const Config& config) {
  Trainer trainer(config);
  std::cout << trainer.describe() << '\n' << trainer.precision_plan() << '\n';
  const StepReport report = trainer.step();
  std::cout << "dry run: one step of " << trainer.total_steps() << ", loss " << fixed(report.loss, 4) << ", "
            << fixed(report.seconds * 1000, 1) << " ms; nothing was written\n";
  return 0;
}

int train_command(const TrainArguments& arguments) {
  const Config config = arguments.config.load();
  if (arguments.dry_run) return dry_run(config);
  RunOptions options;
  options.folder = arguments.out;
  options.stop_after = arguments.steps;
  return run_command([&](const RunOptions& with) { return train(config, with); }, options, 0);
}

int resume_command(const TrainArguments& arguments) {
  const std::string folder = resolve_run(arguments.run);
  RunOptions options;
  options.stop_after = arguments.steps;
  return run_command([&](const RunOptions& with) { return resume(folder, with); }, options, 0);
}

}  // namespace

void add_train(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<TrainArguments>();
  CLI::App* train = app.add_subcommand("train", "train from a configuration");
  arguments->config.add_to(*train);
  train->add_option("--out", arguments->out, "run folder (default: output.dir, else runs/<config>-<time>)");
  train->add_option("--steps", arguments->steps, "stop after this step, with a checkpoint; the schedule stays")
      ->check(CLI::PositiveNumber);
  train->add_flag("--dry-run", arguments->dry_run, "build everything, print the plan, run one step, write nothing");
  train->callback([arguments, &action] { action = [arguments] { return train_command(*arguments); }; });

  CLI::App* resume = app.add_subcommand("resume", "go on with a run from its last checkpoint");
  resume->add_option("run", arguments->run, "run folder, or `last`")->required();
  resume->add_option("--steps", arguments->steps, "stop after this step, with a checkpoint")->check(CLI::PositiveNumber);
  resume->callback([arguments, &action] { action = [arguments] { return resume_command(*arguments); }; });
}

}  // namespace octavo::cli
