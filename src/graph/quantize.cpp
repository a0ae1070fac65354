#include "graph/quantize.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "core/check.h"
#include "graph/internal_ops.h"

namespace octavo {

kernels::ConvShape kernel_shape(const ProductShape& p) {
  return {p.n,  p.h,        p.w,        p.c,     p.k,     p.r,          p.s,          p.ho,
          p.wo, p.stride_h, p.stride_w, p.pad_h, p.pad_w, p.dilation_h, p.dilation_w, p.groups};
}

std::vector<bool> non_negative_values(const Graph& graph) {
  std::vector<bool> known(graph.values.size(), false);
  const auto is_known = [&](ValueId id) { return known[static_cast<std::size_t>(graph.root(id))]; };
  const auto visit = [&](const Node& node) {
    if (node.pass == Pass::backward) return;
    const bool kept =
        node.op->keeps_non_negative && std::all_of(node.inputs.begin(), node.inputs.end(), is_known);
    if (!node.op->non_negative && !kept) return;
    for (ValueId id : node.outputs) known[static_cast<std::size_t>(graph.root(id))] = true;
  };
  for (const Node& node : graph.nodes) {
    if (node.chain.empty())
      visit(node);
    else
      std::for_each(node.chain.begin(), node.chain.end(), visit);
  }
  return known;
}

namespace {

constexpr const char* product_names[] = {"forward", "grad_input", "grad_weight"};

class Quantizer {
 public:
  Quantizer(Graph& graph, const std::vector<Layer>& layers, SlotTable& slots, const KernelChoice& choice,
            const DispatchLog& log)
      : graph_(graph),
        layers_(layers),
        slots_(slots),
        choice_(choice),
        log_(log),
        non_negative_(non_negative_values(graph)) {}

  void run() {
    for (Node& node : graph_.nodes)
      if (node.op->product) plan_node(node);
    insert_quantize_nodes();
  }

 private:
  // All views of one source edge in one slot.
  using EdgeKey = std::tuple<ValueId, int, std::int64_t, std::int64_t, std::int64_t, std::int64_t>;

  void plan_node(Node& node) {
    const Layer& layer = layers_[static_cast<std::size_t>(node.layer)];
    const kernels::ConvShape shape = kernel_shape(node.op->product(*node.signature));
    if (node.pass == Pass::forward) {
      ProductPlan& product = begin(node, LayerProduct::forward, shape, layer, layer.formats.forward);
      if (product.integer) plan_forward(node, product, layer);
      return;
    }
    bool float_gradient = node.parameters.size() > 1;  // the bias gradient
    bool float_input = false;
    if (node.grad_inputs[0] != no_value) {
      ProductPlan& product = begin(node, LayerProduct::grad_input, shape, layer, layer.formats.grad_input);
      if (product.integer) plan_grad_input(node, product, layer);
      float_gradient |= !product.integer;
    }
    if (node.grad_parameters[0]) {
      ProductPlan& product = begin(node, LayerProduct::grad_weight, shape, layer, layer.formats.grad_weight);
      if (product.integer) plan_grad_weight(node, product, layer);
      float_gradient |= !product.integer;
      float_input |= !product.integer;
    }
    if (!float_input) node.inputs[0] = no_value;
    if (!float_gradient) node.grad_outputs[0] = no_value;
  }

  void note_planes(ProductPlan& product) const {
    product.a_planes = plane_count(slots_[product.a_slot].format.bits);
    product.b_planes = plane_count(slots_[product.b_slot].format.bits);
  }

  ProductPlan& begin(Node& node, LayerProduct which, const kernels::ConvShape& shape, const Layer& layer,
                     const ProductFormat& format) {
    ProductPlan& product = node.products[static_cast<std::size_t>(which)];
    product.used = true;
    product.shape = shape;
    product.integer = format.integer && !layer.kept_fp32;
    if (layer.kept_fp32)
      product.fallback = "kept in fp32 by '" + layer.kept_by + "'";
    else if (!format.integer)
      product.fallback = "switched off";
    if (!product.integer) return product;
    const auto kind = static_cast<kernels::Product>(which);
    if (choice_) product.candidate = choice_(shape, kind, format);
    if (product.candidate == nullptr)
      product.candidate = &kernels::find_conv_s8(shape, kind, [&](const std::string& reason) {
        if (log_) log_(concat(layer.info.name, " ", product_names[static_cast<int>(which)], ": ", reason));
      });
    product.kernel = product.candidate->name;
    return product;
  }

  void plan_forward(Node& node, ProductPlan& product, const Layer& layer) {
    const ProductFormat& format = layer.formats.forward;
    product.a_slot = data_slot(Operand::activation, node.inputs[0], format.data, layer, "forward");
    product.b_slot = weight_slot(node, format.other, layer, "forward");
    note_planes(product);
    product.a = request(node.inputs[0], product.a_slot,
                        product.candidate->a_view(product.shape, kernels::Product::forward));
    node.inputs[0] = no_value;
  }

  void plan_grad_input(Node& node, ProductPlan& product, const Layer& layer) {
    const ProductFormat& format = layer.formats.grad_input;
    product.a_slot = data_slot(Operand::gradient, node.grad_outputs[0], format.data, layer, "grad_input");
    if (format.fold_channels) product.fold = format.data.channel_factors ? Fold::factors : Fold::scales;
    product.b_slot = weight_slot(node, format.other, layer, "grad_input", format.fold_channels);
    note_planes(product);
    product.a = request(node.grad_outputs[0], product.a_slot,
                        product.candidate->a_view(product.shape, kernels::Product::grad_input));
  }

  void plan_grad_weight(Node& node, ProductPlan& product, const Layer& layer) {
    const ProductFormat& format = layer.formats.grad_weight;
    constexpr auto which = kernels::Product::grad_weight;
    product.a_slot = data_slot(Operand::activation, node.inputs[0], format.data, layer, "grad_weight");
    product.b_slot = data_slot(Operand::gradient, node.grad_outputs[0], format.other, layer, "grad_weight");
    note_planes(product);
    product.a = request(node.inputs[0], product.a_slot, product.candidate->a_view(product.shape, which));
    product.b =
        request(node.grad_outputs[0], product.b_slot, product.candidate->b_view(product.shape, which));
  }

  int data_slot(Operand operand, ValueId edge, SlotFormat format, const Layer& layer, const char* product) {
    if (!non_negative_[static_cast<std::size_t>(graph_.root(edge))]) format.unsigned_ok = false;
    // A reshaped edge has other channels and samples: it shares integers only where one scale holds for all.
    const ValueId source = format.granularity == ScaleGranularity::tensor ? graph_.root(edge) : edge;
    return slots_.find_or_add(operand, graph_.value(source).name, format, layer.info.name,
                              layer.info.name + "." + product);
  }

  // Scales of W lie on the channel that the product does not contract: outputs forward, inputs backward.
  int weight_slot(const Node& node, const SlotFormat& format, const Layer& layer, const char* product,
                  bool folded = false) {
    const bool by_output = format.granularity == ScaleGranularity::channel && node.pass == Pass::forward;
    std::string name = graph_.parameters[static_cast<std::size_t>(node.parameters[0])].name;
    if (by_output) name += " by output";
    if (folded) name += " times scales of G in " + layer.info.name;
    const int slot =
        slots_.find_or_add(Operand::weight, name, format, layer.info.name, layer.info.name + "." + product);
    slots_[slot].per_output_channel = by_output;
    return slot;
  }

  // A view of this edge in this slot that serves the request; views merge where one copy can serve both.
  ValueId request(ValueId edge, int slot, kernels::View view) {
    const SlotFormat& format = slots_[slot].format;
    if (format.unsigned_ok) view.zero = 0;
    std::vector<ValueId>& views = edges_[{graph_.root(edge), slot, view.n, view.h, view.w, view.c}];
    for (ValueId id : views) {
      kernels::View& known = graph_.value(id).view;
      if (known == view || (known.layout == view.layout && kernels::merge_views(known, view))) return id;
    }
    Value value;
    value.name = graph_.value(graph_.root(edge)).name + ":" + operand_name(slots_[slot].operand);
    value.kind = ValueKind::view;
    value.type = {DType::s8, graph_.value(edge).type.shape};
    value.source = edge;
    value.slot = slot;
    value.view = view;
    value.planes = plane_count(format.bits);
    views.push_back(graph_.add_value(std::move(value)));
    return views.back();
  }

  Node quantize_node(const std::vector<ValueId>& views) const {
    const Value& first = graph_.value(views[0]);
    Node node;
    node.name = first.name;
    node.op = &quantize_op();
    node.inputs = {first.source};
    node.views = views;
    auto types = std::make_shared<Signature>();
    types->inputs = {graph_.value(first.source).type};
    types->phase = graph_.phase;
    node.signature = std::move(types);
    return node;
  }

  // Each quantize node stands right behind the node that makes its source.
  void insert_quantize_nodes() {
    std::map<ValueId, std::vector<Node>> by_source;
    for (const auto& [key, views] : edges_) by_source[std::get<0>(key)].push_back(quantize_node(views));
    std::vector<Node> nodes;
    std::size_t first_backward = 0;
    const auto emit = [&](ValueId id) {
      const auto found = by_source.find(id);
      if (found == by_source.end()) return;
      for (Node& node : found->second) nodes.push_back(std::move(node));
      by_source.erase(found);
    };
    for (ValueId id : graph_.inputs) emit(id);
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (i == graph_.first_backward) first_backward = nodes.size();
      const std::vector<ValueId> made = writes(graph_.nodes[i]);
      nodes.push_back(std::move(graph_.nodes[i]));
      for (ValueId id : made) emit(id);
    }
    for (const Loss& loss : graph_.losses)
      require(!by_source.contains(loss.seed), Errc::internal, "quantized loss");
    require(by_source.empty(), Errc::internal, "a quantized edge has no producer");
    if (graph_.first_backward >= graph_.nodes.size()) first_backward = nodes.size();
    graph_.nodes = std::move(nodes);
    graph_.first_backward = first_backward;
  }

  Graph& graph_;
  const std::vector<Layer>& layers_;
  SlotTable& slots_;
  const KernelChoice& choice_;
  const DispatchLog& log_;
  std::vector<bool> non_negative_;
  std::map<EdgeKey, std::vector<ValueId>> edges_;
};

}  // namespace

void quantize(Graph& graph, const std::vector<Layer>& layers, SlotTable& slots, const KernelChoice& choice,
              const DispatchLog& log) {
  Quantizer(graph, layers, slots, choice, log).run();
}

}  // namespace octavo
