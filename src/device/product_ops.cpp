// Convolution and linear layers: their three products, and the gradient of the bias.
#include "cuda/conv_chain.h"
#include "device/op_functions.h"

namespace octavo::device {

using kernels::ConvArgs;

namespace {

struct Operands {
  const void *a, *b;
};

/// Batch copies in the order of sample classes, from the pixel copies of X and G.
Operands turn(Run& run, const ProductPlan& product, const ProductMemory& memory) {
  const SlotMemory& gradient = run.memory.slot(product.b_slot);
  const auto turned = [&](const kernels::cuda::ImageLayout& layout, ValueId view, int planes) {
    const std::int64_t bytes = kernels::cuda::plane_bytes(layout.batch_copy_bytes()) * planes;
    auto* const copy = run.scratch.take<std::int8_t>(bytes);
    kernels::cuda::turn_image({.layout = layout,
                               .planes = planes,
                               .pixel_copy = static_cast<const std::int8_t*>(run.address(view)),
                               .batch_copy = copy,
                               .order = {gradient.order, gradient.entries}},
                              run.stream);
    return copy;
  };
  return {turned(memory.x(), product.a, product.a_planes), turned(memory.y(), product.b, product.b_planes)};
}

/// As run_integer_product() of src/exec/quantize.cpp.
void set_scales(Run& run, LayerProduct which, const ProductPlan& product, ConvArgs& args) {
  const SlotMemory &a = run.memory.slot(product.a_slot), &b = run.memory.slot(product.b_slot);
  const SlotFormat &a_format = run.slot(a).format, &b_format = run.slot(b).format;
  const bool by_class =
      which == LayerProduct::grad_weight && b_format.granularity == ScaleGranularity::sample_class;
  const bool folded_away = product.fold != Fold::none && a_format.granularity == ScaleGranularity::channel;
  args.a_scale = folded_away ? run.memory.one : a.scale;
  args.a_scale_vector = a_format.granularity != ScaleGranularity::tensor && !folded_away;
  args.b_scale = !by_class ? b.scale : b_format.channel_factors ? b.channel_scale : b.class_scale;
  args.b_scale_vector =
      by_class ? b_format.channel_factors : b_format.granularity != ScaleGranularity::tensor;
}

void set_operands(Run& run, LayerProduct which, const ProductPlan& product, const ProductMemory& memory,
                  ConvArgs& args) {
  const Operands operands =
      memory.plan().by_class()
          ? turn(run, product, memory)
          : Operands{run.address(product.a),
                     which == LayerProduct::grad_weight ? run.address(product.b) : memory.weights->copy};
  args.a = operands.a, args.b = operands.b;
  args.a_planes = product.a_planes, args.b_planes = product.b_planes;
  set_scales(run, which, product, args);
}

void multiply_integer(Run& run, LayerProduct which, const ProductPlan& product, const ProductMemory& memory,
                      ConvArgs args) {
  const bool by_class = memory.plan().by_class();
  if (product.fold == Fold::scales) memory.folded.quantize(run);
  set_operands(run, which, product, memory, args);
  const kernels::cuda::SampleOrder* order = by_class ? run.memory.slot(product.b_slot).order : nullptr;
  if (memory.depthwise) return run_depthwise(*memory.depthwise, args, run.stream, order);
  if (memory.lt) {
    args.scratch = run.scratch.take<std::byte>(memory.lt->workspace_bytes());
    return run_conv_lt(*memory.lt, args, run.stream);
  }
  if (memory.cudnn) {
    args.scratch = run.scratch.take<std::byte>(memory.cudnn->workspace_bytes());
    return run_conv_cudnn(*memory.cudnn, args, run.stream);
  }
  if (memory.cudnn_matmul) {
    args.scratch = run.scratch.take<std::byte>(memory.cudnn_matmul->workspace_bytes());
    return run_conv_cudnn_matmul(*memory.cudnn_matmul, args, run.stream);
  }
  args.scratch = run.scratch.take<std::byte>(memory.conv->workspace_bytes());
  if (!memory.sums) return run_conv(*memory.conv, args, run.stream, order);
  kernels::cuda::ConvSums sums = *memory.sums;
  sums.scratch = run.scratch.take<std::byte>(sums.plan.scratch_bytes());
  run_conv(*memory.conv, args, run.stream, order, &sums);
}

/// `a` and `b`: the operands in float, which an integer product does not have.
void multiply(Run& run, std::size_t index, LayerProduct which, ValueId a, const float* b, ConvArgs args) {
  const auto p = static_cast<std::size_t>(which);
  const ProductMemory& memory = run.memory.product(index, p);
  const ProductPlan& product = run.plan.graph.nodes[index].products[p];
  if (product.integer) return multiply_integer(run, which, product, memory, args);
  const std::int64_t scratch =
      memory.library_f32 ? memory.library_f32->workspace_bytes() : memory.f32->workspace_bytes();
  const kernels::cuda::ConvF32Args floats{.a = static_cast<const float*>(run.address(a)),
                                          .b = b,
                                          .bias = args.bias,
                                          .out = args.out.as<float>(),
                                          .accumulate = args.accumulate,
                                          .scratch = run.scratch.take<std::byte>(scratch)};
  if (memory.library_f32)
    memory.library_f32->run(floats, run.stream);
  else
    run_conv_f32(*memory.f32, floats, run.stream);
}

void bias_gradient(Run& run, const Node& node) {
  float* const gradient = run.gradient(node, 1);
  if (gradient == nullptr) return;
  const Shape& y = node.signature->outputs[0].shape;
  const std::int64_t rows = y.elements() / y.back();
  auto* const tiles = run.scratch.take<float>(kernels::cuda::column_tiles(rows) * y.back());
  kernels::cuda::column_sums(run.floats(node.grad_outputs[0]), rows, static_cast<int>(y.back()), tiles,
                             gradient, run.accumulates(node, 1), run.stream);
}

}  // namespace

void run_product(Run& run, std::size_t index) {
  const Node& node = run.plan.graph.nodes[index];
  multiply(run, index, LayerProduct::forward, node.inputs[0], run.parameter(node, 0),
           {.bias = run.parameter(node, 1), .out = run.floats(node.outputs[0])});
}

void run_product_with(Run& run, std::size_t index, const kernels::cuda::ChainPass& pass) {
  const Node& node = run.plan.graph.nodes[index];
  constexpr auto which = static_cast<std::size_t>(LayerProduct::forward);
  const ProductMemory& memory = run.memory.product(index, which);
  ConvArgs args{.bias = run.parameter(node, 1), .out = run.floats(node.outputs[0])};
  set_operands(run, LayerProduct::forward, node.products[which], memory, args);
  run_conv_chain(*memory.conv, args, pass, run.stream);
}

void product_forward(Run& run, std::size_t index) {
  if (!run.memory.product(index, static_cast<std::size_t>(LayerProduct::forward)).waits)
    run_product(run, index);
}

void product_backward(Run& run, std::size_t index) {
  const Node& node = run.plan.graph.nodes[index];
  const ValueId g = node.grad_outputs[0];
  if (float* gradient = run.gradient(node, 0))
    multiply(run, index, LayerProduct::grad_weight, node.inputs[0], static_cast<const float*>(run.address(g)),
             {.out = gradient, .accumulate = run.accumulates(node, 0)});
  bias_gradient(run, node);
  if (const kernels::FloatTarget gradient = run.floats(node.grad_inputs[0]))
    multiply(run, index, LayerProduct::grad_input, g, run.parameter(node, 0),
             {.out = gradient, .accumulate = node.accumulate});
}

}  // namespace octavo::device
