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
#include "core/parameter_maxima.h"
#include "fetch.h"
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
  double rate_factor = 1;             ///< multiplies the learning rate: a precision policy's, or the config's
  const float* row_factor = nullptr;  ///< of each index of the first dimension, for maxima->columns
  ParameterMaxima* maxima = nullptr;  ///< filled with those of the new values; columns only with factors
  double* squares = nullptr;          ///< filled with the sums of the gradient's chunks (GradientNorm::told);
                                      ///< where tells_squares()
  bool by_segments = false;           ///< a SegmentUpdate does it: update_all() leaves it alone
  std::int64_t ahead = kernels::fetch_distance;  ///< elements from those of a call to those that come next
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

  /// begin_step() and update_all().
  void step(std::span<const ParameterUpdate> updates, const UpdateStep& step,
            const kernels::Parallel& parallel);

  /// Every parameter in order, in chunks of whole rows. Parameters with a null gradient are skipped.
  void update_all(std::span<const ParameterUpdate> updates, const UpdateStep& step,
                  const kernels::Parallel& parallel);

  /// Whether rows of such a parameter make whole chunks of squares, few enough of them for all threads to
  /// work.
  static bool tells_squares(const Shape& shape);

  /// State as named tensors "<parameter>.<state>"; the tensors share storage with the optimizer.
  virtual NamedTensors state() const = 0;
  /// Takes state saved by the same optimizer; Errc::checkpoint lists missing, surplus and misshapen tensors.
  void load_state(const NamedTensors& saved);

 private:
  struct Chunk {
    std::size_t parameter;
    std::int64_t begin, end;  // elements
    std::int64_t columns_at;  // of its maxima in columns_; -1: none
  };
  void add_chunks(std::size_t parameter, const ParameterUpdate& update);
  void update_chunk(const Chunk& chunk, const ParameterUpdate& update, const UpdateStep& step);
  void note_maxima(const Chunk& chunk, const ParameterUpdate& update, std::int64_t begin, std::int64_t end);
  void join_columns(std::span<const ParameterUpdate> updates) const;
  std::vector<OptimizerParameter> parameters_;
  std::vector<Chunk> chunks_;
  std::vector<std::uint32_t> columns_;
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
