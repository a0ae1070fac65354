// Whole runs in a folder: train from the start, or go on from a checkpoint.
#include <ctime>
#include <filesystem>

#include "core/check.h"
#include "core/log.h"
#include "octavo/trainer.h"
#include "train/engine.h"
#include "train/run_folder.h"
#include "train/summary.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

class Run {
 public:
  Run(Engine& engine, std::unique_ptr<RunFolder> folder, const RunOptions& options)
      : engine_(engine), folder_(std::move(folder)), options_(options) {}

  void restore(const nlohmann::json& state) {
    try {
      best_.metric = state.at("best_metric");
      best_.step = state.at("best_step");
      evaluated_ = state.at("evaluated");
    } catch (const nlohmann::json::exception& error) {
      fail(Errc::checkpoint, "state.json of the checkpoint: ", error.what());
    }
  }

  RunResult run() {
    if (options_.on_start) options_.on_start(folder_->path().string());
    prepare_checkpoints(folder_->path(), checkpoint_bytes(engine_.state()));
    bool stopped = stop_reached();
    while (!stopped && engine_.steps_done() < engine_.total_steps()) {
      train_one_step();
      stopped = stop_reached();
      const bool end = engine_.steps_done() == engine_.total_steps();
      if (end || due(engine_.config().train().eval_every)) evaluate();
      if (end || stopped || due(engine_.config().train().checkpoint_every)) save();
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
    const StepReport report = engine_.step([&](const nlohmann::ordered_json& event) { folder_->precision().append(event); });
    step_seconds_.push_back(report.seconds);
    folder_->metrics().append({{"phase", "train"}, {"step", report.step}, {"epoch", report.epoch}, {"loss", report.loss},
                               {"lr", report.learning_rate}, {"gradient_norm", report.gradient_norm},
                               {"seconds", report.seconds},
                               {"samples_per_second", static_cast<double>(report.samples) / report.seconds}});
    if (options_.on_step) options_.on_step(report);
  }

  void evaluate() {
    last_ = engine_.evaluate();
    const bool higher = engine_.task().higher_is_better();
    is_best_ = !evaluated_ || (higher ? last_.metric > best_.metric : last_.metric < best_.metric);
    if (is_best_) best_ = last_;
    evaluated_ = true;
    folder_->metrics().append({{"phase", "eval"}, {"step", last_.step},
                               {"epoch", last_.step / engine_.steps_per_epoch()}, {"loss", last_.loss},
                               {last_.metric_name, last_.metric}, {"seconds", last_.seconds},
                               {"samples_per_second", static_cast<double>(last_.samples) / last_.seconds}});
    if (options_.on_evaluation) options_.on_evaluation(last_);
  }

  // A disk that is full must not end the training: the last good checkpoint stays, the next save tries again.
  void save() {
    CheckpointContent content = engine_.state();
    content.state["best_metric"] = best_.metric;
    content.state["best_step"] = best_.step;
    content.state["evaluated"] = evaluated_;
    const bool best = is_best_ && best_.step == engine_.steps_done();
    try {
      save_checkpoint(folder_->path(), engine_.steps_done(), content,
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

  RunResult finish() {
    RunResult result{folder_->path().string(), engine_.steps_done() >= engine_.total_steps(), engine_.steps_done(), last_,
                     best_};
    if (result.finished) {
      if (last_.step != engine_.steps_done()) evaluate();  // resumed when everything was done
      result.last = last_;
      folder_->write_summary(run_summary(engine_, last_, best_, step_seconds_));
    }
    require(unsaved_.empty(), Errc::resource, "the last checkpoint could not be saved: ", unsaved_);
    return result;
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

}  // namespace

RunResult train(const Config& config, const RunOptions& options) {
  Engine engine(config);
  auto folder = RunFolder::create(run_path(config, options), config.dump(),
                                  describe_environment(kernels::isa_name(kernels::active_isa()),
                                                       engine.program().runtime().pool.threads()));
  folder->precision().append({{"step", 0}, {"plan", precision_plan_json(engine.training_plan(), engine.program())}});
  return Run(engine, std::move(folder), options).run();
}

RunResult resume(const std::string& folder, const RunOptions& options) {
  const fs::path path = fs::absolute(folder);
  require(fs::exists(path / "config.yaml"), Errc::checkpoint, "no run in ", path.string(), ": it has no config.yaml");
  const CheckpointContent content = load_checkpoint(find_checkpoint(path));
  Engine engine(Config::load((path / "config.yaml").string(), {}, catalog()));
  engine.load_state(content);
  Run run(engine, RunFolder::resume(path, engine.steps_done()), options);
  run.restore(content.state);
  return run.run();
}

}  // namespace octavo
