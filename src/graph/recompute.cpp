// Recomputation by block (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"). What stays in
// memory: values that something outside of the block reads, masks of bits where nothing else asks for their
// node, and what a node needs in order not to count twice (Node::counted, OpDef::repeats_from_saved).
#include "graph/recompute.h"

#include <fnmatch.h>

#include <algorithm>
#include <map>
#include <set>

#include "config/problems.h"
#include "core/check.h"
#include "graph/internal_ops.h"

namespace octavo {
namespace {

bool matches(const std::string& pattern, const std::string& name) {
  return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

/// "a.b:backward" lies in the blocks "a" and "a.b".
std::vector<std::string> blocks_around(const std::string& node) {
  const std::string path = node.substr(0, node.find(':'));
  std::vector<std::string> blocks;
  for (std::size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', dot + 1))
    blocks.push_back(path.substr(0, dot));
  blocks.push_back(path);
  return blocks;
}

/// The node, or the members of a chain.
template <class Any>
std::vector<Any*> parts(Any& node) {
  std::vector<Any*> list;
  for (auto& member : node.chain) list.push_back(&member);
  if (list.empty()) list.push_back(&node);
  return list;
}

bool may_repeat(const Node& part) { return part.states.empty() || part.op->repeats_from_saved; }

class Recomputer {
 public:
  Recomputer(Graph& graph, const std::vector<std::string>& patterns)
      : graph_(graph),
        patterns_(patterns),
        made_(graph.values.size()),
        block_(graph.first_backward),
        again_(graph.first_backward, false) {}

  void run() {
    find_blocks();
    keep_what_others_read();
    choose_nodes();
    copy_values();
    redirect_backward();
    for (std::size_t i = 0; i < again_.size(); ++i)
      if (again_[i]) clones_.emplace(i, clone(i));
    drop_views();
    drop_stores();
    insert_clones();
  }

 private:
  /// What is known of a value that a block makes.
  struct Made {
    std::size_t writer = 0;
    bool movable = false;  // nobody outside of the block reads it
    bool small = false;    // beside the values that it is made of
  };

  std::string block_of(const Node& part) const {
    for (const std::string& block : blocks_around(part.name))
      for (const std::string& pattern : patterns_)
        if (matches(pattern, block)) return block;
    return {};
  }

  // A chain that reaches over the border of a block belongs to none.
  std::string common_block(const Node& node) const {
    const std::vector<const Node*> all = parts(node);
    const std::string block = block_of(*all[0]);
    const bool one = std::all_of(all.begin(), all.end(), [&](const Node* part) {
      return may_repeat(*part) && block_of(*part) == block;
    });
    return one ? block : "";
  }

  Made& made(ValueId id) { return made_[static_cast<std::size_t>(graph_.root(id))]; }
  bool moves(ValueId id) { return made(id).movable && again_[made(id).writer]; }

  void find_blocks() {
    for (std::size_t i = 0; i < block_.size(); ++i) {
      const Node& node = graph_.nodes[i];
      block_[i] = common_block(node);
      if (block_[i].empty()) continue;
      for (ValueId id : writes(node)) made(id) = {i, true};
      for (const Node* part : parts(node))
        for (ValueId id : part->saved) {
          made(id).movable = !part->op->repeats_from_saved;
          made(id).small = 8 * graph_.value(id).type.bytes() <= part->signature->outputs[0].bytes();
        }
    }
  }

  void keep_what_others_read() {
    for (const Node& node : graph_.nodes)
      for (const Node* part : parts(node)) {
        const std::string block = block_of(*part);
        for (ValueId id : reads(*part))
          if (made(id).movable && block_[made(id).writer] != block) made(id).movable = false;
      }
    for (const Output& output : graph_.outputs) made(output.value).movable = false;
    for (const Loss& loss : graph_.losses) made(loss.value).movable = false;
  }

  // Those that make what backward nodes read, and what these are made of.
  void choose_nodes() {
    for (std::size_t i = graph_.first_backward; i < graph_.nodes.size(); ++i)
      for (ValueId id : reads(graph_.nodes[i]))
        if (made(id).movable && !made(id).small) again_[made(id).writer] = true;
    for (std::size_t i = again_.size(); i-- > 0;)
      if (again_[i])
        for (ValueId id : reads(graph_.nodes[i]))
          if (made(id).movable) again_[made(id).writer] = true;
  }

  void copy_values() {
    for (std::size_t i = 0; i < again_.size(); ++i) {
      if (!again_[i]) continue;
      std::set<ValueId> kept;
      for (const Node* part : parts(graph_.nodes[i]))
        if (part->op->repeats_from_saved) kept.insert(part->saved.begin(), part->saved.end());
      for (ValueId id : writes(graph_.nodes[i]))
        if (!kept.contains(id)) copies_[id] = graph_.add_value(Value(graph_.value(id)));
    }
    made_.resize(graph_.values.size());
  }

  ValueId copy_of(ValueId id) const {
    const auto found = copies_.find(id);
    return found == copies_.end() ? id : found->second;
  }

  // Where the backward pass finds a value.
  ValueId moved(ValueId id) {
    if (id == no_value || !moves(id)) return id;
    if (const auto found = copies_.find(id); found != copies_.end()) return found->second;
    Value alias = graph_.value(id);
    alias.alias = moved(alias.alias);
    copies_[id] = graph_.add_value(std::move(alias));
    made_.resize(graph_.values.size());
    return copies_[id];
  }

  void redirect_backward() {
    for (std::size_t i = graph_.first_backward; i < graph_.nodes.size(); ++i) {
      Node& node = graph_.nodes[i];
      for (ValueId id : reads(node))
        if (moves(id)) first_reader_.try_emplace(block_[made(id).writer], i);
      for (Node* part : parts(node)) {
        for (std::vector<ValueId>* ids : {&part->inputs, &part->outputs, &part->saved})
          for (ValueId& id : *ids) id = moved(id);
        for (ProductPlan& product : part->products) {
          product.a = moved(product.a);
          product.b = moved(product.b);
        }
      }
    }
  }

  Node clone(std::size_t index) {
    Node node = graph_.nodes[index];
    node.name += ":recompute";
    std::set<ValueId> own;  // a chain's values between its members
    for (Node* part : parts(node)) {
      part->repeated = true;
      for (ValueId& id : part->inputs) id = own.contains(id) ? copy_of(id) : moved(id);
      own.insert(part->outputs.begin(), part->outputs.end());
      for (std::vector<ValueId>* ids : {&part->outputs, &part->saved})
        for (ValueId& id : *ids) id = copy_of(id);
      for (ProductPlan& product : part->products) product.a = moved(product.a);
    }
    for (std::vector<ValueId>* ids : {&node.views, &node.chain_store})
      for (ValueId& id : *ids) id = copy_of(id);
    node.repeated = true;
    node.first_run = static_cast<int>(index);
    node.tells_sums = false, node.sums_from = node.follows = -1;
    node.keeps.clear();
    return node;
  }

  std::vector<bool> values_read() const {
    std::vector<bool> read(graph_.values.size(), false);
    const auto add = [&](ValueId id) { read[static_cast<std::size_t>(graph_.root(id))] = true; };
    for (const Node& node : graph_.nodes)
      for (ValueId id : reads(node)) add(id);
    for (const auto& [index, node] : clones_)
      for (ValueId id : reads(node)) add(id);
    for (const Output& output : graph_.outputs) add(output.value);
    for (const Loss& loss : graph_.losses) add(loss.value);
    return read;
  }

  // Integers that the backward pass alone reads are made there, and counted there.
  void drop_views() {
    const std::vector<bool> read = values_read();
    const auto unread = [&](ValueId id) { return !read[static_cast<std::size_t>(id)]; };
    for (auto& [index, again] : clones_) {
      Node& first = graph_.nodes[index];
      if (first.views.empty()) continue;
      std::erase_if(first.views, unread);
      std::erase_if(again.views, unread);
      again.counted = first.views.empty();
      if (!first.views.empty() || first.op != &quantize_op()) continue;
      again.repeated = false;
      again.first_run = -1;
      first = {};
    }
  }

  void drop_stores() {
    const std::vector<bool> read = values_read();
    const auto unread = [&](ValueId id) { return id == no_value || !read[static_cast<std::size_t>(id)]; };
    const auto drop = [&](Node& node) {
      for (ValueId& id : node.chain_store)
        if (unread(id)) id = no_value;
      for (Node* part : parts(node))
        if (std::all_of(part->saved.begin(), part->saved.end(), unread)) part->saved.clear();
    };
    for (auto& [index, again] : clones_) {
      drop(graph_.nodes[index]);
      drop(again);
    }
  }

  void insert_clones() {
    std::multimap<std::size_t, std::string> blocks_before;  // by backward node
    for (const auto& [block, reader] : first_reader_) blocks_before.emplace(reader, block);
    std::vector<Node> nodes;
    std::vector<int> place(graph_.first_backward);
    std::size_t first_backward = 0;
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (i == graph_.first_backward) first_backward = nodes.size();
      if (i < graph_.first_backward) place[i] = static_cast<int>(nodes.size());
      for (auto [at, end] = blocks_before.equal_range(i); at != end; ++at)
        for (auto& [index, again] : clones_)
          if (block_[index] == at->second) nodes.push_back(std::move(again));
      if (graph_.nodes[i].op != nullptr) nodes.push_back(std::move(graph_.nodes[i]));
    }
    for (Node& node : nodes)
      for (int* index : {&node.first_run, &node.sums_from, &node.follows})
        if (*index >= 0) *index = place[static_cast<std::size_t>(*index)];
    graph_.nodes = std::move(nodes);
    graph_.first_backward = first_backward;
  }

  Graph& graph_;
  const std::vector<std::string>& patterns_;
  std::vector<Made> made_;          // by value
  std::vector<std::string> block_;  // by forward node; empty: none
  std::vector<bool> again_;         // by forward node
  std::map<ValueId, ValueId> copies_;
  std::map<std::string, std::size_t> first_reader_;  // by block: the backward node
  std::map<std::size_t, Node> clones_;               // by forward node
};

}  // namespace

void require_blocks(const Graph& graph, const std::vector<std::string>& patterns) {
  std::set<std::string> blocks;
  for (const Node& node : graph.nodes)
    for (std::string& block : blocks_around(node.name)) blocks.insert(std::move(block));
  std::string unmatched;
  for (const std::string& pattern : patterns) {
    const auto matched = [&](const std::string& block) { return matches(pattern, block); };
    if (std::any_of(blocks.begin(), blocks.end(), matched)) continue;
    unmatched +=
        concat(unmatched.empty() ? "" : "\n", "train.recompute: '", pattern,
               "' matches no block of the model", suggestion(pattern, {blocks.begin(), blocks.end()}));
  }
  require(unmatched.empty(), Errc::config, unmatched);
}

void recompute(Graph& graph, const std::vector<std::string>& patterns) {
  if (patterns.empty() || graph.first_backward >= graph.nodes.size()) return;
  Recomputer(graph, patterns).run();
}

}  // namespace octavo
