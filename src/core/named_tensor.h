// A tensor with its name: the unit of checkpoints, imports and exports.
#pragma once

#include <string>
#include <vector>

#include "octavo/tensor.h"

namespace octavo {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

using NamedTensors = std::vector<NamedTensor>;

}  // namespace octavo
