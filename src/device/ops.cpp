// The table of ops on the device, and how a node finds its kernels.
#include <algorithm>
#include <array>

#include "core/check.h"
#include "device/op_functions.h"

namespace octavo::device {
namespace {

#define OCTAVO_DEVICE_OP(type, forward, backward) DeviceOp{#type, forward, backward},
#define OCTAVO_DEVICE_CHAIN_OP(type, forward, backward)
constexpr DeviceOp ops[] = {
#include "device/op_list.inc"
};
#undef OCTAVO_DEVICE_OP
#undef OCTAVO_DEVICE_CHAIN_OP
#define OCTAVO_DEVICE_OP(type, forward, backward)
#define OCTAVO_DEVICE_CHAIN_OP(type, forward, backward) DeviceChainOp{#type, forward, backward},
constexpr DeviceChainOp chain_ops[] = {
#include "device/op_list.inc"
};
#undef OCTAVO_DEVICE_OP
#undef OCTAVO_DEVICE_CHAIN_OP

/// Pointwise ops whose steps are the same on every device.
constexpr std::array pointwise = {"relu", "relu6", "add", "dropout"};

template <class List>
auto find(const List& list, const std::string& type) {
  const auto found =
      std::find_if(std::begin(list), std::end(list), [&](const auto& op) { return op.type == type; });
  return found == std::end(list) ? nullptr : &*found;
}

bool runs_in_chains(const std::string& type) {
  return find_chain_op(type) != nullptr ||
         std::find(pointwise.begin(), pointwise.end(), type) != pointwise.end();
}

// Of a chain, with the factors and statistics of its tail.
int most_steps(const Node& node) {
  int steps = node.views.empty() ? 0 : 3;
  for (std::size_t i = 0; i < node.chain.size(); ++i) {
    const std::string& type = node.chain[i].op->type;
    steps += type == "add"              ? std::max(1, static_cast<int>(node.chain[i].inputs.size()) - 1)
             : type.starts_with("relu") ? 2
                                        : 1;
    if (node.chain_store[i] != no_value) ++steps;
  }
  return steps;
}

}  // namespace

const DeviceOp* find_op(const std::string& type) { return find(ops, type); }
const DeviceChainOp* find_chain_op(const std::string& type) { return find(chain_ops, type); }

void require_ops(const Graph& graph) {
  for (const Node& node : graph.nodes) {
    const auto refuse = [](const Node& of) {
      fail(Errc::config, label(of), "train.device: '", of.op->type,
           "' has no kernels on the device; use train.device=cpu");
    };
    if (find_op(node.op->type) == nullptr) refuse(node);
    for (const Node& member : node.chain)
      if (!runs_in_chains(member.op->type)) refuse(member);
    require(most_steps(node) <= kernels::cuda::most_chain_steps, Errc::config, label(node),
            "train.device: a chain of ", most_steps(node), " steps; the device takes ",
            kernels::cuda::most_chain_steps, ", use train.device=cpu");
  }
}

void run_node(Run& run, std::size_t index) {
  const Node& node = run.plan.graph.nodes[index];
  run.scratch.clear();
  run.program.runtime().memory.clear();
  const DeviceOp& op = *find_op(node.op->type);
  try {
    (node.pass == Pass::forward ? op.forward : op.backward)(run, index);
  } catch (const Error& error) {
    throw Error(error.code(), label(node) + error.what());
  } catch (const std::invalid_argument& error) {
    throw Error(Errc::config, label(node) + error.what());
  } catch (const std::exception& error) {
    throw Error(Errc::resource, label(node) + error.what());
  }
}

void quantize_edge(Run& run, std::size_t index) {
  const Node& node = run.plan.graph.nodes[index];
  const Value& view = run.value(node.views[0]);
  DeviceChain chain(run, {view.view.n, view.view.h, view.view.w, view.view.c}, run.floats(node.inputs[0]),
                    &run.memory.slot(view.slot));
  chain.finish(node);
}

void run_chain_node(Run& run, std::size_t index) {
  const Node& node = run.plan.graph.nodes[index];
  const Node& first = node.chain[0];
  const bool forward = first.pass == Pass::forward;
  const TensorType& type = forward ? first.signature->inputs[0] : first.signature->outputs[0];
  DeviceChain chain(run, geometry(type.shape), run.floats(forward ? first.inputs[0] : first.grad_outputs[0]),
                    node.views.empty() ? nullptr : &run.memory.slot(run.value(node.views[0]).slot));
  const auto product = [&run](int of) -> const ProductMemory& {
    return run.memory.product(static_cast<std::size_t>(of), static_cast<std::size_t>(LayerProduct::forward));
  };
  if (node.sums_from >= 0 && product(node.sums_from).sums) chain.tell_sums(&*product(node.sums_from).sums);
  if (node.follows >= 0 && product(node.follows).waits) chain.start_with(node.follows);
  for (std::size_t i = 0; i < node.chain.size(); ++i) {
    chain.add_member(node.chain[i]);
    if (node.chain_store[i] != no_value) chain.steps().store(run.floats(node.chain_store[i]));
  }
  chain.finish(node);
}

}  // namespace octavo::device
