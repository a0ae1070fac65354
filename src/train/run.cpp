// Whole runs in a folder: train from the start, or go on from a checkpoint.
#include <cmath>
#include <ctime>
#include <filesystem>
#include <limits>
#include <type_traits>

#include "core/check.h"
#include "core/log.h"
#include "octavo/trainer.h"
#include "train/engine.h"
#include "train/precision_overview.h"
#include "train/report/report.h"
#include "train/run_folder.h"
#include "train/summary.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

// JSON has no NaN.
nlohmann::json finite_or_null(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
}

double null_as_nan(const nlohmann::json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

class Run {
 public:
  Run(Engine& engine, std::unique_ptr<RunFolder> folder, const RunOptions& options)
      : engine_(engine), folder_(std::move(folder)), options_(options) {}

  void restore(const nlohmann::json& state) {
    try {
      best_.metric = null_as_nan(state.at("best_metric"));
      best_.step = state.at("best_step");
      best_.metric_name = engine_.task().metric_name();
      evaluated_ = state.at("evaluated");
      engine_.program().runtime().macs = {state.at("integer_macs"), state.at("macs")};
    } catch (const nlohmann::json::exception& error) {
      fail(Errc::checkpoint, "state.json of the checkpoint: ", error.what());
    }
  }

  RunResult run() {
    if (options_.on_start)
      options_.on_start({folder_->path().string(), engine_.steps_done(), engine_.total_steps(),
                         precision_overview(engine_.training_plan(), engine_.program())});
    for (const std::string& note : engine_.notes()) {
      logger(LogArea::dispatch).warn("{}", note);
      if (options_.on_warning) options_.on_warning(note);
    }
    prepare_checkpoints(folder_->path(), checkpoint_bytes(engine_.state()));
    bool stopped = stop_reached();
    while (!stopped && engine_.steps_done() < engine_.total_steps()) {
      train_one_step();
      stopped = stop_reached();
      const bool end = engine_.steps_done() == engine_.total_steps();
      const bool evaluated = end || due(engine_.config().train().eval_every);
      if (evaluated) evaluate();
      if (end || stopped || (evaluated && is_best_) || due(engine_.config().train().checkpoint_every)) save();
    }
    return finish();
  }

 private:
  bool stop_reached() const {
    if (options_.stop_after > 0 && engine_.steps_done() >= options_.stop_after) return true;
    return options_.stop && options_.stop();
  }

  bool due(const Duration& every) const {
    const std::int64_t steps = every.steps(engine_.steps_per_epoch());
    return steps > 0 && engine_.steps_done() % steps == 0;
  }

  void train_one_step() {
    const StepReport report = checked([&] {
      return engine_.step([&](const nlohmann::ordered_json& event) { folder_->add_precision(event); });
    });
    step_seconds_.push_back(report.seconds);
    folder_->add_metrics({{"phase", "train"},
                          {"step", report.step},
                          {"epoch", report.epoch},
                          {"loss", report.loss},
                          {"lr", report.learning_rate},
                          {"gradient_norm", report.gradient_norm},
                          {"seconds", report.seconds},
                          {"samples_per_second", static_cast<double>(report.samples) / report.seconds}});
    if (options_.on_step) options_.on_step(report);
  }

  // Divergence ends the run; the message says what is left to go on from.
  template <class Work>
  std::invoke_result_t<Work> checked(const Work& work) const {
    try {
      return work();
    } catch (const Error& error) {
      if (error.code() != Errc::numeric) throw;
      const auto steps = checkpoint_steps(folder_->path());
      const std::string kept = steps.empty() ? "no checkpoint was saved before it"
                                             : concat("the checkpoint of step ", steps.back(), " is intact");
      logger(LogArea::train).error("{}", error.what());
      report();
      fail(Errc::numeric, error.what(), "; ", kept, " in ", folder_->path().string());
    }
  }

  void evaluate(bool record = true) {
    last_ = checked([&] { return engine_.evaluate(); });
    const bool higher = engine_.task().higher_is_better();
    const bool better = higher ? last_.metric > best_.metric : last_.metric < best_.metric;
    is_best_ = !evaluated_ || better || (std::isnan(best_.metric) && !std::isnan(last_.metric));
    if (is_best_) best_ = last_;
    evaluated_ = true;
    if (options_.on_evaluation) options_.on_evaluation(last_);
    if (!record) return;
    folder_->add_metrics({{"phase", "eval"},
                          {"step", last_.step},
                          {"epoch", last_.step / engine_.steps_per_epoch()},
                          {"loss", last_.loss},
                          {last_.metric_name, last_.metric},
                          {"seconds", last_.seconds},
                          {"samples_per_second", static_cast<double>(last_.samples) / last_.seconds}});
  }

  CheckpointContent content() const {
    CheckpointContent content = engine_.state();
    content.state["best_metric"] = finite_or_null(best_.metric);
    content.state["best_step"] = best_.step;
    content.state["evaluated"] = evaluated_;
    content.state["integer_macs"] = engine_.macs().integer;
    content.state["macs"] = engine_.macs().all;
    return content;
  }

  // A disk that is full must not end the training: the last good checkpoint stays, the next save tries again.
  void save() {
    const bool best = is_best_ && best_.step == engine_.steps_done();
    try {
      save_checkpoint(folder_->path(), engine_.steps_done(), content(),
                      {static_cast<int>(engine_.config().train().keep_last), best});
      unsaved_.clear();
    } catch (const Error& error) {
      if (error.code() != Errc::resource) throw;
      unsaved_ = error.what();
      logger(LogArea::train).warn("checkpoint of step {} not saved: {}", engine_.steps_done(), error.what());
      if (options_.on_warning)
        options_.on_warning(concat("checkpoint of step ", engine_.steps_done(), " not saved: ", error.what(),
                                   "; the one before it is intact, the next save tries again"));
    }
  }

  // A page to look at; the run is as good without it.
  void report() const {
    try {
      report::write_report(folder_->path(), folder_->path() / "report.html");
    } catch (const std::exception& error) {
      logger(LogArea::train).warn("no report.html: {}", error.what());
      if (options_.on_warning) options_.on_warning(concat("no report.html: ", error.what()));
    }
  }

  RunResult finish() {
    const bool finished = engine_.steps_done() >= engine_.total_steps();
    // Resumed when everything was done: the event of this evaluation stands already.
    if (finished && last_.step != engine_.steps_done()) evaluate(false);
    // A run that was complete keeps the summary that was written with the times of its steps.
    if (finished && (!step_seconds_.empty() || !fs::exists(folder_->path() / "summary.json")))
      folder_->write_summary(run_summary(engine_, last_, best_, step_seconds_));
    report();
    require(unsaved_.empty(), Errc::resource, "the last checkpoint could not be saved: ", unsaved_);
    return {folder_->path().string(), finished, engine_.steps_done(), last_, best_};
  }

  Engine& engine_;
  std::unique_ptr<RunFolder> folder_;
  const RunOptions& options_;
  EvalReport last_, best_;
  bool evaluated_ = false, is_best_ = false;
  std::string unsaved_;
  std::vector<double> step_seconds_;
};

fs::path run_path(const Config& config, const RunOptions& options) {
  if (!options.folder.empty()) return options.folder;
  if (!config.output().dir.empty()) return config.output().dir;
  return default_run_path(fs::current_path(), config.name(), std::time(nullptr));
}

CheckpointContent load_start(const fs::path& run, const RunOptions& options) {
  if (options.checkpoint != "auto") return load_checkpoint(find_checkpoint(run, options.checkpoint));
  IntactCheckpoint found = load_newest_intact(run);
  for (const std::string& damage : found.damaged)
    if (options.on_warning) options.on_warning(damage);
  return std::move(found.content);
}

}  // namespace

RunResult train(const Config& config, const RunOptions& options) {
  Engine engine(config);
  engine.evaluation_plan();  // what cannot be evaluated should not train first
  nlohmann::ordered_json environment = describe_environment(kernels::isa_name(kernels::active_isa()),
                                                            engine.program().runtime().pool.threads());
  environment["procedural_data"] = engine.train_info().procedural;  // a run without summary.json says it too
  auto folder = RunFolder::create(run_path(config, options), config.dump(), environment);
  folder->add_precision(
      {{"step", 0}, {"plan", precision_plan_json(engine.training_plan(), engine.program())}});
  return Run(engine, std::move(folder), options).run();
}

RunResult resume(const std::string& folder, const RunOptions& options) {
  const fs::path path = fs::absolute(folder);
  auto lock = RunFolder::lock(path);
  const CheckpointContent content = load_start(path, options);
  Engine engine(Config::load((path / "config.yaml").string(), {}, catalog()));
  engine.load_state(content);
  Run run(engine, RunFolder::resume(path, std::move(lock), engine.steps_done()), options);
  run.restore(content.state);
  return run.run();
}

}  // namespace octavo
