// The integer products on the device.
#pragma once

#include <cuda_runtime_api.h>

#include "conv_plan.h"

namespace octavo::kernels::cuda {

enum class Family : std::uint8_t { mma, dp4a };
const char* family_name(Family family);
/// mma, or what OCTAVO_CUDA_KERNELS names; throws std::runtime_error for another word.
Family active_family();

/// Sizes of a plan for a family: dp4a has the small tile alone.
ConvOptions options_for(Family family, ConvOptions options);

/// Runs the product on `stream`, as ConvArgs says. All pointers are of the device, A and B in the layouts of
/// layouts.h with planes plane_bytes() apart and aligned to 16 bytes, `scratch` of plan.workspace_bytes().
/// Sample classes are not taken. Throws std::invalid_argument for such arguments, std::runtime_error for
/// errors of CUDA.
void run_conv(const ConvPlan& plan, const ConvArgs& args, Family family, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
