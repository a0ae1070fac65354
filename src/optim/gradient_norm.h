// The global gradient norm and the factor that clips it.
#pragma once

#include <span>

#include "kernels.h"

namespace octavo {

/// Square root of the sum of squares over all gradients: FP32 inside fixed tiles, FP64 across, in fixed
/// order; the result does not depend on threads. Inf or NaN in a gradient makes it Inf or NaN.
double global_gradient_norm(std::span<const std::span<const float>> gradients,
                            const kernels::Parallel& parallel);

/// Factor for the gradients so that their norm is at most `max_norm`: min(1, max_norm / (norm + 1e-6)), the
/// form of PyTorch's clip_grad_norm_. Errc::numeric when the norm is not finite, Errc::config when max_norm
/// <= 0.
double clip_factor(double norm, double max_norm);

}  // namespace octavo
