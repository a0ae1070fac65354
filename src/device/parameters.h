// Parameters, gradients, optimizer state and states of layers on the device.
#pragma once

#include <vector>

#include "cuda/fixed_point.h"
#include "cuda/update.h"
#include "device/device_list.h"
#include "exec/program.h"
#include "optim/optimizer.h"

namespace octavo::device {

/// What changes from step to step, in memory of the device.
struct UpdateOrder {
  const kernels::cuda::StepCounter* counter;
  const double* rate_factors;                 // one for each parameter
  std::span<const float* const> row_factors;  // the same: factors for maxima of columns, or null
};

/// The steps of all parameters, by what updates them.
struct UpdateLists {
  DeviceList<kernels::cuda::SgdUpdate> sgd;
  DeviceList<kernels::cuda::FixedPointUpdate> fixed_point;
};

class Parameters {
 public:
  /// Errc::config for an optimizer that the device does not have.
  Parameters(Memory& memory, const Config& config, Program& program, Optimizer& optimizer);

  float* value(int parameter) const { return at(parameter).value; }
  float* gradient(int parameter) const { return at(parameter).gradient; }
  float* state(int index) const { return states_[static_cast<std::size_t>(index)]; }
  /// Of the new values after an update that has known the rows' factors; null: of no weights.
  const std::uint32_t* row_maxima(int parameter) const { return at(parameter).row_max; }
  const std::uint32_t* column_maxima(int parameter) const { return at(parameter).column_max; }

  void store();  ///< host to device
  void fetch();  ///< device to host, with the optimizer's state
  void fetch_gradients();

  /// Bits of the largest |w| of a parameter, found by a pass; they lie in the scratch.
  const std::uint32_t* find_largest(int parameter, Scratch& scratch, cudaStream_t stream) const;
  /// The gradients of weights that are squeezed by tanh, from those of the squeezed ones.
  void launch_squeeze(Scratch& scratch, cudaStream_t stream) const;
  UpdateLists list_updates(Memory& memory, const UpdateOrder& order) const;
  /// The norm of all gradients, and the step of all parameters.
  void launch_norm(kernels::cuda::StepScalars* step, cudaStream_t stream) const;
  void launch_update(const UpdateLists& lists, const kernels::cuda::StepScalars* step,
                     cudaStream_t stream) const;

 private:
  struct One {
    float *value = nullptr, *gradient = nullptr;
    void* state = nullptr;  // of the optimizer: velocity, or an integer accumulator
    std::int64_t elements = 0, rows = 1, columns = 1;
    std::uint32_t *row_max = nullptr, *column_max = nullptr, *range = nullptr;
  };
  const One& at(int parameter) const { return all_[static_cast<std::size_t>(parameter)]; }
  void lay_out(Region& region);
  void lay_out_maxima(Region& region);
  void make_chunks(Memory& memory);
  kernels::cuda::SgdUpdate sgd(std::size_t index, const UpdateOrder& order) const;
  kernels::cuda::FixedPointUpdate fixed_point(std::size_t index, const UpdateOrder& order) const;
  template <class Copy>
  void each_tensor(const Copy& copy) const;

  Program& program_;
  Optimizer& optimizer_;
  bool fixed_point_;
  double momentum_;
  float weight_decay_;
  bool nesterov_;
  std::vector<One> all_;
  std::vector<float*> states_;
  Block block_, maxima_, chunks_, sums_;
  int chunk_count_ = 0;
};

}  // namespace octavo::device
