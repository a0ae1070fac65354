// Integer kernels of the device as candidates for a plan.
#pragma once

#include "graph/quantize.h"

namespace octavo::device {

/// Every integer product in kernels/cuda. Errc::config naming the product where they do not take it.
KernelChoice kernel_choice();

}  // namespace octavo::device
