#include "graph/build.h"

#include <map>
#include <set>

#include "config/problems.h"
#include "core/check.h"
#include "graph/op_table.h"

namespace octavo {
namespace {

class Builder {
 public:
  Builder(const ModelDescription& model, Problems& problems) : model_(model), problems_(problems) {}

  Graph run() {
    for (const ModelInput& input : model_.inputs) {
      names_[input.name] = graph_.add_value({input.name, ValueKind::input});
      graph_.inputs.push_back(names_[input.name]);
    }
    for (const ModelNode& node : model_.nodes) {
      try {
        add_node(node);
      } catch (const Error& error) {
        problems_.add(error);
        declare_outputs(node, 1);
        failed_.insert(node.path);
      }
    }
    for (const ModelOutput& output : model_.outputs)
      noted([&] { graph_.outputs.push_back({output.name, find(output.value)}); });
    for (const ModelLoss& loss : model_.losses)
      noted([&] {
        graph_.losses.push_back({loss.name, find(loss.value), no_value, static_cast<float>(loss.weight)});
      });
    return std::move(graph_);
  }

 private:
  template <class Work>
  void noted(const Work& work) {
    try {
      work();
    } catch (const Error& error) {
      problems_.add(error);
    }
  }

  ValueId find(const ValueRef& ref) const {
    const auto found = names_.find(ref.name);
    if (found != names_.end()) return found->second;
    const std::string node = ref.name.substr(0, ref.name.find(':'));
    if (failed_.contains(node)) return names_.at(node);  // its outputs are not known
    std::vector<std::string> known;
    for (const auto& [name, id] : names_) known.push_back(name);
    fail_at(ref.position, concat("unknown value '", ref.name, "'", suggestion(ref.name, known)));
  }

  // The first output carries the node's name, the others "node:name".
  std::vector<ValueId> declare_outputs(const ModelNode& node, std::size_t count) {
    std::vector<ValueId> outputs;
    for (std::size_t i = 0; i < std::max(count, node.outputs.size()); ++i) {
      const std::string own = i < node.outputs.size() ? node.outputs[i] : std::to_string(i);
      const ValueId id =
          graph_.add_value({i == 0 ? node.path : node.path + ":" + own, ValueKind::activation});
      if (i == 0) names_[node.path] = id;
      names_[node.path + ":" + own] = id;
      outputs.push_back(id);
    }
    return outputs;
  }

  const OpDef& op_of(const ModelNode& node) const {
    try {
      return find_op(node.op);
    } catch (const Error& error) {
      fail_at(node.position, error.what());
    }
  }

  void add_node(const ModelNode& from) {
    Node node;
    node.name = from.path;
    node.op = &op_of(from);
    node.position = from.position.str();
    node.when = from.when;
    node.frozen = from.frozen;
    node.parameter_group = from.share.empty() ? from.path : from.share;
    const auto count = static_cast<int>(from.inputs.size());
    require(count >= node.op->min_inputs && count <= node.op->max_inputs, Errc::config, label(node), "takes ",
            node.op->min_inputs, node.op->max_inputs > node.op->min_inputs ? " or more" : "", " inputs, got ",
            count);
    const AttrReader reader = attributes_of(from);
    AttrReader own = reader;
    node.attributes = node.op->parse ? node.op->parse(own) : std::make_shared<const Attributes>();
    reader.finish();
    for (const ValueRef& input : from.inputs) node.inputs.push_back(find(input));
    node.outputs = declare_outputs(from, 1);
    graph_.nodes.push_back(std::move(node));
  }

  const ModelDescription& model_;
  Graph graph_;
  std::map<std::string, ValueId> names_;
  std::set<std::string> failed_;
  Problems& problems_;
};

}  // namespace

Graph build_graph(const ModelDescription& model, Problems& problems) {
  return Builder(model, problems).run();
}

Graph build_graph(const ModelDescription& model) {
  Problems problems;
  Graph graph = build_graph(model, problems);
  problems.throw_if_any();
  return graph;
}

}  // namespace octavo
