// Appends the backward pass: one backward node per forward node that matters, in reverse order, and an `add`
// node wherever a value is used more than once.
#include <algorithm>
#include <map>

#include "core/check.h"
#include "graph/graph.h"
#include "graph/op_table.h"

namespace octavo {
namespace {

class Autodiff {
 public:
  explicit Autodiff(Graph& graph) : graph_(graph), depends_(graph.values.size(), false) {}

  void run() {
    mark_dependent();
    const std::vector<Node> forward = graph_.nodes;
    graph_.first_backward = forward.size();
    for (Loss& loss : graph_.losses) {
      require(depends_[static_cast<std::size_t>(loss.value)], Errc::config, "loss '", loss.name,
              "' depends on no trainable parameter");
      loss.seed = add_gradient(loss.value, graph_.value(loss.value).name + ":seed");
      terms_[loss.value].push_back(loss.seed);
    }
    for (std::size_t i = forward.size(); i-- > 0;) differentiate(graph_.nodes[i]);
  }

 private:
  bool trainable(const Node& node) const { return !node.parameters.empty() && !node.frozen; }
  bool depends(ValueId id) const { return depends_[static_cast<std::size_t>(id)]; }

  // A value needs a gradient when a trainable parameter acts on it.
  void mark_dependent() {
    for (const Node& node : graph_.nodes) {
      const bool any =
          std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId id) { return depends(id); });
      if (any || trainable(node))
        for (ValueId id : node.outputs) depends_[static_cast<std::size_t>(id)] = true;
    }
  }

  ValueId add_gradient(ValueId of, std::string name) {
    return graph_.add_value(
        {std::move(name), ValueKind::gradient, {DType::f32, graph_.value(of).type.shape}, no_value, of});
  }

  // The gradient of a forward value: the sum of the terms that its readers contributed.
  ValueId total(ValueId of) {
    auto found = terms_.find(of);
    if (found == terms_.end()) return no_value;
    const std::vector<ValueId>& terms = found->second;
    ValueId sum = terms[0];
    for (std::size_t i = 1; i < terms.size(); ++i) {
      Node node;
      node.name = concat(graph_.value(of).name, ":grad_sum", terms.size() > 2 ? std::to_string(i) : "");
      node.op = &find_op("add");
      node.inputs = {sum, terms[i]};
      sum = add_gradient(of, node.name);
      node.outputs = {sum};
      auto types = std::make_shared<Signature>();
      types->inputs = {graph_.value(sum).type, graph_.value(sum).type};
      types->outputs = {graph_.value(sum).type};
      node.signature = std::move(types);
      graph_.nodes.push_back(std::move(node));
    }
    return sum;
  }

  void differentiate(const Node& node) {
    const Node forward = node;  // a copy: nodes are appended while it is read
    std::vector<ValueId> grad_outputs;
    for (ValueId id : forward.outputs) grad_outputs.push_back(depends(id) ? total(id) : no_value);
    if (std::all_of(grad_outputs.begin(), grad_outputs.end(), [](ValueId id) { return id == no_value; }))
      return;
    if (forward.op->is_reshape || forward.op->passes_gradient) {
      for (ValueId input : forward.inputs)
        if (depends(input)) terms_[input].push_back(pass_on(grad_outputs[0], input));
      return;
    }
    require(forward.op->backward || forward.op->chain_backward, Errc::config, label(forward),
            "has no backward pass; freeze what is before it or mark it `when: eval`");
    append_node(forward, std::move(grad_outputs));
  }

  ValueId pass_on(ValueId gradient, ValueId input) {
    if (graph_.value(gradient).type.shape == graph_.value(input).type.shape) return gradient;
    const ValueId alias = add_gradient(input, graph_.value(input).name + ":grad");
    graph_.value(alias).alias = gradient;
    return alias;
  }

  void append_node(const Node& forward, std::vector<ValueId> grad_outputs) {
    const OpDef& op = *forward.op;
    Node node = forward;
    node.name += ":backward";
    node.pass = Pass::backward;
    node.grad_outputs = std::move(grad_outputs);
    for (ValueId input : forward.inputs) {
      ValueId gradient = no_value;
      if (depends(input) && graph_.value(input).type.dtype == DType::f32) {
        gradient = add_gradient(input, graph_.value(input).name + ":grad");
        terms_[input].push_back(gradient);
      }
      node.grad_inputs.push_back(gradient);
    }
    if (!op.needs.inputs) std::fill(node.inputs.begin(), node.inputs.end(), no_value);
    if (!op.needs.outputs) std::fill(node.outputs.begin(), node.outputs.end(), no_value);
    node.grad_parameters.assign(forward.parameters.size(), trainable(forward));
    if (op.saved) node.saved = save(forward);
    graph_.nodes.push_back(std::move(node));
  }

  std::vector<ValueId> save(const Node& forward) {
    std::vector<ValueId> saved;
    for (const TensorType& type : forward.op->saved(*forward.signature))
      saved.push_back(graph_.add_value({forward.name + ":saved", ValueKind::saved, type}));
    for (Node& node : graph_.nodes)
      if (node.pass == Pass::forward && node.name == forward.name) node.saved = saved;
    return saved;
  }

  Graph& graph_;
  std::vector<bool> depends_;
  std::map<ValueId, std::vector<ValueId>> terms_;
};

}  // namespace

void append_backward(Graph& graph) { Autodiff(graph).run(); }

}  // namespace octavo
