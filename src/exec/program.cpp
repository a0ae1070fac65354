#include "exec/program.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "core/check.h"
#include "exec/context.h"
#include "exec/fits.h"
#include "exec/weight_transform.h"
#include "graph/recompute.h"

namespace octavo {
namespace {

// Box-Muller on counter-based uniforms; double precision, so that all machines agree.
void fill_normal(std::span<float> values, double deviation, kernels::RandomKey key) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto counter = static_cast<std::uint32_t>(2 * i);
    const double u = 1.0 - kernels::random_uniform(key, counter),
                 v = kernels::random_uniform(key, counter + 1);
    values[i] =
        static_cast<float>(deviation * std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v));
  }
}

void fill(std::span<float> values, const Initializer& init, kernels::RandomKey key) {
  switch (init.kind) {
    case Initializer::Kind::constant:
      for (float& value : values) value = static_cast<float>(init.value);
      return;
    case Initializer::Kind::kaiming:
      return fill_normal(values, std::sqrt(2.0 / static_cast<double>(init.fan_in)), key);
    case Initializer::Kind::xavier: {
      const double bound = std::sqrt(6.0 / static_cast<double>(init.fan_in + init.fan_out));
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = static_cast<float>(
            bound * (2.0 * kernels::random_uniform(key, static_cast<std::uint32_t>(i)) - 1.0));
      return;
    }
  }
}

}  // namespace

Program::Program(Graph graph, const BatchTypes& sample, Runtime& runtime, DispatchLog log)
    : graph_(std::move(graph)), runtime_(runtime), log_(std::move(log)) {
  bind_types(graph_, sample);
  infer_types(graph_);
  require_sizes_fit(graph_);
  initialize();
}

void Program::initialize() {
  for (const Parameter& parameter : graph_.parameters) {
    ParameterData data{parameter.name, parameter.frozen, parameter.spec.is_norm_or_bias};
    data.value = Tensor::empty(parameter.spec.shape);
    if (!parameter.frozen) data.gradient = Tensor::zeros(parameter.spec.shape);
    fill(data.value.as<float>(), parameter.spec.init,
         kernels::random_key(runtime_.seed, 0, stream_of(parameter.name)));
    parameters.push_back(std::move(data));
  }
  for (const State& state : graph_.states) {
    states.push_back({state.name, Tensor::empty(state.spec.shape)});
    for (float& value : states.back().value.as<float>()) value = state.spec.value;
  }
  std::map<std::string, bool> seen;
  for (Node& node : graph_.nodes) {
    node.stream = stream_of(node.name);
    if (!node.op->product) continue;
    const ProductShape shape = node.op->product(*node.signature);
    node.layer = static_cast<int>(layers.size());
    layers.push_back({{node.name, node.op->type, !seen[node.op->type],
                       shape.groups > 1 && shape.groups == shape.c && shape.groups == shape.k}});
    seen[node.op->type] = true;
    parameters[static_cast<std::size_t>(node.parameters[0])].layer = node.layer;
  }
}

Graph Program::instantiate(const BatchTypes& inputs, Phase phase) const {
  Graph graph = graph_;
  keep_phase(graph, phase);
  bind_types(graph, inputs);
  infer_types(graph);
  require_sizes_fit(graph);
  if (kept_outputs)
    std::erase_if(graph.outputs, [&](const Output& output) { return !kept_outputs->contains(output.name); });
  graph.first_backward = graph.nodes.size();
  if (phase == Phase::train) append_backward(graph);
  drop_reshapes(graph);
  return graph;
}

std::int64_t Program::parameter_bytes() const {
  std::int64_t bytes = 0;
  for (const ParameterData& data : parameters)
    bytes += data.value.bytes() + (data.frozen ? 0 : data.gradient.bytes());
  return bytes;
}

Plan& Program::plan(const BatchTypes& inputs, Phase phase) {
  for (const KnownPlan& known : plans_)
    if (known.phase == phase && known.inputs == inputs) return *known.plan;
  auto made = std::make_unique<Plan>();
  made->graph = instantiate(inputs, phase);
  quantize(made->graph, layers, slots, kernel_choice, log_);
  fuse(made->graph, fusion);
  mark_first_gradients(made->graph);
  if (bf16_edges) narrow_edges(made->graph);
  recompute(made->graph, recomputed);
  place_values(*made);
  if (value_memory != nullptr) {
    made->runs.resize(made->graph.nodes.size());
    value_memory->place(*made);
    plans_.push_back({inputs, phase, std::move(made)});
    return *plans_.back().plan;
  }
  require_arena_fits(*made, parameter_bytes());
  make_kernels(*made);
  for (const WeightReaders& of : made->weight_readers)
    for (const WeightReaders::Copy& copy : of.copies)
      if (copy.gradient >= 0 && of.groups == 1)
        parameters[static_cast<std::size_t>(of.parameter)].gradient_slot = copy.gradient;
  if (!arena_ || arena_.bytes() < made->arena_bytes) arena_ = Tensor::empty({made->arena_bytes}, DType::u8);
  plans_.push_back({inputs, phase, std::move(made)});
  return *plans_.back().plan;
}

void* Program::address(const Plan& plan, ValueId id) const {
  const auto i = static_cast<std::size_t>(plan.graph.root(id));
  if (plan.external[i] != nullptr) return const_cast<void*>(plan.external[i]);
  require(plan.offsets[i] >= 0, Errc::internal, "value '", plan.graph.value(id).name, "' has no storage");
  void* const arena = value_memory != nullptr ? value_memory->arena() : const_cast<void*>(arena_.data());
  return static_cast<std::byte*>(arena) + plan.offsets[i];
}

const void* Program::value(const Plan& plan, ValueId id) const { return address(plan, id); }

void Program::read_value(const Plan& plan, ValueId id, void* to) const {
  const std::int64_t bytes = plan.graph.value(id).type.bytes();
  if (value_memory != nullptr)
    value_memory->read(to, value(plan, id), bytes);
  else
    std::memcpy(to, value(plan, id), static_cast<std::size_t>(bytes));
}

void Program::run(Plan& plan, std::size_t begin, std::size_t end) {
  if (before_pass) before_pass();
  for (std::size_t i = begin; i < end; ++i) {
    const Node& node = plan.graph.nodes[i];
    runtime_.memory.clear();
    NodeContext context(*this, plan, node, plan.run_of(i));
    if (node.pass == Pass::forward)
      node.op->forward(context);
    else
      node.op->backward(context);
    if (after_node) after_node(plan, node);
  }
}

void Program::forward(Plan& plan, const BatchPointers& inputs) {
  require(value_memory == nullptr, Errc::config,
          "train.device: this runs on the CPU alone; use train.device=cpu");
  for (ValueId id : plan.graph.inputs) {
    const auto found = inputs.find(plan.graph.value(id).name);
    require(found != inputs.end(), Errc::internal, "input '", plan.graph.value(id).name, "' is not bound");
    plan.external[static_cast<std::size_t>(id)] = found->second;
  }
  pack_weights(plan);
  run(plan, 0, plan.graph.first_backward);
}

void Program::backward(Plan& plan, float scale) {
  for (const Loss& loss : plan.graph.losses)
    if (loss.seed != no_value) *static_cast<float*>(address(plan, loss.seed)) = loss.weight * scale;
  run(plan, plan.graph.first_backward, plan.graph.nodes.size());
  trained_ = &plan;
  if (runtime_.micro_step + 1 == runtime_.micro_steps) squeeze_gradients();
}

bool Program::squeezes(int layer) const {
  const Layer& of = layers[static_cast<std::size_t>(layer)];
  return !of.kept_fp32 && of.formats.forward.integer && of.formats.forward.other.tanh;
}

std::vector<int> Program::squeezed_parameters() const {
  bool any = false;
  for (std::size_t i = 0; i < layers.size(); ++i) any |= squeezes(static_cast<int>(i));
  if (!any) return {};
  std::map<int, int> readers;  // first layer that reads a parameter
  for (const Node& node : graph_.nodes) {
    if (node.layer < 0 || node.pass != Pass::forward) continue;
    const int parameter = node.parameters[0];
    const auto first = readers.try_emplace(parameter, node.layer).first->second;
    require(squeezes(first) == squeezes(node.layer), Errc::config, "layers '",
            layers[static_cast<std::size_t>(first)].info.name, "' and '",
            layers[static_cast<std::size_t>(node.layer)].info.name,
            "' share weights that only one of them squeezes by tanh: keep both in fp32 or neither");
  }
  std::vector<int> squeezed;
  for (const auto& [parameter, layer] : readers)
    if (!parameters[static_cast<std::size_t>(parameter)].frozen && squeezes(layer))
      squeezed.push_back(parameter);
  return squeezed;
}

void Program::squeeze_gradients() {
  for (const int parameter : squeezed_parameters()) {
    ParameterData& data = parameters[static_cast<std::size_t>(parameter)];
    squeeze_gradient(data.value.as<float>().data(), data.value.elements(), data.gradient.as<float>().data());
    data.small_gradient = false;
  }
}

float Program::loss(const Plan& plan) const {
  float sum = 0;
  for (const Loss& loss : plan.graph.losses) {
    float value = 0;
    read_value(plan, loss.value, &value);
    sum += loss.weight * value;
  }
  return sum;
}

Tensor Program::output(const Plan& plan, const std::string& name) const {
  for (const Output& output : plan.graph.outputs) {
    if (output.name != name) continue;
    const TensorType& type = plan.graph.value(output.value).type;
    Tensor copy = Tensor::empty(type.shape, type.dtype);
    read_value(plan, output.value, copy.data());
    return copy;
  }
  const bool dropped = std::any_of(graph_.outputs.begin(), graph_.outputs.end(),
                                   [&](const Output& output) { return output.name == name; });
  fail(Errc::config, "the ", dropped ? "plan keeps" : "model has", " no output '", name, "'");
}

}  // namespace octavo
