// Optimizers: FP32 master weights and state, updated in fixed order, so that results do not depend on
// threads.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/named_tensor.h"
#include "kernels.h"

namespace octavo {

/// What an optimizer knows of one parameter.
struct OptimizerParameter {
  std::string name;
  Shape shape;
  bool decay = true;  ///< weight decay applies; norm parameters and biases usually say no
  bool is_norm_or_bias = false;
  bool in_float = false;  ///< of a layer that stays in FP32: an integer optimizer updates it in float
};

/// One parameter's values for one step; index = position in the list given at construction.
struct ParameterUpdate {
  float* value = nullptr;
  const float* gradient = nullptr;
  double rate_factor = 1;  ///< multiplies the learning rate: a precision policy's, or the config's
};

/// What all parameters of one step share.
struct UpdateStep {
  double learning_rate = 0;
  double gradient_scale = 1;  ///< multiplies gradients first (clipping, mean over accumulated micro-steps)
  std::uint64_t seed = 0;     ///< with `step`, the key of stochastic rounding
  std::int64_t step = 0;
};

class Optimizer {
 public:
  explicit Optimizer(std::vector<OptimizerParameter> parameters) : parameters_(std::move(parameters)) {}
  virtual ~Optimizer() = default;

  const std::vector<OptimizerParameter>& parameters() const { return parameters_; }

  /// Once per step, before its update_range() calls.
  virtual void begin_step(std::span<const ParameterUpdate> /*updates*/, const UpdateStep& /*step*/,
                          const kernels::Parallel& /*parallel*/) {}

  /// Updates elements [begin, end) of parameter `index`; disjoint ranges may run at once.
  virtual void update_range(std::size_t index, const ParameterUpdate& update, const UpdateStep& step,
                            std::int64_t begin, std::int64_t end) = 0;

  /// The largest |value| of each row, one index of the first dimension (a vector is one row), as bits; a NaN
  /// is above all numbers. Empty for parameters that were not updated.
  using RowMaxima = std::vector<std::uint32_t>;

  /// begin_step() and every parameter in order, in chunks of whole rows. Parameters with a null gradient are
  /// skipped. Returns the maxima of each parameter, valid until the next step.
  std::span<const RowMaxima> step(std::span<const ParameterUpdate> updates, const UpdateStep& step,
                                  const kernels::Parallel& parallel);

  /// State as named tensors "<parameter>.<state>"; the tensors share storage with the optimizer.
  virtual NamedTensors state() const = 0;
  /// Takes state saved by the same optimizer; Errc::checkpoint lists missing, surplus and misshapen tensors.
  void load_state(const NamedTensors& saved);

 private:
  struct Chunk {
    std::size_t parameter;
    std::int64_t begin, end, row;  // elements; of a row
  };
  void update_chunk(const Chunk& chunk, const ParameterUpdate& update, const UpdateStep& step);
  std::vector<OptimizerParameter> parameters_;
  std::vector<Chunk> chunks_;
  std::vector<RowMaxima> maxima_;
};

/// A number that an optimizer takes from the config (switches are 0 or 1) and its allowed range.
struct OptimizerSetting {
  const char* name;
  double value;  ///< default
  double low, high;
  bool is_switch = false;
};

/// One line of optimizer_list.inc.
struct OptimizerEntry {
  const char* name;
  std::span<const OptimizerSetting> settings;
  std::unique_ptr<Optimizer> (*make)(const std::map<std::string, double>& settings,
                                     std::vector<OptimizerParameter> parameters);
  double smallest_rate = 0, largest_rate = 1e3;  ///< of the configuration
};

std::span<const OptimizerEntry> optimizer_entries();

/// Errc::config for an unknown optimizer or setting, or a value outside its range; settings not given take
/// defaults.
std::unique_ptr<Optimizer> make_optimizer(const std::string& name, std::map<std::string, double> settings,
                                          std::vector<OptimizerParameter> parameters);

}  // namespace octavo
