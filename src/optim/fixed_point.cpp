// Stochastic gradient descent in integers, after Yang et al., "Training high-performance and large-scale deep
// neural networks with full 8-bit integers" (WAGEUBN), Neural Networks 2020. Integers and their units:
//   weight       W   24 bits, 2^-23; norm parameters and biases 25 bits, up to 2
//   gradient     G   2^-14: floor(128 g / R + u) within +-127, R = 2^round(log2 max|g|) over the tensor and u
//                    uniform in [0, 1); of norm parameters and biases round(2^14 g), 15 bits
//   momentum     m   3 bits, 1/4;   accumulator A   13 bits, 2^-12;   learning rate l   10 bits, 2^-9
//   S = m A + G,   W = W - l S,   A = round(S)
// A product of two units is the unit that it is added to (m A: 2^-14, l S: 2^-23), so nothing is rounded but
// G, A and l. Parameters are floats that hold W 2^-23 exactly; g has the weight decay in it. Layers that stay
// in FP32 are updated in float, with the same m.
#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "core/stream.h"
#include "optim/optimizer.h"

namespace octavo {
namespace {

constexpr OptimizerSetting settings[] = {
    {"momentum", 0.25, 0, 1},
    {"weight_decay", 0, 0, 1e3},
};

constexpr std::int64_t weight_unit = 1 << 23, gradient_unit = 1 << 14, rate_unit = 1 << 9, momentum_unit = 4;
constexpr std::int64_t most_weight = weight_unit - 1, most_norm = 2 * weight_unit - 1;
constexpr std::int64_t most_accumulator = (1 << 12) - 1, most_gradient = 127;

/// The gradient of one parameter in the step in progress.
struct Gradient {
  float decay, scale;
  double inverse_range;  // 1 / R; 0 where all gradients are
  kernels::RandomKey key;

  float at(const ParameterUpdate& update, std::int64_t i) const {
    return update.gradient[i] * scale + decay * update.value[i];
  }
  std::int64_t of_weight(float g, std::int64_t i) const {
    const double u = kernels::random_uniform(key, static_cast<std::uint32_t>(i));
    return std::clamp<std::int64_t>(std::llrint(std::floor(128 * inverse_range * g + u)), -most_gradient,
                                    most_gradient);
  }
  static std::int64_t of_norm(float g) {
    const double limit = gradient_unit - 1;
    return std::llrint(std::clamp(static_cast<double>(g) * gradient_unit, -limit, limit));
  }
};

class FixedPoint final : public Optimizer {
 public:
  FixedPoint(const std::map<std::string, double>& values, std::vector<OptimizerParameter> list)
      : Optimizer(std::move(list)), decay_(static_cast<float>(values.at("weight_decay"))) {
    const double momentum = values.at("momentum") * momentum_unit;
    require(momentum == std::nearbyint(momentum) && momentum < momentum_unit, Errc::config,
            "optimizer.momentum: ", values.at("momentum"),
            " has no place in the 3 bits of 'fixed_point': 0, 0.25 (the method's own), 0.5 or 0.75");
    momentum_ = std::llrint(momentum);
    for (const OptimizerParameter& p : parameters())
      accumulator_.push_back({p.name + ".accumulator",
                              p.in_float ? Tensor::zeros(p.shape) : Tensor::zeros(p.shape, DType::s32)});
  }

  void begin_step(std::span<const ParameterUpdate> updates, const UpdateStep& step,
                  const kernels::Parallel& parallel) override {
    gradients_.resize(updates.size());
    parallel(std::ssize(updates), [&](std::int64_t number) {
      const auto index = static_cast<std::size_t>(number);
      if (updates[index].gradient == nullptr) return;
      const OptimizerParameter& p = parameters()[index];
      Gradient& g = gradients_[index];
      g = {p.decay ? decay_ : 0.0f, static_cast<float>(step.gradient_scale), 0,
           kernels::random_key(step.seed, static_cast<std::uint64_t>(step.step),
                               stream_of(p.name + " update"))};
      float largest = 0;
      for (std::int64_t i = 0; i < p.shape.elements(); ++i)
        largest = std::max(largest, std::fabs(g.at(updates[index], i)));
      if (largest > 0) g.inverse_range = std::exp2(-std::round(std::log2(double{largest})));
    });
  }

  void update_range(std::size_t index, const ParameterUpdate& update, const UpdateStep& step,
                    std::int64_t begin, std::int64_t end) override {
    const OptimizerParameter& p = parameters()[index];
    const double rate = step.learning_rate * update.rate_factor;
    if (p.in_float) return update_float(index, update, static_cast<float>(rate), begin, end);
    const std::int64_t l = std::llrint(rate * rate_unit), limit = p.is_norm_or_bias ? most_norm : most_weight;
    const Gradient& gradient = gradients_[index];
    std::int32_t* accumulator = accumulator_[index].tensor.as<std::int32_t>().data();
    for (std::int64_t i = begin; i < end; ++i) {
      const float g = gradient.at(update, i);
      const std::int64_t sum =
          momentum_ * accumulator[i] + (p.is_norm_or_bias ? Gradient::of_norm(g) : gradient.of_weight(g, i));
      const std::int64_t weight = std::llrint(static_cast<double>(update.value[i]) * weight_unit) - l * sum;
      update.value[i] =
          static_cast<float>(static_cast<double>(std::clamp(weight, -limit, limit)) / weight_unit);
      const std::int64_t rounded = std::llrint(static_cast<double>(sum) / 4);  // 2^-14 to 2^-12
      accumulator[i] = static_cast<std::int32_t>(std::clamp(rounded, -most_accumulator, most_accumulator));
    }
  }

  NamedTensors state() const override { return accumulator_; }

 private:
  void update_float(std::size_t index, const ParameterUpdate& update, float rate, std::int64_t begin,
                    std::int64_t end) {
    const float momentum = static_cast<float>(momentum_) / momentum_unit;
    float* velocity = accumulator_[index].tensor.as<float>().data();
    for (std::int64_t i = begin; i < end; ++i) {
      velocity[i] = momentum * velocity[i] + gradients_[index].at(update, i);
      update.value[i] = update.value[i] - rate * velocity[i];
    }
  }

  std::int64_t momentum_ = 0;
  float decay_;
  NamedTensors accumulator_;
  std::vector<Gradient> gradients_;  // of the step in progress, by parameter
};

std::unique_ptr<Optimizer> make(const std::map<std::string, double>& values,
                                std::vector<OptimizerParameter> list) {
  return std::make_unique<FixedPoint>(values, std::move(list));
}

}  // namespace

OptimizerEntry fixed_point_optimizer() {
  return {"fixed_point", settings, make, 1.0 / rate_unit, 1023.0 / rate_unit};
}

}  // namespace octavo
