// Weights that are squeezed before they are quantized (SlotFormat::tanh).
#pragma once

#include <cstdint>

namespace octavo {

/// out = tanh(w) / max |tanh(w)|, `count` values; zeros where all are.
void squeeze_weights(const float* w, std::int64_t count, float* out);

/// The gradient of w from that of the squeezed weights, in place: times (1 - tanh(w)^2) / max |tanh(w)|, the
/// maximum taken as a constant.
void squeeze_gradient(const float* w, std::int64_t count, float* gradient);

}  // namespace octavo
