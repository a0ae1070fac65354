// Which float edges are stored in bfloat16: those that integer products write, and chains and ops that take
// either type read. All else works on FP32 in memory.
#include <algorithm>
#include <set>

#include "graph/graph.h"
#include "graph/internal_ops.h"
#include "octavo/precision.h"

namespace octavo {
namespace {

/// Products of an application's own op stay FP32 in memory: its code may touch them.
bool is_integer(const Node& node, LayerProduct which) {
  const ProductPlan& product = node.products[static_cast<std::size_t>(which)];
  return node.op->takes_bf16 && product.used && product.integer;
}

/// A backward node that reads its gradient for the bias alone.
bool only_sums_gradient(const Node& node) {
  return node.op->takes_bf16 && node.op->product && node.pass == Pass::backward &&
         std::all_of(node.products.begin(), node.products.end(),
                     [](const ProductPlan& product) { return !product.used || product.integer; });
}

/// Pools: all floats in the same type. Product layers take each of theirs in its own.
bool has_one_type(const Node& node) { return node.op->takes_bf16 && !node.op->product; }

/// The float values that a node takes in either type.
std::set<ValueId> flexible(const Graph& graph, const Node& node) {
  std::set<ValueId> values;
  const auto add = [&](const std::vector<ValueId>& ids) {
    for (ValueId id : ids)
      if (id != no_value) values.insert(graph.root(id));
  };
  if (node.op == &quantize_op()) add(node.inputs);
  if (has_one_type(node))
    for (const auto& ids : {node.inputs, node.outputs, node.grad_outputs, node.grad_inputs}) add(ids);
  add(node.chain_store);
  for (const Node& member : node.chain) {
    add(member.inputs);
    add(member.grad_outputs);
  }
  if (is_integer(node, LayerProduct::forward)) add(node.outputs);
  if (is_integer(node, LayerProduct::grad_input)) add({node.grad_inputs[0]});
  if (only_sums_gradient(node)) add(node.grad_outputs);
  return values;
}

/// Floats of one op have one type; answers whether that fixes more of them.
bool tie_types(const Graph& graph, const Node& node, std::set<ValueId>& fixed) {
  const std::set<ValueId> values = flexible(graph, node);
  const auto is_fixed = [&](ValueId id) { return fixed.contains(id); };
  if (std::none_of(values.begin(), values.end(), is_fixed)) return false;
  const std::size_t before = fixed.size();
  fixed.insert(values.begin(), values.end());
  return fixed.size() > before;
}

}  // namespace

void narrow_edges(Graph& graph) {
  std::set<ValueId> fixed;
  const auto fix = [&](ValueId id) { fixed.insert(graph.root(id)); };
  for (const Output& output : graph.outputs) fix(output.value);
  for (const Loss& loss : graph.losses) {
    fix(loss.value);
    if (loss.seed != no_value) fix(loss.seed);
  }
  for (const Node& node : graph.nodes) {
    const std::set<ValueId> free = flexible(graph, node);
    for (const std::vector<ValueId>& ids : {reads(node), writes(node)})
      for (ValueId id : ids)
        if (!free.contains(graph.root(id))) fix(id);
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (const Node& node : graph.nodes)
      if (has_one_type(node)) changed |= tie_types(graph, node, fixed);
  }
  for (std::size_t i = 0; i < graph.values.size(); ++i) {
    Value& value = graph.values[i];
    const bool edge = value.kind == ValueKind::activation || value.kind == ValueKind::gradient;
    if (edge && value.type.dtype == DType::f32 && !fixed.contains(graph.root(static_cast<ValueId>(i))))
      value.type.dtype = DType::bf16;
  }
}

}  // namespace octavo
