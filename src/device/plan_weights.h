// One integer copy of a parameter, as a plan keeps it.
#pragma once

#include "cuda/weight_passes.h"
#include "device/slots.h"

namespace octavo::device {

using kernels::cuda::KnownMaxima;

/// Pointers are of the device.
struct WeightMemory {
  int parameter = 0;
  SlotMemory* slot = nullptr;
  Fold fold = Fold::none;
  const SlotMemory* gradient = nullptr;  // whose factors or scales it takes over
  kernels::cuda::WeightLayout layout;
  kernels::cuda::WeightCopy kind = kernels::cuda::WeightCopy::forward;
  kernels::cuda::WeightAxis axis = kernels::cuda::WeightAxis::tensor;
  std::int8_t* copy = nullptr;
  std::int64_t bytes = 0;                  // of all planes
  bool first = true;                       // of its slot: makes the scales, and counts
  const float* squeezed = nullptr;         // by tanh: what is quantized in place of the parameter
  KnownMaxima known = KnownMaxima::none;   // set by the host before a micro-step
  KnownMaxima* known_by_device = nullptr;  // the same, or that the host gives the ranges

  const float* factor() const {
    return fold == Fold::factors ? gradient->factor : fold == Fold::scales ? gradient->scale : nullptr;
  }
};

}  // namespace octavo::device
