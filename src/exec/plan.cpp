#include "exec/plan.h"

#include <algorithm>
#include <numeric>

#include "core/check.h"
#include "exec/quantize.h"
#include "octavo/precision.h"

namespace octavo {
namespace {

constexpr std::int64_t alignment = 64;

struct Lifetime {
  std::int64_t begin = -1, end = -1;
};

std::vector<Lifetime> lifetimes(const Graph& graph) {
  std::vector<Lifetime> lives(graph.values.size());
  const auto touch = [&](ValueId id, std::int64_t at) {
    Lifetime& life = lives[static_cast<std::size_t>(graph.root(id))];
    life.begin = life.begin < 0 ? at : std::min(life.begin, at);
    life.end = std::max(life.end, at);
  };
  const auto last = static_cast<std::int64_t>(graph.nodes.size());
  for (std::int64_t at = 0; at < last; ++at) {
    const Node& node = graph.nodes[static_cast<std::size_t>(at)];
    for (ValueId id : writes(node)) touch(id, at);
    for (ValueId id : reads(node)) touch(id, at);
  }
  for (const Output& output : graph.outputs) touch(output.value, last);
  for (const Loss& loss : graph.losses) {
    touch(loss.value, last);
    // All seeds are set before the first backward node runs.
    if (loss.seed != no_value) touch(loss.seed, static_cast<std::int64_t>(graph.first_backward));
  }
  return lives;
}

kernels::View view_of(const Graph& graph, ValueId id) {
  return id == no_value ? kernels::View{} : graph.value(id).view;
}

}  // namespace

std::int64_t value_bytes(const Value& value) {
  const std::int64_t bytes =
      value.kind == ValueKind::view ? kernels::planes_bytes(value.view, value.planes) : value.type.bytes();
  return (bytes + alignment - 1) / alignment * alignment;
}

void place_values(Plan& plan) {
  const Graph& graph = plan.graph;
  const std::vector<Lifetime> lives = lifetimes(graph);
  plan.offsets.assign(graph.values.size(), -1);
  plan.external.assign(graph.values.size(), nullptr);

  std::vector<std::size_t> order;
  for (std::size_t id = 0; id < graph.values.size(); ++id)
    if (lives[id].begin >= 0 && graph.values[id].kind != ValueKind::input) order.push_back(id);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return value_bytes(graph.values[a]) > value_bytes(graph.values[b]);
  });

  std::vector<std::size_t> placed;  // by offset
  for (std::size_t id : order) {
    const std::int64_t bytes = value_bytes(graph.values[id]);
    std::int64_t offset = 0;
    for (std::size_t other : placed) {
      if (lives[other].end < lives[id].begin || lives[other].begin > lives[id].end) continue;
      if (offset + bytes <= plan.offsets[other]) break;
      offset = std::max(offset, plan.offsets[other] + value_bytes(graph.values[other]));
    }
    plan.offsets[id] = offset;
    plan.arena_bytes = std::max(plan.arena_bytes, offset + bytes);
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), id,
                         [&](std::size_t a, std::size_t b) { return plan.offsets[a] < plan.offsets[b]; }),
        id);
  }
  for (std::size_t id = 0; id < graph.values.size(); ++id)
    plan.offsets[id] = plan.offsets[static_cast<std::size_t>(graph.root(static_cast<ValueId>(id)))];
}

namespace {

void add_weight_reader(Plan& plan, const Node& node, const ProductPlan& product, ProductRun& run) {
  std::vector<WeightReaders>& all = plan.weight_readers;
  const int parameter = node.parameters[0];
  const std::int64_t groups = product.shape.groups;
  auto of = std::find_if(all.begin(), all.end(), [&](const WeightReaders& known) {
    return known.parameter == parameter && known.groups == groups;
  });
  if (of == all.end()) of = all.insert(of, {parameter, groups, {}});
  auto copy = std::find_if(of->copies.begin(), of->copies.end(),
                           [&](const WeightReaders::Copy& known) { return known.slot == product.b_slot; });
  if (copy == of->copies.end())
    copy = of->copies.insert(copy, {product.b_slot, product.fold == Fold::factors ? product.a_slot : -1, {}});
  copy->targets.push_back({run.s8.get(), run.packed.data()});
}

}  // namespace

void make_kernels(Plan& plan) {
  plan.runs.resize(plan.graph.nodes.size());
  for (std::size_t i = 0; i < plan.graph.nodes.size(); ++i) {
    Node& node = plan.graph.nodes[i];
    if (node.first_run >= 0) {
      const Node& first = plan.graph.nodes[static_cast<std::size_t>(node.first_run)];
      for (std::size_t p = 0; p < node.products.size(); ++p)
        node.products[p].kernel = first.products[p].kernel;
      continue;
    }
    std::shared_ptr<kernels::ConvF32> f32;
    for (std::size_t p = 0; p < node.products.size(); ++p) {
      ProductPlan& product = node.products[p];
      if (!product.used) continue;
      ProductRun& run = plan.runs[i].products[p];
      std::int64_t packed_bytes = 0;
      if (product.integer) {
        run.s8 = product.candidate->make(product.shape, static_cast<kernels::Product>(p),
                                         view_of(plan.graph, product.a), view_of(plan.graph, product.b));
        packed_bytes = product.b_planes * run.s8->packed_stride();
      } else {
        const auto phase =
            plan.graph.phase == Phase::eval ? kernels::ConvPhase::evaluation : kernels::ConvPhase::training;
        const kernels::ConvF32Candidate& candidate = kernels::find_conv_f32(product.shape, phase);
        if (!f32) f32 = candidate.make(product.shape, phase);
        run.f32 = f32;
        product.kernel = candidate.name;
        if (p != static_cast<std::size_t>(LayerProduct::grad_weight))
          packed_bytes = f32->packed_bytes(static_cast<kernels::Product>(p));
      }
      if (packed_bytes > 0) run.packed = Tensor::empty({packed_bytes}, DType::u8);
      if (product.integer && packed_bytes > 0 && product.fold != Fold::scales)
        add_weight_reader(plan, node, product, run);
    }
  }
}

}  // namespace octavo
