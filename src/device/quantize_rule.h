// How a slot's values become integers, for the kernels.
#pragma once

#include "cuda/slots.h"
#include "device/slots.h"
#include "exec/program.h"

namespace octavo::device {

inline kernels::Grid grid_of(const Slot& slot) { return static_cast<kernels::Grid>(slot.format.grid); }

inline float qmax_of(const Slot& slot) { return static_cast<float>(largest_integer(slot.format)); }

inline kernels::cuda::QuantizeRule rule_of(const Slot& slot) {
  const float qmax = qmax_of(slot);
  return {.lowest = slot.format.unsigned_ok ? 0.0f : -qmax,
          .qmax = qmax,
          .planes = plane_count(slot.format.bits),
          .stochastic = slot.format.rounding == RoundingMode::stochastic,
          .grid = grid_of(slot)};
}

/// Without the ranges.
inline kernels::cuda::SlotScales slot_scales(const Slot& slot, const SlotMemory& of) {
  return {.count = static_cast<int>(of.ranges_count),
          .qmax = qmax_of(slot),
          .power_of_two = slot.format.power_of_two,
          .grid = grid_of(slot),
          .scale = of.scale,
          .inverse = of.inverse,
          .largest = of.largest};
}

}  // namespace octavo::device
