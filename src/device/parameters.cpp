#include "device/parameters.h"

#include "core/check.h"

namespace octavo::device {

using kernels::cuda::NormChunk;

Parameters::Parameters(Memory& memory, const Config& config, Program& program, Optimizer& optimizer)
    : program_(program),
      optimizer_(optimizer),
      momentum_(static_cast<float>(config.optimizer().momentum)),
      weight_decay_(static_cast<float>(config.optimizer().weight_decay)),
      nesterov_(config.optimizer().nesterov),
      all_(program.parameters.size()),
      states_(program.states.size()) {
  require(config.optimizer().type == "sgd", Errc::config, "train.device: '", config.optimizer().type,
          "' has no kernels on the device; use optimizer.type=sgd or train.device=cpu");
  Region size;
  lay_out(size);
  block_ = Block(memory, "parameters, gradients and optimizer state", size.used());
  Region region(block_.data());
  lay_out(region);
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
  store();
}

void Parameters::lay_out(Region& region) {
  for (std::size_t i = 0; i < all_.size(); ++i) {
    const ParameterData& data = program_.parameters[i];
    One& one = all_[i];
    one.elements = data.value.elements();
    one.value = region.take<float>(one.elements);
    if (data.frozen) continue;
    one.gradient = region.take<float>(one.elements);
    if (momentum_ > 0) one.velocity = region.take<float>(one.elements);
  }
  for (std::size_t i = 0; i < states_.size(); ++i)
    states_[i] = region.take<float>(program_.states[i].value.elements());
}

/// copy(device pointer, host tensor) for all that a checkpoint holds.
template <class Copy>
void Parameters::each_tensor(const Copy& copy) const {
  NamedTensors velocities = optimizer_.state();
  for (std::size_t i = 0; i < all_.size(); ++i) {
    copy(all_[i].value, program_.parameters[i].value);
    if (all_[i].velocity != nullptr) copy(all_[i].velocity, velocities[i].tensor);
  }
  for (std::size_t i = 0; i < states_.size(); ++i) copy(states_[i], program_.states[i].value);
}

void Parameters::store() {
  each_tensor([](float* device, const Tensor& host) {
    check(cudaMemcpy(device, host.data(), static_cast<std::size_t>(host.bytes()), cudaMemcpyHostToDevice),
          "parameters to the device");
  });
}

void Parameters::fetch() {
  each_tensor([](const float* device, Tensor& host) {
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

void Parameters::launch_norm(kernels::cuda::StepScalars* step, cudaStream_t stream) const {
  kernels::cuda::gradient_norm(reinterpret_cast<const NormChunk*>(chunks_.data()), chunk_count_,
                               reinterpret_cast<double*>(sums_.data()), step, stream);
}

void Parameters::launch_update(const kernels::cuda::StepScalars* step, const double* rate_factors,
                               cudaStream_t stream) const {
  for (std::size_t i = 0; i < all_.size(); ++i) {
    const One& one = all_[i];
    if (one.gradient == nullptr) continue;
    kernels::cuda::update_sgd({.value = one.value,
                               .gradient = one.gradient,
                               .velocity = one.velocity,
                               .columns = one.elements,
                               .elements = one.elements,
                               .momentum = momentum_,
                               .decay = optimizer_.parameters()[i].decay ? weight_decay_ : 0.0f,
                               .nesterov = nesterov_,
                               .rate_factor = rate_factors + i},
                              step, stream);
  }
}

}  // namespace octavo::device
