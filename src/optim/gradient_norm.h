// The global gradient norm and the factor that clips it.
#pragma once

#include <span>
#include <vector>

#include "kernels.h"

namespace octavo {

/// The global norm: square root of the sum of squares over all gradients, FP32 inside fixed tiles, FP64
/// across, in fixed order, whatever the threads. Inf or NaN in a gradient makes it Inf or NaN. Its lists
/// serve again: begin(), add() for each gradient, norm().
class GradientNorm {
 public:
  void begin() { chunks_.clear(); }
  void add(std::span<const float> gradient);
  double norm(const kernels::Parallel& parallel);

 private:
  std::vector<std::span<const float>> chunks_;
  std::vector<double> sums_;
};

/// Factor for the gradients so that their norm is at most `max_norm`: min(1, max_norm / (norm + 1e-6)), the
/// form of PyTorch's clip_grad_norm_. Errc::numeric when the norm is not finite, Errc::config when max_norm
/// <= 0.
double clip_factor(double norm, double max_norm);

}  // namespace octavo
