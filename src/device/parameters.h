// Parameters, gradients, optimizer state and states of layers on the device.
#pragma once

#include <vector>

#include "cuda/update.h"
#include "device/memory.h"
#include "exec/program.h"
#include "optim/optimizer.h"

namespace octavo::device {

class Parameters {
 public:
  /// Errc::config for an optimizer that the device does not have.
  Parameters(Memory& memory, const Config& config, Program& program, Optimizer& optimizer);

  float* value(int parameter) const { return all_[static_cast<std::size_t>(parameter)].value; }
  float* gradient(int parameter) const { return all_[static_cast<std::size_t>(parameter)].gradient; }
  float* state(int index) const { return states_[static_cast<std::size_t>(index)]; }

  void store();  ///< host to device
  void fetch();  ///< device to host, with the optimizer's state
  void fetch_gradients();

  /// The norm of all gradients, and the step of all parameters. rate_factors: one per parameter, of the
  /// device.
  void launch_norm(kernels::cuda::StepScalars* step, cudaStream_t stream) const;
  void launch_update(const kernels::cuda::StepScalars* step, const double* rate_factors,
                     cudaStream_t stream) const;

 private:
  struct One {
    float *value = nullptr, *gradient = nullptr, *velocity = nullptr;
    std::int64_t elements = 0;
  };
  void lay_out(Region& region);
  template <class Copy>
  void each_tensor(const Copy& copy) const;

  Program& program_;
  Optimizer& optimizer_;
  float momentum_, weight_decay_;
  bool nesterov_;
  std::vector<One> all_;
  std::vector<float*> states_;
  Block block_, chunks_, sums_;
  int chunk_count_ = 0;
};

}  // namespace octavo::device
