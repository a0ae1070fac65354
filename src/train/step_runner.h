// What runs the steps of a program: the CPU, or a device that holds parameters and optimizer state.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "data/loader.h"
#include "exec/program.h"
#include "optim/optimizer.h"

namespace octavo {

/// One training step: its batches, one for each micro-step, and the rates of its update.
struct StepOrder {
  std::function<const Batch&()> next_batch;
  std::function<const Batch*()> peek_batch;  ///< the one after it, or null
  double learning_rate = 0;
  double clip_norm = 0;                         ///< largest gradient norm; 0: any
  std::function<float(int layer)> rate_factor;  ///< of a layer's weights; -1: of all else
  /// Formats and ranges of the next step. A runner may call it once, when the step has been measured, cannot
  /// fail any more and has its rates: plans that were made for other widths are gone then.
  std::function<void()> decide;
};

struct StepResult {
  double loss = 0;           ///< mean over the micro-steps
  double gradient_norm = 0;  ///< before clipping
};

class StepRunner {
 public:
  virtual ~StepRunner() = default;
  virtual std::string device() const = 0;       ///< "cpu", "cuda"
  virtual std::string device_name() const = 0;  ///< "NVIDIA H200"
  /// Most memory held there at once; 0 on the CPU, whose memory is that of the process.
  virtual std::int64_t device_peak_bytes() const { return 0; }

  /// Forward, backward and update. Errc::numeric, weights unchanged, when a loss or gradient is not finite.
  virtual StepResult train(const StepOrder& order) = 0;
  /// Forward alone: the loss of one batch, whose outputs Program then has.
  virtual double evaluate(Plan& plan, const Batch& batch) = 0;

  /// Makes parameters, states and optimizer state of the program those of the device, and the other way.
  virtual void fetch() {}
  virtual void store() {}
};

struct StepRunnerParts {
  const Config& config;
  Program& program;
  Optimizer& optimizer;
};

/// The runner that `train.device` names. Errc::resource when this build or machine has none.
std::unique_ptr<StepRunner> make_step_runner(const StepRunnerParts& parts);

using StepRunnerFactory = std::unique_ptr<StepRunner> (*)(const StepRunnerParts&);
/// Makes a device known, in place of the one that was. Its batches have raw images (LoaderOptions).
void register_step_runner(const std::string& device, StepRunnerFactory factory);

/// Names and types of a batch, as Program::plan wants them: raw images as what they become.
BatchTypes batch_types(const Batch& batch);
BatchPointers batch_pointers(const Batch& batch);

/// No value in float that the node writes is Inf or NaN.
bool writes_finite(const Program& program, const Plan& plan, const Node& node);

/// Errc::numeric with what to do.
[[noreturn]] void refuse_loss(std::int64_t step, double loss, const std::string& first_bad_node);
[[noreturn]] void refuse_gradients(std::int64_t step, double norm,
                                   const std::vector<ParameterData>& parameters);

}  // namespace octavo
