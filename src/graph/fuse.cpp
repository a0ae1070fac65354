// Fusion: the last term of a gradient sum is added by the product that makes it, and runs of pointwise nodes
// become one chain node, with the quantize node behind them as its tail. A forward product whose chain begins
// with sums by channel is told so.
#include <algorithm>
#include <map>

#include "core/check.h"
#include "graph/graph.h"
#include "graph/internal_ops.h"
#include "octavo/precision.h"

namespace octavo {
namespace {

// Position of the writer and of all readers of each value (aliases resolved).
struct Uses {
  explicit Uses(const Graph& graph) {
    for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
      for (ValueId id : writes(graph.nodes[i])) writer[graph.root(id)] = i;
      for (ValueId id : reads(graph.nodes[i])) readers[graph.root(id)].push_back(i);
    }
    for (const Output& output : graph.outputs) external[graph.root(output.value)] = true;
    for (const Loss& loss : graph.losses) external[graph.root(loss.value)] = true;
  }
  std::map<ValueId, std::size_t> writer;
  std::map<ValueId, std::vector<std::size_t>> readers;
  std::map<ValueId, bool> external;
};

bool is_sum(const Node& node) {
  return node.op->passes_gradient && node.op->chain_forward && node.inputs.size() == 2;
}

// s = a + b, where b comes from a product that can add to what is there, after the last reader of a: the
// product must not overwrite what it still reads.
bool fold_one_sum(Graph& graph) {
  const Uses uses(graph);
  for (std::size_t s = graph.first_backward; s < graph.nodes.size(); ++s) {
    Node& sum = graph.nodes[s];
    if (!is_sum(sum)) continue;
    for (int which : {1, 0}) {
      const ValueId b = sum.inputs[static_cast<std::size_t>(which)],
                    a = sum.inputs[static_cast<std::size_t>(1 - which)];
      const auto writer = uses.writer.find(b);
      if (writer == uses.writer.end() || a == b || graph.root(b) != b) continue;
      Node& producer = graph.nodes[writer->second];
      if (!producer.op->adds_to_grad_input || producer.pass != Pass::backward || producer.accumulate ||
          producer.grad_inputs[0] != b || uses.readers.at(b).size() != 1)
        continue;
      const std::size_t p = writer->second;
      const auto a_writer = uses.writer.find(graph.root(a));
      const auto& a_readers = uses.readers.at(graph.root(a));
      const bool early =
          (a_writer == uses.writer.end() || a_writer->second < p) &&
          std::all_of(a_readers.begin(), a_readers.end(), [&](std::size_t r) { return r < p || r == s; });
      if (!early) continue;
      const ValueId result = sum.outputs[0];
      producer.grad_inputs[0] = result;
      producer.accumulate = true;
      graph.value(result).alias = a;
      graph.nodes.erase(graph.nodes.begin() + static_cast<std::ptrdiff_t>(s));
      return true;
    }
  }
  return false;
}

class ChainFuser {
 public:
  ChainFuser(Graph& graph, bool join)
      : graph_(graph), join_(join), uses_(graph), taken_(graph.nodes.size(), false) {}

  void run() {
    std::map<std::size_t, Node> groups;  // by position of the last member
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i)
      if (!taken_[i] && chainable(graph_.nodes[i])) collect(i, groups);
    std::vector<Node> nodes;
    std::size_t first_backward = graph_.nodes.size();
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (i == graph_.first_backward) first_backward = nodes.size();
      if (const auto group = groups.find(i); group != groups.end())
        nodes.push_back(std::move(group->second));
      else if (!taken_[i])
        nodes.push_back(std::move(graph_.nodes[i]));
    }
    graph_.first_backward = std::min(first_backward, nodes.size());
    graph_.nodes = std::move(nodes);
  }

 private:
  static bool chainable(const Node& node) {
    return node.pass == Pass::forward ? bool(node.op->chain_forward) : bool(node.op->chain_backward);
  }
  static ValueId chain_output(const Node& node) {
    return node.pass == Pass::forward ? node.outputs[0] : node.grad_inputs[0];
  }

  // Index of `id` among the values that may enter the member, or -1.
  static int entry(const Node& node, ValueId id) {
    if (node.pass == Pass::backward) return node.grad_outputs[0] == id ? 0 : -1;
    const std::size_t entries = node.op->passes_gradient ? node.inputs.size() : 1;
    for (std::size_t i = 0; i < entries; ++i)
      if (node.inputs[i] == id) return static_cast<int>(i);
    return -1;
  }

  // The next member: a chainable reader of `id` that runs before every other reader, and before `limit`,
  // where the first reader of a value that the chain stores on its way waits.
  std::size_t next_member(ValueId id, std::size_t last, std::size_t limit) const {
    const auto readers = uses_.readers.find(id);
    if (!join_ || id == no_value || graph_.root(id) != id || readers == uses_.readers.end()) return 0;
    for (std::size_t next : readers->second) {
      const Node& node = graph_.nodes[next];
      const bool same_pass = (next < graph_.first_backward) == (last < graph_.first_backward);
      if (next <= last || next >= limit || taken_[next] || !same_pass || !chainable(node) ||
          entry(node, id) < 0)
        continue;
      if (node.pass == Pass::forward && std::count(node.inputs.begin(), node.inputs.end(), id) != 1) continue;
      const bool others_later = std::all_of(readers->second.begin(), readers->second.end(),
                                            [&](std::size_t r) { return r == next || r > next; });
      if (others_later) return next;
    }
    return 0;
  }

  bool read_elsewhere(ValueId id, std::size_t except) const {
    if (const auto external = uses_.external.find(graph_.root(id)); external != uses_.external.end())
      return true;
    const auto readers = uses_.readers.find(graph_.root(id));
    if (readers == uses_.readers.end()) return false;
    return std::any_of(readers->second.begin(), readers->second.end(),
                       [&](std::size_t r) { return r != except; });
  }

  std::size_t first_other_reader(ValueId id, std::size_t except) const {
    std::size_t first = graph_.nodes.size();
    for (std::size_t r : uses_.readers.at(graph_.root(id)))
      if (r != except) first = std::min(first, r);
    return first;
  }

  void collect(std::size_t first, std::map<std::size_t, Node>& groups) {
    Node group;
    group.op = &chain_op();
    group.signature = graph_.nodes[first].signature;
    std::size_t last = first, limit = graph_.nodes.size();
    for (std::size_t member = first;;) {
      taken_[member] = true;
      last = member;
      group.chain.push_back(graph_.nodes[member]);
      group.name += (group.name.empty() ? "" : "+") + graph_.nodes[member].name;
      const ValueId out = chain_output(graph_.nodes[member]);
      const std::size_t next = next_member(out, member, limit);
      const bool stored = out != no_value && (next == 0 || read_elsewhere(out, next));
      group.chain_store.push_back(stored ? out : no_value);
      if (next == 0) break;
      if (stored) limit = std::min(limit, first_other_reader(out, next));
      rotate_entry(graph_.nodes[next], out);
      member = next;
    }
    last = absorb_quantize(group, last);
    groups.emplace(last, std::move(group));
  }

  // Sums commute: the chain's value enters as the first operand.
  static void rotate_entry(Node& node, ValueId id) {
    const int index = entry(node, id);
    if (index > 0) std::swap(node.inputs[0], node.inputs[static_cast<std::size_t>(index)]);
  }

  // The quantize node right behind the chain writes its views from the tiles of the chain.
  std::size_t absorb_quantize(Node& group, std::size_t last) {
    const ValueId out = group.chain_store.back();
    if (!join_ || out == no_value) return last;
    for (std::size_t reader : uses_.readers.count(graph_.root(out)) ? uses_.readers.at(graph_.root(out))
                                                                    : std::vector<std::size_t>{}) {
      const Node& node = graph_.nodes[reader];
      if (taken_[reader] || node.op != &quantize_op() || node.inputs[0] != out) continue;
      taken_[reader] = true;
      group.views = node.views;
      if (!read_elsewhere(out, reader)) group.chain_store.back() = no_value;
      return last;
    }
    return last;
  }

  Graph& graph_;
  bool join_;
  Uses uses_;
  std::vector<bool> taken_;
};

// A chain that begins with sums of what a forward product has just made.
void mark_sums(Graph& graph) {
  if (graph.phase != Phase::train) return;
  std::map<ValueId, std::size_t> products;  // by what they make
  for (std::size_t i = 0; i < graph.first_backward; ++i) {
    Node& node = graph.nodes[i];
    if (node.op->product) products[node.outputs[0]] = i;
    if (node.chain.empty() || !node.chain[0].op->sums_first) continue;
    const auto product = products.find(node.chain[0].inputs[0]);
    if (product == products.end() || graph.value(product->first).alias != no_value) continue;
    graph.nodes[product->second].tells_sums = true;
    node.sums_from = static_cast<int>(product->second);
  }
}

// Of kernels on the device (pixel copies are theirs), whose chain needs nothing but the product's results.
bool runs_with_product(const Graph& graph, const Node& product, const Node& chain) {
  const ProductPlan& plan = product.products[static_cast<std::size_t>(LayerProduct::forward)];
  if (chain.chain.empty() || chain.views.empty() || !product.op->product || !plan.integer) return false;
  const auto sums_up = [](const Node& member) { return member.op->sums_first; };
  return graph.value(plan.a).view.layout == kernels::Layout::pixels &&
         chain.chain[0].inputs[0] == product.outputs[0] &&
         graph.root(product.outputs[0]) == product.outputs[0] &&
         (graph.phase == Phase::eval || std::none_of(chain.chain.begin(), chain.chain.end(), sums_up));
}

// A chain right behind a forward product whose results nobody else reads: both may run as one.
void mark_followers(Graph& graph) {
  const Uses uses(graph);
  for (std::size_t i = 1; i < graph.first_backward; ++i) {
    Node &product = graph.nodes[i - 1], &chain = graph.nodes[i];
    if (!runs_with_product(graph, product, chain) || uses.external.contains(product.outputs[0])) continue;
    const std::vector<std::size_t>& readers = uses.readers.at(product.outputs[0]);
    if (std::any_of(readers.begin(), readers.end(), [i](std::size_t reader) { return reader != i; }))
      continue;
    chain.follows = static_cast<int>(i) - 1;
    chain.keeps = {product.products[static_cast<std::size_t>(LayerProduct::forward)].a};
  }
}

}  // namespace

void fuse(Graph& graph, bool join) {
  while (join && fold_one_sum(graph)) {
  }
  ChainFuser(graph, join).run();
  mark_sums(graph);
  mark_followers(graph);
}

}  // namespace octavo
