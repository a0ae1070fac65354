#include "device/parameters.h"

#include <cmath>

#include "core/check.h"
#include "core/stream.h"
#include "cuda/quantize.h"
#include "cuda/squeeze.h"

namespace octavo::device {

using kernels::cuda::NormChunk;

Parameters::Parameters(Memory& memory, const Config& config, Program& program, Optimizer& optimizer)
    : program_(program),
      optimizer_(optimizer),
      fixed_point_(config.optimizer().type == "fixed_point"),
      momentum_(config.optimizer().momentum),
      weight_decay_(static_cast<float>(config.optimizer().weight_decay)),
      nesterov_(config.optimizer().nesterov),
      all_(program.parameters.size()),
      states_(program.states.size()) {
  require(config.optimizer().type == "sgd" || fixed_point_, Errc::config, "train.device: '",
          config.optimizer().type,
          "' has no kernels on the device; use optimizer.type=sgd, fixed_point or train.device=cpu");
  block_ =
      block_of(memory, "parameters, gradients and optimizer state", [&](Region& region) { lay_out(region); });
  maxima_ = block_of(memory, "maxima of weights", [&](Region& region) { lay_out_maxima(region); });
  make_chunks(memory);
  store();
}

void Parameters::lay_out(Region& region) {
  const bool has_state = !optimizer_.state().empty();
  for (std::size_t i = 0; i < all_.size(); ++i) {
    const ParameterData& data = program_.parameters[i];
    One& one = all_[i];
    one.elements = one.columns = data.value.elements();
    one.value = region.take<float>(one.elements);
    if (data.frozen) continue;
    one.gradient = region.take<float>(one.elements);
    if (has_state) one.state = region.take<float>(one.elements);
  }
  for (std::size_t i = 0; i < states_.size(); ++i)
    states_[i] = region.take<float>(program_.states[i].value.elements());
}

// What an update tells of the weights of layers, and of gradients where it has a range.
void Parameters::lay_out_maxima(Region& region) {
  for (std::size_t i = 0; i < all_.size(); ++i) {
    const ParameterData& data = program_.parameters[i];
    One& one = all_[i];
    if (data.frozen) continue;
    if (fixed_point_) one.range = region.take<std::uint32_t>(1);
    if (data.layer < 0) continue;
    one.rows = data.value.shape()[0], one.columns = data.value.shape().back();
    one.row_max = region.take<std::uint32_t>(one.rows);
    one.column_max = region.take<std::uint32_t>(one.columns);
  }
}

void Parameters::make_chunks(Memory& memory) {
  std::vector<kernels::cuda::GradientPart> parts;
  for (const One& one : all_)
    if (one.gradient != nullptr) parts.push_back({one.gradient, one.elements});
  const std::vector<NormChunk> chunks = kernels::cuda::norm_chunks(parts);
  chunk_count_ = static_cast<int>(chunks.size());
  const auto chunk_bytes = static_cast<std::int64_t>(chunks.size() * sizeof(NormChunk));
  chunks_ = Block(memory, "gradient norm", chunk_bytes);
  sums_ = Block(memory, "gradient norm", static_cast<std::int64_t>(chunks.size() * sizeof(double)));
  check(cudaMemcpy(chunks_.data(), chunks.data(), static_cast<std::size_t>(chunk_bytes),
                   cudaMemcpyHostToDevice),
        "chunks of gradients");
}

/// copy(device pointer, host tensor) for all that a checkpoint holds.
template <class Copy>
void Parameters::each_tensor(const Copy& copy) const {
  NamedTensors of_optimizer = optimizer_.state();
  for (std::size_t i = 0; i < all_.size(); ++i) {
    copy(all_[i].value, program_.parameters[i].value);
    if (all_[i].state != nullptr) copy(all_[i].state, of_optimizer[i].tensor);
  }
  for (std::size_t i = 0; i < states_.size(); ++i) copy(states_[i], program_.states[i].value);
}

void Parameters::store() {
  each_tensor([](void* device, const Tensor& host) {
    check(cudaMemcpy(device, host.data(), static_cast<std::size_t>(host.bytes()), cudaMemcpyHostToDevice),
          "parameters to the device");
  });
}

void Parameters::fetch() {
  each_tensor([](const void* device, Tensor& host) {
    check(cudaMemcpy(host.data(), device, static_cast<std::size_t>(host.bytes()), cudaMemcpyDeviceToHost),
          "parameters from the device");
  });
}

void Parameters::fetch_gradients() {
  for (std::size_t i = 0; i < all_.size(); ++i) {
    if (all_[i].gradient == nullptr) continue;
    Tensor& host = program_.parameters[i].gradient;
    check(cudaMemcpy(host.data(), all_[i].gradient, static_cast<std::size_t>(host.bytes()),
                     cudaMemcpyDeviceToHost),
          "gradients from the device");
  }
}

const std::uint32_t* Parameters::find_largest(int parameter, Scratch& scratch, cudaStream_t stream) const {
  const One& one = at(parameter);
  auto* const bits = scratch.take<std::uint32_t>(1);
  check(cudaMemsetAsync(bits, 0, sizeof(*bits), stream), "clearing of a maximum");
  const auto columns = static_cast<int>(one.columns);
  kernels::cuda::largest_magnitudes({1, 1, static_cast<int>(one.elements / columns), columns, 1}, one.value,
                                    kernels::Granularity::tensor, bits, stream);
  return bits;
}

void Parameters::launch_squeeze(Scratch& scratch, cudaStream_t stream) const {
  for (const int parameter : program_.squeezed_parameters()) {
    const One& one = at(parameter);
    scratch.clear();
    kernels::cuda::squeeze_gradient({one.value, one.elements, find_largest(parameter, scratch, stream)},
                                    one.gradient, stream);
  }
}

void Parameters::launch_norm(kernels::cuda::StepScalars* step, cudaStream_t stream) const {
  kernels::cuda::gradient_norm(reinterpret_cast<const NormChunk*>(chunks_.data()), chunk_count_,
                               reinterpret_cast<double*>(sums_.data()), step, stream);
}

UpdateLists Parameters::list_updates(Memory& memory, const UpdateOrder& order) const {
  std::vector<kernels::cuda::SgdUpdate> in_float;
  std::vector<kernels::cuda::FixedPointUpdate> in_integers;
  for (std::size_t i = 0; i < all_.size(); ++i) {
    if (all_[i].gradient == nullptr) continue;
    if (fixed_point_ && !optimizer_.parameters()[i].in_float)
      in_integers.push_back(fixed_point(i, order));
    else
      in_float.push_back(sgd(i, order));
  }
  const auto list = [&](const auto& updates) {
    const std::span passes(updates);
    return DeviceList(memory, "lists of parameters", passes, kernels::cuda::update_blocks(passes));
  };
  return {list(in_float), list(in_integers)};
}

void Parameters::launch_update(const UpdateLists& lists, const kernels::cuda::StepScalars* step,
                               cudaStream_t stream) const {
  check(cudaMemsetAsync(maxima_.data(), 0, static_cast<std::size_t>(maxima_.bytes()), stream),
        "clearing of maxima");
  if (!lists.sgd.empty()) kernels::cuda::update_sgd(lists.sgd.list(), step, stream);
  if (!lists.fixed_point.empty()) kernels::cuda::update_fixed_point(lists.fixed_point.list(), step, stream);
}

kernels::cuda::SgdUpdate Parameters::sgd(std::size_t index, const UpdateOrder& order) const {
  const One& one = all_[index];
  const float* const row_factor = order.row_factors[index];
  return {.value = one.value,
          .gradient = one.gradient,
          .velocity = static_cast<float*>(one.state),
          .rows = one.rows,
          .columns = one.columns,
          .elements = one.elements,
          .momentum = static_cast<float>(momentum_),
          .decay = optimizer_.parameters()[index].decay ? weight_decay_ : 0.0f,
          .nesterov = nesterov_,
          .rate_factor = order.rate_factors + index,
          .row_max = one.row_max,
          .row_factor = row_factor,
          .column_max = row_factor != nullptr ? one.column_max : nullptr};
}

kernels::cuda::FixedPointUpdate Parameters::fixed_point(std::size_t index, const UpdateOrder& order) const {
  const One& one = all_[index];
  const OptimizerParameter& parameter = optimizer_.parameters()[index];
  const float* const row_factor = order.row_factors[index];
  return {.value = one.value,
          .gradient = one.gradient,
          .accumulator = static_cast<std::int32_t*>(one.state),
          .rows = one.rows,
          .columns = one.columns,
          .elements = one.elements,
          .momentum = std::llrint(momentum_ * 4),
          .decay = parameter.decay ? weight_decay_ : 0.0f,
          .is_norm_or_bias = parameter.is_norm_or_bias,
          .random = {order.counter, stream_of(parameter.name + " update")},
          .rate_factor = order.rate_factors + index,
          .range = one.range,
          .row_max = one.row_max,
          .row_factor = row_factor,
          .column_max = row_factor != nullptr ? one.column_max : nullptr};
}

}  // namespace octavo::device
