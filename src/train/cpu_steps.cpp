#include "train/cpu_steps.h"

#include <cmath>

#include "core/timed.h"
#include "optim/gradient_norm.h"
#include "optim/segment_update.h"

namespace octavo {
namespace {

class CpuSteps final : public StepRunner {
 public:
  explicit CpuSteps(const StepRunnerParts& parts)
      : program_(parts.program), runtime_(parts.program.runtime()), optimizer_(parts.optimizer) {}

  std::string device() const override { return "cpu"; }
  std::string device_name() const override { return "CPU"; }

  StepResult train(const StepOrder& order) override {
    StepResult result;
    for (runtime_.micro_step = 0; runtime_.micro_step < runtime_.micro_steps; ++runtime_.micro_step)
      result.loss += forward_backward(order.next_batch()) / static_cast<double>(runtime_.micro_steps);
    runtime_.micro_step = 0;
    const double scale = plan_update(order);
    order.decide();
    const Timed timed(runtime_.outside.update);
    update({order.learning_rate, scale, runtime_.seed, runtime_.step});
    result.gradient_norm = gradient_norm_.norm();
    return result;
  }

  double evaluate(Plan& plan, const Batch& batch) override {
    program_.forward(plan, batch_pointers(batch));
    return program_.loss(plan);
  }

 private:
  // One micro-step; returns its loss.
  double forward_backward(const Batch& batch) {
    Plan& plan = program_.plan(batch_types(batch), Phase::train);
    program_.forward(plan, batch_pointers(batch));
    const double loss = program_.loss(plan);
    if (!std::isfinite(loss)) refuse_loss(runtime_.step, loss, first_bad_node(plan, batch_pointers(batch)));
    program_.backward(plan, 1.0f / static_cast<float>(runtime_.micro_steps));
    return loss;
  }

  // Runs the forward pass once more and names the first node that writes Inf or NaN; the loss itself at the
  // latest.
  std::string first_bad_node(Plan& plan, const BatchPointers& inputs) {
    std::string name;
    program_.after_node = [&](const Plan& of, const Node& node) {
      if (name.empty() && !writes_finite(program_, of, node)) name = node.name;
    };
    try {
      program_.forward(plan, inputs);
    } catch (...) {  // an integer edge met it first and says so itself
      program_.after_node = {};
      throw;
    }
    program_.after_node = {};
    return name;
  }

  // Answers the factor of the gradients. Without clipping only those that might not be finite are read before
  // the update, which tells the squares of the others.
  double plan_update(const StepOrder& order) {
    const Timed timed(runtime_.outside.update);
    gradient_norm_.begin();
    first_chunk_.clear();
    for (const ParameterData& data : program_.parameters)
      first_chunk_.push_back(
          data.frozen ? 0 : gradient_norm_.add(data.gradient.as<float>(), tells_squares(order, data)));
    const double norm = gradient_norm_.known_norm(runtime_.parallel);
    if (!std::isfinite(norm)) refuse_gradients(runtime_.step, norm, program_.parameters);
    updates_.clear();
    for (std::size_t i = 0; i < program_.parameters.size(); ++i) {
      ParameterData& data = program_.parameters[i];
      updates_.push_back(
          {.value = data.value.as<float>().data(),
           .gradient = data.frozen ? nullptr : data.gradient.as<float>().data(),
           .rate_factor = order.rate_factor(data.layer),
           .maxima = &data.maxima,
           .squares = tells_squares(order, data) ? gradient_norm_.told(first_chunk_[i]) : nullptr});
    }
    return order.clip_norm > 0 ? clip_factor(norm, order.clip_norm) : 1;
  }

  // Weights whose ranges in the next step are known become its integers in the same pass.
  void update(const UpdateStep& step) {
    for (std::size_t i = 0; i < updates_.size(); ++i)
      updates_[i].row_factor = program_.factors_of_maxima(program_.parameters[i]);
    program_.weights_changed();
    optimizer_.begin_step(updates_, step, runtime_.parallel);
    for (std::size_t i = 0; i < updates_.size(); ++i) {
      ParameterUpdate& update = updates_[i];
      update.by_segments = program_.packs_ahead(i, SegmentUpdate::unit(update));
      if (!update.by_segments) continue;
      segments_.begin(optimizer_, i, update, kernels::most_weight_chunks);
      const auto write = [&](std::int64_t chunk, std::int64_t begin, std::int64_t end, std::int64_t ahead) {
        segments_.run(step, chunk, begin, end, ahead);
      };
      program_.update_and_pack(i, write);
      segments_.finish(runtime_.parallel);
    }
    optimizer_.update_all(updates_, step, runtime_.parallel);
  }

  static bool tells_squares(const StepOrder& order, const ParameterData& data) {
    return order.clip_norm <= 0 && !data.frozen && data.small_gradient &&
           Optimizer::tells_squares(data.value.shape());
  }

  Program& program_;
  Runtime& runtime_;
  Optimizer& optimizer_;
  GradientNorm gradient_norm_;
  std::vector<std::size_t> first_chunk_;  // of each parameter in it
  std::vector<ParameterUpdate> updates_;
  SegmentUpdate segments_;
};

}  // namespace

std::unique_ptr<StepRunner> make_cpu_steps(const StepRunnerParts& parts) {
  return std::make_unique<CpuSteps>(parts);
}

}  // namespace octavo
