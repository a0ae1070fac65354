// Pooling: windows of src/ops/pool.h in the form of the device's kernels.
#include "cuda/pool.h"
#include "device/op_functions.h"
#include "ops/pool.h"

namespace octavo::device {

using kernels::cuda::GlobalPool;
using kernels::cuda::PoolShape;

namespace {

PoolShape shape_of(const Node& node) {
  const Shape& x = node.signature->inputs[0].shape;
  const auto axis = [&](std::size_t i) {
    const auto [size, outputs, kernel, stride, pad] = pool_axis(*node.signature, i);
    return kernels::cuda::PoolAxis{static_cast<int>(size), static_cast<int>(outputs),
                                   static_cast<int>(kernel), static_cast<int>(stride), static_cast<int>(pad)};
  };
  return {static_cast<int>(x[0]), static_cast<int>(x[3]), axis(0), axis(1),
          node.signature->as<Window>().count_include_pad};
}

GlobalPool global_shape_of(const Node& node) {
  const Shape& x = node.signature->inputs[0].shape;
  return {static_cast<int>(x[0]), static_cast<int>(x[3]), x[1] * x[2]};
}

std::int32_t* maxima_of(const Run& run, const Node& node) {
  return node.saved.empty() ? nullptr : static_cast<std::int32_t*>(run.address(node.saved[0]));
}

}  // namespace

void max_pool_forward(Run& run, std::size_t index) {
  const Node& node = run.plan.graph.nodes[index];
  run_max_pool(shape_of(node), run.floats(node.inputs[0]), run.floats(node.outputs[0]), maxima_of(run, node),
               run.stream);
}

void max_pool_backward(Run& run, std::size_t index) {
  const Node& node = run.plan.graph.nodes[index];
  if (const kernels::FloatTarget dx = run.floats(node.grad_inputs[0]))
    run_max_pool_gradient(shape_of(node), run.floats(node.grad_outputs[0]), maxima_of(run, node), dx,
                          run.stream);
}

void avg_pool_forward(Run& run, std::size_t index) {
  const Node& node = run.plan.graph.nodes[index];
  run_avg_pool(shape_of(node), static_cast<const float*>(run.address(node.inputs[0])),
               static_cast<float*>(run.address(node.outputs[0])), run.stream);
}

void avg_pool_backward(Run& run, std::size_t index) {
  const Node& node = run.plan.graph.nodes[index];
  if (node.grad_inputs[0] == no_value) return;
  run_avg_pool_gradient(shape_of(node), static_cast<const float*>(run.address(node.grad_outputs[0])),
                        static_cast<float*>(run.address(node.grad_inputs[0])), run.stream);
}

void global_pool_forward(Run& run, std::size_t index) {
  const Node& node = run.plan.graph.nodes[index];
  run_global_mean(global_shape_of(node), run.floats(node.inputs[0]), run.floats(node.outputs[0]), run.stream);
}

void global_pool_backward(Run& run, std::size_t index) {
  const Node& node = run.plan.graph.nodes[index];
  if (const kernels::FloatTarget dx = run.floats(node.grad_inputs[0]))
    run_global_mean_gradient(global_shape_of(node), run.floats(node.grad_outputs[0]), dx, run.stream);
}

}  // namespace octavo::device
