#include "tasks/task.h"

#include <algorithm>

#include "tasks/metrics.h"

namespace octavo {
namespace {

class Classification final : public Task {
 public:
  std::string metric_name() const override { return "accuracy"; }
  bool higher_is_better() const override { return true; }
  std::set<std::string> outputs() const override { return {"logits"}; }
  void reset() override { top1_.reset(); }
  void add(const Program& program, const Plan& plan, const Batch& batch) override {
    const Tensor logits = program.output(plan, "logits");
    top1_.add(logits.as<float>(), logits.shape().back(), batch["label"].as<std::int64_t>());
  }
  double metric() const override { return top1_.accuracy().value_or(0); }

 private:
  Top1Accumulator top1_;
};

class LossOnly final : public Task {
 public:
  std::string metric_name() const override { return "loss"; }
  bool higher_is_better() const override { return false; }
  std::set<std::string> outputs() const override { return {}; }
  void reset() override { mean_.reset(); }
  void add(const Program& program, const Plan& plan, const Batch& batch) override {
    mean_.add(program.loss(plan), batch.size());
  }
  double metric() const override { return mean_.mean().value_or(0); }

 private:
  MeanAccumulator mean_;
};

}  // namespace

std::unique_ptr<Task> make_task(const Program& program, const DatasetInfo& data) {
  const auto& outputs = program.graph().outputs;
  const bool logits =
      std::any_of(outputs.begin(), outputs.end(), [](const Output& o) { return o.name == "logits"; });
  const bool label =
      std::any_of(data.fields.begin(), data.fields.end(), [](const Field& f) { return f.name == "label"; });
  if (logits && label) return std::make_unique<Classification>();
  return std::make_unique<LossOnly>();
}

}  // namespace octavo
