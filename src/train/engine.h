// The parts of one training, and what steps, evaluates, saves and restores them. Knows no files.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "octavo/trainer.h"
#include "precision/controller.h"
#include "tasks/task.h"
#include "train/checkpoint.h"
#include "train/engine_parts.h"
#include "train/step_runner.h"

namespace octavo {

class Engine {
 public:
  explicit Engine(const Config& config);
  Engine(const Config& config, const DataSets& data);

  /// Errc::numeric, weights unchanged, when a loss or gradient is not finite.
  StepReport step(const Controller::EventSink& precision_events = {});
  EvalReport evaluate();

  CheckpointContent state() const;
  void load_state(const CheckpointContent& content);     ///< Errc::checkpoint with every difference
  void restore_model(const CheckpointContent& content);  ///< what evaluation needs of it, for any batch size

  const StepRunner& runner() const { return *runner_; }
  void fetch() { runner_->fetch(); }
  /// What the user should know of how the plan was made.
  const std::vector<std::string>& notes() const { return notes_; }
  std::int64_t steps_per_epoch() const { return steps_per_epoch_; }
  std::int64_t total_steps() const { return total_steps_; }
  std::int64_t steps_done() const { return runtime_.step; }
  const MacCount& macs() const { return runtime_.macs; }
  const Config& config() const { return config_; }
  const DatasetInfo& train_info() const { return train_data_->data().info(); }
  const Dataset& test_set() const { return test_data_->data(); }
  Program& program() { return *program_; }
  const Program& program() const { return *program_; }
  Task& task() { return *task_; }
  /// The training plan for full batches (made now if need be), for tables and graph printing.
  Plan& training_plan();
  Plan& evaluation_plan();  ///< for the first batch of an evaluation

 private:
  void use_kernel_plan(const std::string& path);
  BatchTypes sample_types() const;
  const Batch& next_batch();

  Config config_;
  std::vector<std::string> notes_;
  Runtime runtime_;
  std::unique_ptr<Loader> train_data_, test_data_;
  std::unique_ptr<Program> program_;
  std::unique_ptr<Controller> controller_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<StepRunner> runner_;
  std::unique_ptr<Task> task_;
  Schedule schedule_;
  std::int64_t steps_per_epoch_ = 0, total_steps_ = 0;
};

}  // namespace octavo
