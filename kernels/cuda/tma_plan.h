// Which products take stages filled by TMA, and how their contraction is cut.
#pragma once

#include "conv_plan.h"

namespace octavo::kernels::cuda {

/// Empty, or why threads copy the stages of this plan of Family::wgmma.
std::string refuse_tma(const ConvPlan& plan);
/// How TMA fills the stages of a plan that it takes.
TmaSteps plan_tma(const ConvPlan& plan);

}  // namespace octavo::kernels::cuda
