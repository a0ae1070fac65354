// What nodes read and write; phases; shape inference.
#include "graph/graph.h"

#include <algorithm>
#include <map>
#include <set>

#include "config/problems.h"
#include "core/check.h"

namespace octavo {
namespace {

void append(std::vector<ValueId>& list, const std::vector<ValueId>& values) {
  for (ValueId id : values)
    if (id != no_value) list.push_back(id);
}

// The shared core of a node and of a chain member.
void append_reads(const Node& node, std::vector<ValueId>& list) {
  append(list, node.inputs);
  if (node.pass == Pass::backward) {
    append(list, node.outputs);
    append(list, node.saved);
    append(list, node.grad_outputs);
  }
  for (const ProductPlan& product : node.products)
    if (product.used && product.integer) append(list, {product.a, product.b});
  if (node.accumulate) append(list, {node.grad_inputs[0]});
}

int find_parameter(Graph& graph, const Node& node, const ParameterSpec& spec) {
  const std::string name = node.parameter_group + "." + spec.name;
  for (std::size_t i = 0; i < graph.parameters.size(); ++i) {
    const Parameter& known = graph.parameters[i];
    if (known.name != name) continue;
    require(known.spec.shape == spec.shape, Errc::config, label(node), "needs parameter '", name,
            "' of shape ", spec.shape.str(), ", but it has shape ", known.spec.shape.str());
    require(known.frozen == node.frozen, Errc::config, label(node), "shares parameter '", name,
            "' with a node that is ", known.frozen ? "frozen" : "not frozen",
            "; freeze all nodes that share it, or none");
    return static_cast<int>(i);
  }
  graph.parameters.push_back({name, spec, node.frozen});
  return static_cast<int>(graph.parameters.size()) - 1;
}

int find_state(Graph& graph, const Node& node, const StateSpec& spec) {
  const std::string name = node.name + "." + spec.name;
  for (std::size_t i = 0; i < graph.states.size(); ++i)
    if (graph.states[i].name == name) return static_cast<int>(i);
  graph.states.push_back({name, spec});
  return static_cast<int>(graph.states.size()) - 1;
}

void infer_node(Graph& graph, Node& node) {
  auto types = std::make_shared<Signature>();
  types->attributes = node.attributes.get();
  types->phase = graph.phase;
  for (ValueId id : node.inputs) types->inputs.push_back(graph.value(id).type);
  types->outputs = node.op->infer(*types);
  require(types->outputs.size() == node.outputs.size(), Errc::internal, label(node), "infers ",
          types->outputs.size(), " outputs, the model names ", node.outputs.size());
  for (std::size_t i = 0; i < node.outputs.size(); ++i) {
    Value& output = graph.value(node.outputs[i]);
    output.type = types->outputs[i];
    output.type.bytes();  // refuses sizes that overflow
    if (node.op->is_reshape) output.alias = node.inputs[0];
  }
  node.parameters.clear();
  node.states.clear();
  if (node.op->parameters)
    for (const ParameterSpec& spec : node.op->parameters(*types)) {
      node.parameters.push_back(find_parameter(graph, node, spec));
      types->parameters.push_back({DType::f32, spec.shape});
      types->parameters.back().bytes();  // refuses sizes that overflow
    }
  if (node.op->states)
    for (const StateSpec& spec : node.op->states(*types))
      node.states.push_back(find_state(graph, node, spec));
  node.signature = std::move(types);
}

}  // namespace

std::vector<ValueId> reads(const Node& node) {
  std::vector<ValueId> list;
  if (node.chain.empty()) {
    append_reads(node, list);
    return list;
  }
  std::set<ValueId> internal;
  for (const Node& member : node.chain) {
    std::vector<ValueId> own;
    append_reads(member, own);
    for (ValueId id : own)
      if (!internal.contains(id)) list.push_back(id);
    for (ValueId id : writes(member)) internal.insert(id);
  }
  append(list, node.keeps);
  return list;
}

std::vector<ValueId> writes(const Node& node) {
  std::vector<ValueId> list;
  append(list, node.views);
  if (!node.chain.empty()) {
    append(list, node.chain_store);
    for (const Node& member : node.chain)
      if (member.pass == Pass::forward) append(list, member.saved);
    return list;
  }
  if (node.pass == Pass::forward) {
    append(list, node.outputs);
    append(list, node.saved);
  } else {
    append(list, node.grad_inputs);
  }
  return list;
}

Geometry geometry(const Shape& shape) {
  if (shape.rank() == 4) return {shape[0], shape[1], shape[2], shape[3]};
  const std::int64_t channels = shape.rank() == 0 ? 1 : shape.back();
  return {1, 1, channels == 0 ? 0 : shape.elements() / channels, channels};
}

std::string label(const Node& node) {
  const std::string place = node.position.empty() ? "" : node.position + ": ";
  return concat(place, "[", node.op->type, " '", node.name, "'] ");
}

void keep_phase(Graph& graph, Phase phase) {
  graph.phase = phase;
  const When other = phase == Phase::train ? When::eval : When::train;
  std::set<ValueId> gone;
  std::erase_if(graph.nodes, [&](const Node& node) {
    const bool drop = node.when == other;
    if (drop) gone.insert(node.outputs.begin(), node.outputs.end());
    return drop;
  });
  std::erase_if(graph.losses, [&](const Loss& loss) { return gone.contains(loss.value); });
  std::erase_if(graph.outputs, [&](const Output& output) { return gone.contains(output.value); });
  for (const Node& node : graph.nodes)
    for (ValueId id : node.inputs)
      require(!gone.contains(id), Errc::config, label(node), "reads '", graph.value(id).name,
              "', which exists only in ", phase == Phase::train ? "evaluation" : "training",
              "; give this node the same `when`");
}

void bind_types(Graph& graph, const BatchTypes& inputs) {
  for (ValueId id : graph.inputs) {
    Value& value = graph.value(id);
    const auto found = inputs.find(value.name);
    require(found != inputs.end(), Errc::config, "the model reads input '", value.name,
            "', which the data set does not have");
    value.type = found->second;
  }
}

void infer_types(Graph& graph) {
  Problems problems;
  infer_types(graph, problems);
  problems.throw_if_any();
}

// Nodes behind one that failed are left out: their errors would only repeat its own.
void infer_types(Graph& graph, Problems& problems) {
  std::set<ValueId> unknown;
  for (std::size_t id = 0; id < graph.values.size(); ++id) unknown.insert(static_cast<ValueId>(id));
  for (ValueId id : graph.inputs) unknown.erase(id);
  for (Node& node : graph.nodes) {
    const bool known = std::none_of(node.inputs.begin(), node.inputs.end(),
                                    [&](ValueId id) { return unknown.contains(id); });
    try {
      if (known) infer_node(graph, node);
      if (known)
        for (ValueId id : node.outputs) unknown.erase(id);
    } catch (const Error& error) {
      if (error.code() != Errc::config) throw;
      const std::string text = error.what(), place = label(node);
      problems.add(Error(Errc::config, text.starts_with(place) ? text : place + text));
    }
  }
}

void drop_reshapes(Graph& graph) {
  std::vector<Node> kept;
  std::size_t first_backward = 0;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    if (i == graph.first_backward) first_backward = kept.size();
    if (!graph.nodes[i].op->is_reshape) kept.push_back(std::move(graph.nodes[i]));
  }
  if (graph.first_backward >= graph.nodes.size()) first_backward = kept.size();
  graph.nodes = std::move(kept);
  graph.first_backward = first_backward;
}

void mark_first_gradients(Graph& graph) {
  std::set<int> seen;
  const auto mark = [&](Node& node) {
    if (node.pass != Pass::backward) return;
    node.first_gradient.clear();
    for (int parameter : node.parameters) node.first_gradient.push_back(seen.insert(parameter).second);
  };
  for (Node& node : graph.nodes) {
    mark(node);
    for (Node& member : node.chain) mark(member);
  }
}

}  // namespace octavo
