// Training: one object that steps and evaluates, and whole runs with checkpoints in a run folder.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "octavo/config.h"
#include "octavo/tensor.h"

namespace octavo {

/// Everything that may be named in a configuration now: built-in parts and those registered by the
/// application.
OCTAVO_API Catalog catalog();

struct StepReport {
  std::int64_t step = 0;   ///< steps done
  std::int64_t epoch = 0;  ///< epoch of the step's first batch
  double loss = 0;         ///< mean over the step's samples
  double learning_rate = 0;
  double gradient_norm = 0;  ///< before clipping
  double seconds = 0;
  std::int64_t samples = 0;
};

struct EvalReport {
  std::int64_t step = 0;
  double loss = 0;
  double metric = 0;  ///< a fraction
  std::string metric_name;
  std::int64_t samples = 0;
  double seconds = 0;
};

/// Share of multiply-accumulates of each product that ran in integers, counted from the kernels that ran.
struct Int8MacShare {
  double forward = 0, grad_input = 0, grad_weight = 0;
};

/// Builds model, data, optimizer and precision controller of a configuration, and trains step by step.
/// Errors: Errc::config, Errc::data when built; Errc::numeric from step() before any weight changes.
class OCTAVO_API Trainer {
 public:
  explicit Trainer(const Config& config);
  ~Trainer();

  StepReport step();
  EvalReport evaluate();
  std::int64_t steps_done() const;
  std::int64_t total_steps() const;
  std::int64_t steps_per_epoch() const;

  std::string describe() const;        ///< table of layers: shape, parameters, MACs
  std::string precision_plan() const;  ///< per layer and product: asked, granted, kernel, why
  Int8MacShare int8_mac_share() const;
  /// Shares storage with the model on the CPU; on a device, as it is now. Errc::config when there is none.
  Tensor parameter(const std::string& name) const;
  /// The model alone, as safetensors.
  void save_model(const std::string& path) const;

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// Where a run begins: step 0, or the step of the checkpoint it was resumed from.
struct RunStart {
  std::string folder;
  std::int64_t step = 0, total_steps = 0;
  std::string precision;  ///< the resolved plan, one line per situation: asked, granted, kernel, layers, why
};

struct RunOptions {
  std::string folder;  ///< empty: output.dir of the configuration, else runs/<config name>-<time>
  /// resume: "last", "best", a step, or "auto" for the newest that is intact; damage goes to on_warning.
  std::string checkpoint = "last";
  std::int64_t stop_after = 0;  ///< stop after this step, with a checkpoint; 0: at the end
  std::function<bool()> stop;   ///< asked after every step: true ends the run with a checkpoint
  std::function<void(const RunStart&)> on_start;
  std::function<void(const StepReport&)> on_step;
  std::function<void(const EvalReport&)> on_evaluation;
  std::function<void(const std::string&)> on_warning;
};

struct RunResult {
  std::string folder;
  bool finished = false;  ///< false: stopped before the last step
  std::int64_t step = 0;
  EvalReport last, best;
};

/// Trains in a folder of its own, with checkpoints, events and summary.json (DESIGN: run folder).
OCTAVO_API RunResult train(const Config& config, const RunOptions& options = {});
/// Goes on with a run from a checkpoint, its last unless options say otherwise; the result is that of the
/// unbroken run, bit for bit.
OCTAVO_API RunResult resume(const std::string& folder, const RunOptions& options = {});

}  // namespace octavo
