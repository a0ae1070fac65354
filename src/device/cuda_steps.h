// Steps on an NVIDIA GPU: a step is one CUDA graph where it has the passes of the step before.
#pragma once

#include "train/step_runner.h"

namespace octavo::device {

/// Errc::resource where there is no GPU, Errc::config for what has no kernels there.
std::unique_ptr<StepRunner> make_cuda_steps(const StepRunnerParts& parts);

}  // namespace octavo::device
