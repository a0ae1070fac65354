#include "exec/context.h"

#include <cmath>
#include <numeric>

#include "core/check.h"
#include "core/timed.h"
#include "exec/quantize.h"

namespace octavo {

float* NodeContext::parameter(int index) const {
  const std::size_t i = static_cast<std::size_t>(index);
  if (i >= node_.parameters.size()) return nullptr;
  return program_.parameters[static_cast<std::size_t>(node_.parameters[i])].value.as<float>().data();
}

kernels::FloatTarget NodeContext::floats(ValueId id) const {
  if (id == no_value) return {};
  return {program_.address(plan_, id), kernel_type(plan_.graph.value(plan_.graph.root(id)).type.dtype)};
}

namespace {

kernels::FloatTarget floats_of(const OpContext& context, std::vector<ValueId> Node::*ids, int index) {
  const auto& of = static_cast<const NodeContext&>(context);
  return of.floats((of.node().*ids)[static_cast<std::size_t>(index)]);
}

}  // namespace

kernels::FloatSource float_input(const OpContext& context, int index) {
  return floats_of(context, &Node::inputs, index);
}
kernels::FloatTarget float_output(const OpContext& context, int index) {
  return floats_of(context, &Node::outputs, index);
}
kernels::FloatSource float_grad_output(const OpContext& context, int index) {
  return floats_of(context, &Node::grad_outputs, index);
}
kernels::FloatTarget float_grad_input(const OpContext& context, int index) {
  return floats_of(context, &Node::grad_inputs, index);
}

float* NodeContext::state(int index) const {
  return program_.states[static_cast<std::size_t>(node_.states[static_cast<std::size_t>(index)])]
      .value.as<float>()
      .data();
}

float* NodeContext::grad_parameter(int index) const {
  const std::size_t i = static_cast<std::size_t>(index);
  if (i >= node_.grad_parameters.size() || !node_.grad_parameters[i]) return nullptr;
  return program_.parameters[static_cast<std::size_t>(node_.parameters[i])].gradient.as<float>().data();
}

// The first node of a step that makes this parameter's gradient overwrites it, all later ones add.
bool NodeContext::accumulate_parameter(int index) const {
  const std::size_t i = static_cast<std::size_t>(index);
  return program_.runtime().micro_step > 0 || !node_.first_gradient[i];
}

void* NodeContext::scratch() const {
  return node_.op->scratch_bytes ? program_.runtime().scratch(node_.op->scratch_bytes(signature())) : nullptr;
}

void NodeContext::run_chunks(std::int64_t chunks, const void* body,
                             void (*call)(const void*, std::int64_t)) const {
  program_.runtime().pool.run(chunks, {body, call});
}

kernels::RandomKey NodeContext::random_key() const { return program_.runtime().random(node_.stream); }

float NodeContext::uniform(std::uint32_t element) const {
  const Runtime& runtime = program_.runtime();
  const std::uint64_t first = runtime.first_index(signature().inputs[0].shape.elements());
  return kernels::random_uniform(random_key(), static_cast<std::uint32_t>(first + element));
}

void NodeContext::multiply_float(LayerProduct which, const float* data, const void* other, const float* bias,
                                 float* out, bool accumulate) const {
  const kernels::ConvF32& kernel = *run_.products[static_cast<std::size_t>(which)].f32;
  Runtime& runtime = program_.runtime();
  void* memory = runtime.scratch(kernel.scratch_bytes(static_cast<kernels::Product>(which), accumulate));
  switch (which) {
    case LayerProduct::forward:
      return kernel.forward(data, other, bias, out, memory, runtime.parallel);
    case LayerProduct::grad_input:
      return kernel.grad_input(data, other, out, accumulate, memory, runtime.parallel);
    case LayerProduct::grad_weight:
      return kernel.grad_weight(data, static_cast<const float*>(other), out, accumulate, memory,
                                runtime.parallel);
  }
}

// W times the scales of G's channels, which are known only now.
void NodeContext::pack_folded(const ProductPlan& product, ProductRun& run) const {
  Runtime& runtime = program_.runtime();
  const kernels::ConvShape& p = product.shape;
  const Shape shape{p.k, p.r, p.s, p.c / p.groups};
  const kernels::PackTarget target{run.s8.get(), run.packed.data()};
  const WeightCopy copy{.slot = &program_.slots[product.b_slot],
                        .targets = {&target, 1},
                        .factor = program_.slots[product.a_slot].scale.data()};
  quantize_weights(
      runtime,
      {.values = parameter(0),
       .shape = shape,
       .groups = p.groups,
       .row_max = program_.parameters[static_cast<std::size_t>(node_.parameters[0])].maxima.rows},
      {&copy, 1});
}

void NodeContext::multiply_integer(LayerProduct which, const float* bias, kernels::FloatTarget out,
                                   bool accumulate) const {
  const ProductPlan& product = node_.products[static_cast<std::size_t>(which)];
  ProductRun& run = run_.products[static_cast<std::size_t>(which)];
  if (product.fold == Fold::scales) pack_folded(product, run);
  const void* b = which == LayerProduct::grad_weight ? program_.address(plan_, product.b) : run.packed.data();
  const bool sums = node_.tells_sums && which == LayerProduct::forward;
  run_integer_product(program_.runtime(),
                      {.which = which,
                       .kernel = *run.s8,
                       .a_slot = program_.slots[product.a_slot],
                       .b_slot = program_.slots[product.b_slot],
                       .a = program_.address(plan_, product.a),
                       .b = b,
                       .bias = bias,
                       .out = out,
                       .accumulate = accumulate,
                       .folded = product.fold != Fold::none,
                       .sums = sums ? &run_.sums : nullptr,
                       .geometry = sums ? geometry(signature().outputs[0].shape) : Geometry{}});
}

void NodeContext::multiply(LayerProduct which, const float* data, const float* other, const float* bias,
                           kernels::FloatTarget out, bool accumulate) const {
  const std::size_t p = static_cast<std::size_t>(which);
  const ProductPlan& product = node_.products[p];
  MacCount& macs = program_.runtime().macs;
  macs.all[p] += product.shape.macs();
  double seconds = 0;
  if (const Timed timed(seconds); product.integer) {
    macs.integer[p] += product.shape.macs();
    multiply_integer(which, bias, out, accumulate);
  } else {
    const Tensor& packed = run_.products[p].packed;
    run_.sums.there = false;
    multiply_float(which, data, packed ? packed.data() : other, bias, out.as<float>(), accumulate);
  }
  if (program_.after_product) program_.after_product(plan_, node_, which, seconds);
}

void NodeContext::multiply_forward() const {
  multiply(LayerProduct::forward, in<float>(0), parameter(0), parameter(1), floats(node_.outputs[0]), false);
}

void NodeContext::multiply_grad_input() const {
  if (const kernels::FloatTarget gradient = floats(node_.grad_inputs[0]))
    multiply(LayerProduct::grad_input, grad_output(0), parameter(0), nullptr, gradient, accumulate_input(0));
}

namespace {

/// At least the largest scale of an integer; Inf or NaN where one is.
double scale_bound(const Slot& slot) {
  const auto sum = [](const std::vector<float>& scales) {
    return std::reduce(scales.begin(), scales.end(), 0.0);
  };
  return sum(slot.scale) * (slot.format.channel_factors ? sum(slot.channel_scale) / slot.class_scale : 1);
}

}  // namespace

// Whether the product adds at most 2^40 to an element of the gradient.
bool NodeContext::has_small_gradient() const {
  const ProductPlan& product = node_.products[static_cast<std::size_t>(LayerProduct::grad_weight)];
  if (!product.integer) return false;
  const Slot &a = program_.slots[product.a_slot], &b = program_.slots[product.b_slot];
  const kernels::ConvShape& shape = product.shape;
  const double largest_sum = static_cast<double>(shape.n * shape.ho * shape.wo) *
                             std::exp2(8 * (plane_count(a.format.bits) + plane_count(b.format.bits)));
  return largest_sum * scale_bound(a) * scale_bound(b) < 0x1p40;
}

void NodeContext::multiply_grad_weight() const {
  float* gradient = grad_parameter(0);
  if (gradient == nullptr) return;
  const bool accumulate = accumulate_parameter(0);
  multiply(LayerProduct::grad_weight, in<float>(0), grad_output(0), nullptr, gradient, accumulate);
  bool& small = program_.parameters[static_cast<std::size_t>(node_.parameters[0])].small_gradient;
  small = has_small_gradient() && (small || !accumulate);
}

}  // namespace octavo
