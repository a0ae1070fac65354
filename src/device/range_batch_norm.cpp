// Range batch normalization: src/ops/range_batch_norm.cpp with vectors that stay on the device. What it does
// to each value is a chain.
#include "ops/range_norm.h"

#include "cuda/range_norm.h"
#include "device/op_functions.h"

namespace octavo::device {

namespace cuda = kernels::cuda;
using kernels::StepKind;

namespace {

enum Parameters { gamma, beta };
enum States { running_mean, running_deviation };
enum Saved { saved_mean, saved_r, saved_extremes };

cuda::RowChunks chunks_of(const RangeNormSizes& sizes) {
  return {sizes.rows, static_cast<int>(sizes.c), static_cast<int>(sizes.chunks)};
}

template <class T>
T* saved(const Run& run, const Node& node, Saved which) {
  return node.saved.empty() ? nullptr : static_cast<T*>(run.address(node.saved[which]));
}

float* state(const Run& run, const Node& node, States which) {
  return run.parameters.state(node.states[which]);
}

/// out = the steps of x, rows of c channels.
void apply(Run& run, const RangeNormSizes& sizes, const float* x,
           std::initializer_list<cuda::ChainStep> steps, float* out) {
  cuda::ChainPass pass;
  pass.layout = {1, 1, static_cast<int>(sizes.rows), static_cast<int>(sizes.c), 1};
  pass.x = x;
  for (const cuda::ChainStep& step : steps) pass.steps[pass.step_count++] = step;
  pass.steps[pass.step_count++] = {.kind = StepKind::store, .out = out};
  cuda::run_chain(pass, run.stream);
}

/// Mean and r of the batch, and what applies them.
void normalize_batch(Run& run, const Node& node, const RangeNormSizes& sizes, float* minus_mean, float* a) {
  const auto& norm = node.signature->as<RangeNorm>();
  const cuda::RowChunks of = chunks_of(sizes);
  const auto vector = [&](Saved which) {
    float* const kept = saved<float>(run, node, which);
    return kept != nullptr ? kept : run.scratch.take<float>(sizes.c);
  };
  auto* top = saved<std::int64_t>(run, node, saved_extremes);
  if (top == nullptr) top = run.scratch.take<std::int64_t>(2 * of.results());
  const cuda::RangeNormLook look{of, static_cast<const float*>(run.address(node.inputs[0])),
                                 run.scratch.take<double>(of.results()), top, top + of.results()};
  cuda::look_at_chunks(look, run.stream);
  cuda::finish_channels(
      cuda::RangeNormForward{
          .channels = of.channels,
          .looked = look,
          .factor = sizes.factor(),
          .eps = norm.eps,
          .momentum = static_cast<float>(norm.momentum),
          .gamma = run.parameter(node, gamma),
          .mean = vector(saved_mean),
          .r = vector(saved_r),
          .running_mean = node.repeated ? nullptr : state(run, node, running_mean),
          .running_deviation = node.repeated ? nullptr : state(run, node, running_deviation),
          .minus_mean = minus_mean,
          .a = a},
      run.stream);
}

}  // namespace

void range_norm_forward(Run& run, std::size_t index) {
  const Node& node = run.plan.graph.nodes[index];
  const RangeNormSizes sizes(*node.signature);
  const int channels = static_cast<int>(sizes.c);
  const float* const scale = run.parameter(node, gamma);
  float *minus_mean = run.scratch.take<float>(channels), *a = run.scratch.take<float>(channels);
  if (node.signature->phase == Phase::eval)
    cuda::finish_channels(cuda::RangeNormEvaluation{channels, node.signature->as<RangeNorm>().eps, scale,
                                                    state(run, node, running_mean),
                                                    state(run, node, running_deviation), minus_mean, a},
                          run.stream);
  else if (node.repeated && !node.saved.empty())
    cuda::finish_channels(cuda::RangeNormRepeated{channels, scale, saved<float>(run, node, saved_mean),
                                                  saved<float>(run, node, saved_r), minus_mean, a},
                          run.stream);
  else
    normalize_batch(run, node, sizes, minus_mean, a);
  apply(run, sizes, static_cast<const float*>(run.address(node.inputs[0])),
        {{.kind = StepKind::scale_shift, .b = minus_mean},
         {.kind = StepKind::scale_shift, .a = a, .b = run.parameter(node, beta)}},
        static_cast<float*>(run.address(node.outputs[0])));
}

void range_norm_backward(Run& run, std::size_t index) {
  const Node& node = run.plan.graph.nodes[index];
  const RangeNormSizes sizes(*node.signature);
  const cuda::RowChunks of = chunks_of(sizes);
  const auto* const dz = static_cast<const float*>(run.address(node.grad_outputs[0]));
  const cuda::RangeNormGradientLook look{of,
                                         static_cast<const float*>(run.address(node.inputs[0])),
                                         dz,
                                         saved<float>(run, node, saved_mean),
                                         run.scratch.take<double>(of.results()),
                                         run.scratch.take<double>(of.results())};
  cuda::look_at_chunks(look, run.stream);
  const cuda::RangeNormBackward pass{
      .channels = of.channels,
      .looked = look,
      .factor = sizes.factor(),
      .gamma = run.parameter(node, gamma),
      .r = saved<float>(run, node, saved_r),
      .a = run.scratch.take<float>(sizes.c),
      .d = run.scratch.take<float>(sizes.c),
      .slope = run.scratch.take<float>(sizes.c),
      .grad_gamma = run.gradient(node, gamma),
      .grad_beta = run.gradient(node, beta),
      .accumulate = node.grad_parameters[gamma] && run.accumulates(node, gamma)};
  cuda::finish_channels(pass, run.stream);
  auto* const dx = static_cast<float*>(run.address(node.grad_inputs[0]));
  if (dx == nullptr) return;
  apply(run, sizes, dz, {{.kind = StepKind::scale_shift, .a = pass.a, .b = pass.d}}, dx);
  const auto* const top = saved<std::int64_t>(run, node, saved_extremes);
  cuda::add_slopes({of, top, top + of.results(), pass.slope, dx}, run.stream);
}

}  // namespace octavo::device
