#include "step_times.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <set>

namespace octavo::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::array product_passes = {"forward", "grad_input", "grad_weight"};
enum Order {
  forward,
  pointwise,
  forward_again,
  pointwise_again,
  grad_input,
  grad_weight,
  bias,
  pointwise_backward
};
constexpr std::array product_orders = {forward, grad_input, grad_weight};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::int64_t bytes_of(const Graph& graph, const std::vector<ValueId>& ids) {
  std::set<ValueId> counted;
  std::int64_t bytes = 0;
  for (ValueId id : ids)
    if (id != no_value && counted.insert(graph.root(id)).second) bytes += value_bytes(graph.value(id));
  return bytes;
}

std::int64_t node_bytes(const Graph& graph, const Node& node) {
  return bytes_of(graph, reads(node)) + bytes_of(graph, writes(node));
}

// Operands as the plan stores them, packed weights, and the result; read as well where it is added to.
std::int64_t product_bytes(const Plan& plan, std::size_t index, std::size_t p) {
  const Graph& graph = plan.graph;
  const Node& node = graph.nodes[index];
  const ProductPlan& product = node.products[p];
  const kernels::ConvShape& s = product.shape;
  const Tensor& packed = plan.run_of(index).products[p].packed;
  const std::int64_t plain = 4 * s.k * s.r * s.s * (s.c / s.groups);
  const std::int64_t weights = packed ? packed.bytes() : plain;
  const auto data = [&](ValueId in_float) { return product.integer ? product.a : in_float; };
  switch (static_cast<LayerProduct>(p)) {
    case LayerProduct::forward:
      return bytes_of(graph, {data(node.inputs[0])}) + weights + bytes_of(graph, {node.outputs[0]});
    case LayerProduct::grad_input:
      return bytes_of(graph, {data(node.grad_outputs[0])}) + weights +
             bytes_of(graph, {node.grad_inputs[0]}) * (node.accumulate ? 2 : 1);
    case LayerProduct::grad_weight:
      return bytes_of(graph, {data(node.inputs[0])}) +
             bytes_of(graph, {product.integer ? product.b : node.grad_outputs[0]}) + plain;
  }
  return 0;
}

std::string kernels_of(const Node& node) {
  std::string text;
  for (const ProductPlan& product : node.products)
    if (product.used) text += (text.empty() ? "" : ", ") + product.kernel;
  return text;
}

std::string layer_name(const Node& node) { return node.name.substr(0, node.name.find(':')); }

// Forward: the last layer that the node reads from, else the last before it. Backward: the next.
std::string layer_of(const Graph& graph, std::size_t index) {
  const auto& nodes = graph.nodes;
  const std::vector<ValueId> read = reads(nodes[index]);
  std::string before;
  for (std::size_t i = index; i-- > 0 && index < graph.first_backward;) {
    if (!nodes[i].op->product) continue;
    if (before.empty()) before = layer_name(nodes[i]);
    const bool from = std::any_of(read.begin(), read.end(), [&](ValueId id) {
      return graph.root(id) == graph.root(nodes[i].outputs[0]);
    });
    if (from) return layer_name(nodes[i]);
  }
  for (std::size_t i = index; i < nodes.size() && before.empty(); ++i)
    if (nodes[i].op->product) before = layer_name(nodes[i]);
  return before;
}

}  // namespace

double mean(const std::vector<double>& values) {
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

StepTimes::StepTimes(Engine& engine) : engine_(engine) { describe(engine.training_plan()); }

int StepTimes::row(const std::string& layer, const char* pass, int order) {
  for (std::size_t i = 0; i < rows_.size(); ++i)
    if (rows_[i].layer == layer && rows_[i].pass == pass) return static_cast<int>(i);
  StepRow row;
  row.layer = layer;
  row.pass = pass;
  row.order = order;
  rows_.push_back(std::move(row));
  return static_cast<int>(rows_.size()) - 1;
}

void StepTimes::describe_products(const Plan& plan, std::size_t index) {
  const Node& node = plan.graph.nodes[index];
  for (std::size_t p = 0; p < node.products.size(); ++p) {
    const ProductPlan& product = node.products[p];
    if (!product.used) continue;
    const int at = node.repeated ? row(layer_name(node), "forward again", forward_again)
                                 : row(layer_name(node), product_passes[p], product_orders[p]);
    StepRow& into = rows_[static_cast<std::size_t>(at)];
    into.kernel = product.kernel;
    into.integer = product.integer;
    into.operations = 2.0 * static_cast<double>(product.shape.macs());
    into.int8_operations = product.integer ? into.operations * product.a_planes * product.b_planes : 0;
    into.bytes += product_bytes(plan, index, p);
    nodes_[index].operations += into.operations;
    nodes_[index].product_rows[p] = at;
  }
  if (node.pass == Pass::backward && node.grad_parameters.size() > 1 && node.grad_parameters[1]) {
    const int at = row(layer_name(node), "bias", bias);
    rows_[static_cast<std::size_t>(at)].bytes += bytes_of(plan.graph, {node.grad_outputs[0]});
    nodes_[index].row = at;
  }
}

int StepTimes::pointwise_row(const Graph& graph, std::size_t index) {
  if (const Node& node = graph.nodes[index]; node.repeated)
    return row(layer_of(graph, static_cast<std::size_t>(node.first_run)), "pointwise again", pointwise_again);
  const bool backward = index >= graph.first_backward;
  return row(layer_of(graph, index), backward ? "pointwise backward" : "pointwise",
             backward ? pointwise_backward : pointwise);
}

void StepTimes::describe_pointwise(const Plan& plan, std::size_t index) {
  const int at = pointwise_row(plan.graph, index);
  rows_[static_cast<std::size_t>(at)].bytes += nodes_[index].bytes;
  nodes_[index].row = at;
}

void StepTimes::describe(const Plan& plan) {
  rows_.clear();
  nodes_.clear();
  step_ms_.clear();
  for (auto& [name, series] : outside_) series = {};
  const Graph& graph = plan.graph;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    StepNode described;
    described.name = node.name;
    described.op = node.op->type;
    described.kernel = kernels_of(node);
    described.bytes = node_bytes(graph, node);
    nodes_.push_back(std::move(described));
    if (node.op->product)
      describe_products(plan, i);
    else
      describe_pointwise(plan, i);
  }
  const std::int64_t passes = engine_.program().runtime().micro_steps;
  for (StepRow& row : rows_) {
    row.operations *= static_cast<double>(passes);
    row.int8_operations *= static_cast<double>(passes);
    row.bytes *= passes;
  }
  for (StepNode& node : nodes_) {
    node.operations *= static_cast<double>(passes);
    node.bytes *= passes;
  }
}

bool StepTimes::still_describes(const Plan& plan) const {
  return std::equal(nodes_.begin(), nodes_.end(), plan.graph.nodes.begin(), plan.graph.nodes.end(),
                    [](const StepNode& mine, const Node& node) {
                      return mine.name == node.name && mine.kernel == kernels_of(node);
                    });
}

std::vector<double> StepTimes::run(int steps) {
  Program& program = engine_.program();
  Clock::time_point before = Clock::now();
  double in_products = 0;
  std::vector<double> milliseconds;
  const auto node_of = [&](const Plan& plan, const Node& node) -> StepNode& {
    return nodes_[static_cast<std::size_t>(&node - plan.graph.nodes.data())];
  };
  program.before_pass = [&] { before = Clock::now(); };
  program.after_product = [&](const Plan& plan, const Node& node, LayerProduct which, double seconds) {
    const int row = node_of(plan, node).product_rows[static_cast<std::size_t>(which)];
    rows_[static_cast<std::size_t>(row)].time.now += seconds;
    in_products += seconds;
  };
  program.after_node = [&](const Plan& plan, const Node& node) {
    const double seconds = seconds_since(before);
    StepNode& timed = node_of(plan, node);
    timed.time.now += seconds;
    if (timed.row >= 0) rows_[static_cast<std::size_t>(timed.row)].time.now += seconds - in_products;
    in_products = 0;
    before = Clock::now();
  };
  for (int i = 0; i < steps; ++i) {
    if (const Plan& plan = engine_.training_plan(); !still_describes(plan)) describe(plan);
    const OutsideSeconds outside = program.runtime().outside;
    const double seconds = engine_.step().seconds;
    end_step(seconds, outside);
    milliseconds.push_back(1000 * seconds);
  }
  program.before_pass = {};
  program.after_product = {};
  program.after_node = {};
  return milliseconds;
}

void StepTimes::end_step(double seconds, const OutsideSeconds& before) {
  const OutsideSeconds& after = engine_.program().runtime().outside;
  const std::array spent = {after.loader - before.loader, after.weights - before.weights,
                            after.update - before.update, after.controller - before.controller};
  for (std::size_t i = 0; i < outside_.size(); ++i) {
    outside_[i].second.now = spent[i];
    outside_[i].second.end_step();
  }
  for (StepNode& node : nodes_) node.time.end_step();
  for (StepRow& row : rows_) row.time.end_step();
  step_ms_.push_back(1000 * seconds);
}

double StepTimes::nodes_ms() const {
  double sum = 0;
  for (const StepNode& node : nodes_) sum += node.time.mean_ms();
  return sum;
}

}  // namespace octavo::cli
