// Softmax with cross entropy.
#include <algorithm>

#include "device/op_functions.h"
#include "ops/attributes.h"

namespace octavo::device {

using kernels::cuda::LossRows;

namespace {

LossRows rows_of(const Run& run, const Node& node) {
  const Shape& x = node.signature->inputs[0].shape;
  return {static_cast<int>(x[0]), static_cast<int>(x[1]),
          static_cast<const std::int64_t*>(run.address(node.inputs[1])),
          node.signature->as<CrossEntropy>().label_smoothing};
}

float* probabilities(const Run& run, const Node& node) {
  return node.saved.empty() ? nullptr : static_cast<float*>(run.address(node.saved[0]));
}

/// The first bad sample of a loss that does not count in training is told too.
unsigned* bad_sample_of(Run& run, ValueId output) {
  for (const LossMemory& loss : run.memory.losses)
    if (loss.value == output) return loss.bad_sample;
  return run.memory.losses.empty() ? nullptr : run.memory.losses[0].bad_sample;
}

}  // namespace

void loss_forward(Run& run, std::size_t index) {
  const Node& node = run.plan.graph.nodes[index];
  const LossRows rows = rows_of(run, node);
  run_softmax_loss(rows, static_cast<const float*>(run.address(node.inputs[0])),
                   {.p = probabilities(run, node),
                    .loss = static_cast<float*>(run.address(node.outputs[0])),
                    .row_losses = run.scratch.take<double>(rows.rows),
                    .bad_sample = bad_sample_of(run, node.outputs[0])},
                   run.stream);
}

void loss_backward(Run& run, std::size_t index) {
  const Node& node = run.plan.graph.nodes[index];
  run_softmax_loss_gradient(rows_of(run, node), probabilities(run, node),
                            static_cast<const float*>(run.address(node.grad_outputs[0])),
                            static_cast<float*>(run.address(node.grad_inputs[0])), run.stream);
}

}  // namespace octavo::device
