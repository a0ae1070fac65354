// Attributes of ops that run on more than one device.
#pragma once

#include "octavo/op.h"

namespace octavo {

struct BatchNorm : Attributes {
  double momentum, eps;
  bool zero_gamma;
};

struct CrossEntropy : Attributes {
  double label_smoothing;
};

}  // namespace octavo
