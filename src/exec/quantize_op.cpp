// The two internal ops: quantize an edge, and run a chain of fused pointwise nodes with an optional quantize
// tail.
#include "exec/chain.h"
#include "exec/context.h"
#include "exec/quantize.h"
#include "graph/internal_ops.h"

namespace octavo {

void run_quantized(Program& program, const Plan& plan, const kernels::Chain& chain, const Node& node,
                   std::span<const std::uint32_t> sample_maxima) {
  NodeMemory& memory = program.runtime().memory;
  const std::vector<ValueId>& views = node.views;
  const std::span<kernels::View> layouts = memory.take<kernels::View>(views.size());
  const std::span<void*> targets = memory.take<void*>(views.size());
  for (std::size_t i = 0; i < views.size(); ++i) {
    layouts[i] = plan.graph.value(views[i]).view;
    targets[i] = program.address(plan, views[i]);
  }
  Slot& slot = program.slots[plan.graph.value(views[0]).slot];
  quantize_edge(program.runtime(), slot, chain, plan.graph.phase,
                {layouts, targets, sample_maxima, !node.counted});
}

namespace {

void quantize_forward(OpContext& context) {
  auto& node_context = static_cast<NodeContext&>(context);
  const Node& node = node_context.node();
  const kernels::View& view = node_context.plan().graph.value(node.views[0]).view;
  kernels::Chain chain;
  chain.n = view.n;
  chain.h = view.h;
  chain.w = view.w;
  chain.c = view.c;
  chain.x = node_context.floats(node.inputs[0]);
  run_quantized(node_context.program(), node_context.plan(), chain, node);
}

kernels::FloatSource entry_of(const NodeContext& first, const Node& node) {
  return first.floats(node.pass == Pass::forward ? node.inputs[0] : node.grad_outputs[0]);
}

void chain_forward(OpContext& context) {
  auto& outer = static_cast<NodeContext&>(context);
  Program& program = outer.program();
  const Node& node = outer.node();
  NodeRun no_kernels;
  const Node& first = node.chain[0];
  const TensorType& type =
      first.pass == Pass::forward ? first.signature->inputs[0] : first.signature->outputs[0];
  Slot* tail = node.views.empty() ? nullptr : &program.slots[outer.plan().graph.value(node.views[0]).slot];
  ChainBuilder builder(program.runtime(), geometry(type.shape),
                       entry_of(NodeContext(program, outer.plan(), first, no_kernels), first));
  if (tail != nullptr && has_sample_scales(tail->format.granularity))
    builder.watch_samples(inverse_factors(*tail, geometry(type.shape).c));
  if (node.sums_from >= 0) {
    const ToldSums& told = outer.plan().runs[static_cast<std::size_t>(node.sums_from)].sums;
    if (told.there) builder.know_squares({told.values, told.squares});
  }
  for (std::size_t i = 0; i < node.chain.size(); ++i) {
    const Node& member = node.chain[i];
    NodeContext inner(program, outer.plan(), member, no_kernels);
    if (member.pass == Pass::forward)
      member.op->chain_forward(inner, builder);
    else
      member.op->chain_backward(inner, builder);
    if (node.chain_store[i] != no_value) builder.store(outer.floats(node.chain_store[i]));
  }
  if (node.views.empty())
    builder.run();
  else
    run_quantized(program, outer.plan(), builder.chain(), node, builder.sample_maxima());
}

}  // namespace

const OpDef& quantize_op() {
  static const OpDef op = [] {
    OpDef def;
    def.type = "quantize";
    def.forward = quantize_forward;
    return def;
  }();
  return op;
}

const OpDef& chain_op() {
  static const OpDef op = [] {
    OpDef def;
    def.type = "chain";
    def.forward = chain_forward;
    return def;
  }();
  return op;
}

}  // namespace octavo
