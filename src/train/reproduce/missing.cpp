#include "train/reproduce/missing.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <optional>

#include "core/check.h"
#include "core/numerics.h"
#include "kernels.h"
#include "train/checkpoint.h"
#include "train/engine.h"
#include "train/progress.h"
#include "train/run_folder.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct Cost {
  std::int64_t steps = 0;
  double step_seconds = 0;
};

struct Task {
  PlannedRun run;
  fs::path folder;
  double seconds = 0;  // estimated, of what is left
};

// What a step's time depends on: not its learning rate, nor how many follow.
std::string step_key(const DecidingSettings& settings) {
  std::string key;
  for (const auto& [name, value] : settings)
    if (!name.starts_with("train.") && !name.starts_with("optimizer.") && !name.starts_with("schedule."))
      key += name + "=" + value + "\n";
  return key;
}

class Estimator {
 public:
  explicit Estimator(const Records& records) {
    const nlohmann::ordered_json here = describe_environment(kernels::isa_name(kernels::active_isa()), 0);
    const std::string cpu = here.at("cpu"), isa = here.at("isa");
    for (const auto& [name, record] : records.all())
      if (record.step_ms > 0 && record.cpu == cpu && record.isa == isa)
        step_seconds_[step_key(record.settings)] = record.step_ms / 1000;
  }

  /// Seconds that the run takes from its last checkpoint on.
  double seconds_left(const PlannedRun& run, const fs::path& folder) {
    const auto known = costs_.find(run.hash);
    const Cost cost = known != costs_.end() ? known->second : costs_[run.hash] = measure(run);
    const auto done = checkpoint_steps(folder);
    const auto left = static_cast<double>(cost.steps - (done.empty() ? 0 : done.back()));
    return left * cost.step_seconds;
  }

 private:
  Cost measure(const PlannedRun& run) {
    Engine engine(run.config);
    const auto known = step_seconds_.find(step_key(run.settings));
    if (known != step_seconds_.end()) return {engine.total_steps(), known->second};
    constexpr int timed_steps = 3;
    engine.step();  // plans are made and memory is touched
    std::array<double, timed_steps> times{};
    for (double& time : times) time = engine.step().seconds;
    std::sort(times.begin(), times.end());
    return {engine.total_steps(), step_seconds_[step_key(run.settings)] = times[timed_steps / 2]};
  }

  std::map<std::string, double> step_seconds_;  // by step_key
  std::map<std::string, Cost> costs_;           // by hash: seeds cost the same
};

class Queue {
 public:
  Queue(Records& records, const MissingOptions& options) : records_(records), options_(options) {}

  MissingReport run(const std::vector<PlannedRun>& runs) {
    plan(runs);
    std::stable_sort(tasks_.begin(), tasks_.end(),
                     [](const Task& a, const Task& b) { return a.seconds < b.seconds; });
    for (std::size_t i = 0; i < tasks_.size(); ++i) {
      if (stopped()) {
        report_.left += static_cast<int>(tasks_.size() - i);
        break;
      }
      const Task& task = tasks_[i];
      options_.on_line(concat("[", i + 1, "/", tasks_.size(), "] ", task.run.name, ", about ",
                              duration_text(task.seconds)));
      guarded(task.run, [&] { execute(task); });
    }
    return report_;
  }

 private:
  bool stopped() const { return options_.callbacks.stop && options_.callbacks.stop(); }

  void plan(const std::vector<PlannedRun>& runs) {
    Estimator estimator(records_);
    for (const PlannedRun& run : runs) {
      if (records_.find(run) != nullptr) continue;
      Task task{run, options_.runs / concat(run.name, "-n", numerics_version)};
      guarded(run, [&] {
        try {
          task.seconds = estimator.seconds_left(run, task.folder);
        } catch (const Error& error) {
          if (error.code() != Errc::numeric)
            throw;  // it diverges in the first steps: a result, and a cheap one
        }
        tasks_.push_back(task);
      });
    }
  }

  // One run that fails leaves the others alone, unless the data are not there.
  template <class Work>
  void guarded(const PlannedRun& run, const Work& work) {
    try {
      work();
    } catch (const Error& error) {
      if (error.code() == Errc::data) throw;
      ++report_.left;
      report_.failures.emplace_back(error.code(), concat(run.name, ": ", error.what()));
      options_.on_line(report_.failures.back().what());
    }
  }

  void execute(const Task& task) {
    const Clock::time_point start = Clock::now();
    RunOptions options = options_.callbacks;
    options.folder = task.folder.string();
    options.stop_after = 0;
    options.stop = [&] {
      return stopped() || std::chrono::duration<double>(Clock::now() - start).count() > 60 * options_.minutes;
    };
    std::int64_t step = 0;  // steps done
    options.on_start = [&](const RunStart& at) {
      step = at.step;
      if (options_.callbacks.on_start) options_.callbacks.on_start(at);
    };
    options.on_step = [&](const StepReport& report) {
      step = report.step;
      if (options_.callbacks.on_step) options_.callbacks.on_step(report);
    };
    std::optional<RunRecord> record;
    try {
      const RunResult result = start_or_resume(task, options);
      if (result.finished) record = record_of_run(task.run, task.folder);
      step = result.step;
    } catch (const Error& error) {
      if (error.code() != Errc::numeric) throw;
      record = record_of_divergence(task.run, task.folder, step, first_sentence(error.what()));
    }
    keep(task, std::move(record), step);
  }

  /// A folder without a checkpoint holds nothing to go on from: its run was killed in the first epoch.
  static RunResult start_or_resume(const Task& task, const RunOptions& options) {
    if (!checkpoint_steps(task.folder).empty()) return resume(task.folder.string(), options);
    if (fs::exists(task.folder / "config.yaml")) {
      const auto lock = RunFolder::lock(task.folder);  // refuses while another process runs it
      fs::remove_all(task.folder);
    }
    return train(task.run.config, options);
  }

  // What follows names the run folder, which is of this machine.
  static std::string first_sentence(const std::string& message) {
    return message.substr(0, message.rfind("; "));
  }

  void keep(const Task& task, std::optional<RunRecord> record, std::int64_t step) {
    if (!record) {
      ++report_.left;
      options_.on_line(concat(task.run.name, stopped() ? ": stopped" : ": out of time", " after step ", step,
                              "; `octavo reproduce --missing` goes on with it"));
      return;
    }
    record->note = options_.note;
    records_.add(*record);
    ++report_.finished;
  }

  Records& records_;
  const MissingOptions& options_;
  std::vector<Task> tasks_;
  MissingReport report_;
};

}  // namespace

MissingReport run_missing(const std::vector<PlannedRun>& runs, Records& records,
                          const MissingOptions& options) {
  return Queue(records, options).run(runs);
}

}  // namespace octavo
