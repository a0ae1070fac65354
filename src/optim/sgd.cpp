// Stochastic gradient descent with momentum, Nesterov momentum and L2 weight decay, as defined by
// torch.optim.SGD (dampening 0), after Sutskever et al., "On the importance of initialization and momentum",
// 2013.
#include "optim/optimizer.h"

#include <algorithm>

#include "clones.h"
#include "core/check.h"
#include "fetch.h"

namespace octavo {
namespace {

constexpr OptimizerSetting settings[] = {
    {"momentum", 0.9, 0, 1},
    {"weight_decay", 0, 0, 1e3},
    {"nesterov", 0, 0, 1, true},
};

/// Factors of one update, rounded to float once.
struct Factors {
  float rate, momentum, decay, scale;
};

// Plain multiply then add: the build forbids contraction, so all machines give the same floats. The three
// forms are separate loops so that each is one vectorizable pass.
OCTAVO_CLONES void plain_update(const Factors& f, float* value, const float* gradient, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = gradient[i] * f.scale + f.decay * value[i];
    value[i] = value[i] - f.rate * g;
  }
}

OCTAVO_CLONES void momentum_update(const Factors& f, float* __restrict value,
                                   const float* __restrict gradient, float* __restrict velocity,
                                   std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = gradient[i] * f.scale + f.decay * value[i];
    const float v = f.momentum * velocity[i] + g;
    velocity[i] = v;
    value[i] = value[i] - f.rate * v;
  }
}

OCTAVO_CLONES void nesterov_update(const Factors& f, float* __restrict value,
                                   const float* __restrict gradient, float* __restrict velocity,
                                   std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = gradient[i] * f.scale + f.decay * value[i];
    const float v = f.momentum * velocity[i] + g;
    velocity[i] = v;
    value[i] = value[i] - f.rate * (g + f.momentum * v);
  }
}

class Sgd final : public Optimizer {
 public:
  Sgd(const std::map<std::string, double>& values, std::vector<OptimizerParameter> list)
      : Optimizer(std::move(list)),
        momentum_(static_cast<float>(values.at("momentum"))),
        decay_(static_cast<float>(values.at("weight_decay"))),
        nesterov_(values.at("nesterov") != 0) {
    require(!nesterov_ || momentum_ > 0, Errc::config, "optimizer.nesterov: needs a momentum above 0");
    if (momentum_ == 0) return;
    // Starting from zero equals PyTorch's start from the first gradient, because dampening is 0.
    for (const OptimizerParameter& p : parameters()) {
      velocity_.push_back({p.name + ".momentum", Tensor::zeros(p.shape)});
    }
  }

  void update_range(std::size_t index, const ParameterUpdate& update, const UpdateStep& step,
                    std::int64_t begin, std::int64_t end) override {
    const Factors factors{static_cast<float>(step.learning_rate * update.rate_factor), momentum_,
                          parameters()[index].decay ? decay_ : 0.0f, static_cast<float>(step.gradient_scale)};
    float* velocity = momentum_ > 0 ? velocity_[index].tensor.as<float>().data() : nullptr;
    for (std::int64_t at = begin; at < end; at += kernels::fetch_block)
      update_block(factors, update.value + at, update.gradient + at,
                   velocity != nullptr ? velocity + at : nullptr, std::min(kernels::fetch_block, end - at),
                   update.ahead);
  }

  NamedTensors state() const override { return velocity_; }

 private:
  void update_block(const Factors& f, float* value, const float* gradient, float* velocity, std::int64_t n,
                    std::int64_t ahead) const {
    kernels::fetch_ahead(value, ahead);
    kernels::fetch_ahead(gradient, ahead);
    if (velocity == nullptr) return plain_update(f, value, gradient, n);
    kernels::fetch_ahead(velocity, ahead);
    (nesterov_ ? nesterov_update : momentum_update)(f, value, gradient, velocity, n);
  }

  float momentum_, decay_;
  bool nesterov_;
  NamedTensors velocity_;  // empty without momentum
};

std::unique_ptr<Optimizer> make(const std::map<std::string, double>& values,
                                std::vector<OptimizerParameter> list) {
  return std::make_unique<Sgd>(values, std::move(list));
}

}  // namespace

OptimizerEntry sgd_optimizer() { return {"sgd", settings, make}; }

}  // namespace octavo
