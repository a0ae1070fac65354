// Steps on the CPU.
#pragma once

#include "train/step_runner.h"

namespace octavo {

std::unique_ptr<StepRunner> make_cpu_steps(const StepRunnerParts& parts);

}  // namespace octavo
