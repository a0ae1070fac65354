// Batch norm as a member of chains: src/ops/batch_norm.cpp with vectors that stay on the device.
#include "cuda/batch_norm.h"

#include "device/op_functions.h"
#include "ops/attributes.h"

namespace octavo::device {

namespace cuda = kernels::cuda;

namespace {

enum Parameters { gamma, beta };
enum States { running_mean, running_var };
enum Saved { saved_mean, saved_r };

float* saved(const Run& run, const Node& node, Saved which) {
  return node.saved.empty() ? nullptr : static_cast<float*>(run.address(node.saved[which]));
}

float* state(const Run& run, const Node& node, States which) {
  return run.parameters.state(node.states[which]);
}

struct BatchSums {
  const float* minus_pivot;
  DeviceChain::Sums sums;
};

/// From the product that made y where it has taken them.
BatchSums batch_sums(DeviceChain& chain) {
  if (const cuda::ConvSums* told = chain.told_sums()) return {told->minus_pivot, {told->sum, told->squares}};
  float* const minus_pivot = chain.channel_vector();
  cuda::take_pivots(chain.steps().first_pixel(), static_cast<int>(chain.channels()), minus_pivot,
                    chain.run().stream);
  return {minus_pivot, chain.shifted_squares(minus_pivot)};
}

/// Sums of the batch to z = a y + b.
void normalize_batch(DeviceChain& chain, const Node& node, float* a, float* b, float* mean, float* r) {
  Run& run = chain.run();
  const auto& norm = node.signature->as<BatchNorm>();
  const BatchSums batch = batch_sums(chain);
  cuda::finish_channels(
      cuda::BatchNormForward{.channels = static_cast<int>(chain.channels()),
                             .pixels = static_cast<double>(chain.pixels()),
                             .sum = batch.sums.v,
                             .squares = batch.sums.vx,
                             .minus_pivot = batch.minus_pivot,
                             .gamma = run.parameter(node, gamma),
                             .beta = run.parameter(node, beta),
                             .eps = norm.eps,
                             .momentum = static_cast<float>(norm.momentum),
                             .mean = mean,
                             .r = r,
                             .running_mean = node.repeated ? nullptr : state(run, node, running_mean),
                             .running_var = node.repeated ? nullptr : state(run, node, running_var),
                             .a = a,
                             .b = b},
      run.stream);
}

}  // namespace

void batch_norm_forward(DeviceChain& chain, const Node& node) {
  Run& run = chain.run();
  const int channels = static_cast<int>(chain.channels());
  float *a = chain.channel_vector(), *b = chain.channel_vector();
  float *mean = saved(run, node, saved_mean), *r = saved(run, node, saved_r);
  if (node.signature->phase == Phase::eval)
    cuda::finish_channels(cuda::BatchNormEvaluation{.channels = channels,
                                                    .gamma = run.parameter(node, gamma),
                                                    .beta = run.parameter(node, beta),
                                                    .running_mean = state(run, node, running_mean),
                                                    .running_var = state(run, node, running_var),
                                                    .eps = node.signature->as<BatchNorm>().eps,
                                                    .a = a,
                                                    .b = b},
                          run.stream);
  else if (node.repeated && mean != nullptr)
    cuda::finish_channels(cuda::BatchNormRepeated{channels, run.parameter(node, gamma),
                                                  run.parameter(node, beta), mean, r, a, b},
                          run.stream);
  else
    normalize_batch(chain, node, a, b, mean != nullptr ? mean : chain.channel_vector(),
                    r != nullptr ? r : chain.channel_vector());
  chain.steps().scale_shift(a, b);
}

void batch_norm_backward(DeviceChain& chain, const Node& node) {
  Run& run = chain.run();
  const kernels::FloatSource y = run.floats(node.inputs[0]);
  const float *mean = saved(run, node, saved_mean), *r = saved(run, node, saved_r);
  const float* const scale = run.parameter(node, gamma);
  const bool watches = chain.watches_samples();
  float* const a = chain.channel_vector();
  float* const looked = watches ? chain.channel_vector() : nullptr;
  const int channels = static_cast<int>(chain.channels());
  cuda::take_slopes({channels, scale, r, a, watches ? chain.watched_factors() : nullptr, looked}, run.stream);
  const DeviceChain::Sums sums = chain.sums(y, mean, looked);
  const cuda::BatchNormBackward pass{
      .channels = channels,
      .pixels = static_cast<double>(chain.pixels()),
      .sum = sums.v,
      .products = sums.vx,
      .gamma = scale,
      .mean = mean,
      .r = r,
      .a = a,
      .b = chain.channel_vector(),
      .d = chain.channel_vector(),
      .margin = watches ? chain.channel_vector() : nullptr,
      .grad_gamma = run.gradient(node, gamma),
      .grad_beta = run.gradient(node, beta),
      .accumulate = node.grad_parameters[gamma] && run.accumulates(node, gamma)};
  cuda::finish_channels(pass, run.stream);
  if (watches)
    cuda::widen_samples(pass, chain.watched_factors(), chain.sample_maxima(),
                        static_cast<int>(chain.steps().sizes().n), run.stream);
  chain.steps().combine(pass.a, pass.b, y, pass.d);
}

}  // namespace octavo::device
