// Formats that several policies share.
#pragma once

#include "octavo/precision.h"

namespace octavo {

/// All three products in integers, one scale per tensor: W and X to nearest, G stochastic.
inline LayerFormats tensor_formats(const BitSettings& bits) {
  const SlotFormat w{static_cast<int>(bits.weight)}, x{static_cast<int>(bits.activation)};
  const SlotFormat g{static_cast<int>(bits.gradient), ScaleGranularity::tensor, RoundingMode::stochastic};
  return {{true, x, w}, {true, g, w}, {true, x, g}};
}

}  // namespace octavo
