// Tensor maps: what TMA knows of the operands of a product.
#pragma once

#include <cuda.h>

#include "tma_steps.h"

namespace octavo::kernels::cuda {

struct ConvPlan;

/// Parameters of a kernel whose stages TMA fills.
struct ConvTma {
  CUtensorMap a[most_tma_classes];  // of each class of pixels; those that read nothing have none
  CUtensorMap b;
  TmaSteps steps;
};

/// Of a plan with by_tma() and of operands at these addresses of the device: work of the host alone, so that
/// it may be done while a stream is captured. Throws std::runtime_error, beginning with the plan's name,
/// where the driver lacks the functions or refuses a map.
ConvTma make_tensor_maps(const ConvPlan& plan, const void* a, const void* b);

}  // namespace octavo::kernels::cuda
