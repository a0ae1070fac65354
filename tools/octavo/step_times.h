// Where the time of a training step goes: products by layer, the pointwise nodes around them, and what lies
// outside the nodes of the plan.
#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "train/engine.h"

namespace octavo::cli {

double mean(const std::vector<double>& values);
double median(std::vector<double> values);

/// A sum of seconds within each step.
struct StepSeries {
  double now = 0;
  std::vector<double> seconds;
  void end_step() {
    seconds.push_back(now);
    now = 0;
  }
  double ms() const { return 1000 * median(seconds); }
  double mean_ms() const { return 1000 * mean(seconds); }
};

/// One product of a layer, its bias gradient, or the nodes around it that are no products: the forward ones
/// that follow it, the backward ones that lead to it.
struct StepRow {
  std::string layer, pass;  // "forward", "grad_weight", "pointwise backward", ...
  int order = 0;            // in the table
  std::string kernel;       // of a product
  bool integer = false;
  double operations = 0;       // a multiply-add counts 2
  double int8_operations = 0;  // those of all pairs of planes
  std::int64_t bytes = 0;      // what its nodes read and write, each value once
  StepSeries time;
};

struct StepNode {
  std::string name, op, kernel;
  double operations = 0;
  std::int64_t bytes = 0;
  StepSeries time;
  std::array<int, 3> product_rows{-1, -1, -1};
  int row = -1;  // takes the node's time without its products; -1: none does
};

/// Seconds by step of what no node spent, by name: loader, weights, update, controller.
using OutsideTimes = std::array<std::pair<const char*, StepSeries>, 4>;

class StepTimes {
 public:
  explicit StepTimes(Engine& engine);

  /// Runs training steps and times them; answers their milliseconds. Samples from before a change of the
  /// plan's nodes are dropped from the others.
  std::vector<double> run(int steps);

  const std::vector<StepRow>& rows() const { return rows_; }
  const std::vector<StepNode>& nodes() const { return nodes_; }
  const OutsideTimes& outside() const { return outside_; }
  const std::vector<double>& step_ms() const { return step_ms_; }
  double nodes_ms() const;  // mean of a step

 private:
  void describe(const Plan& plan);
  void describe_products(const Plan& plan, std::size_t index);
  int pointwise_row(const Graph& graph, std::size_t index);
  void describe_pointwise(const Plan& plan, std::size_t index);
  bool still_describes(const Plan& plan) const;
  int row(const std::string& layer, const char* pass, int order);
  void end_step(double seconds, const OutsideSeconds& before);

  Engine& engine_;
  std::vector<StepRow> rows_;
  std::vector<StepNode> nodes_;
  OutsideTimes outside_{{{"loader", {}}, {"weights", {}}, {"update", {}}, {"controller", {}}}};
  std::vector<double> step_ms_;
};

}  // namespace octavo::cli
