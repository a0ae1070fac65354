// precision.strict: a product that runs in float without the configuration saying so is an error.
#pragma once

#include "exec/program.h"

namespace octavo {

/// Errc::config listing each product of the plan that runs in float although neither the policy `fp32` nor
/// precision.keep_fp32 nor precision.products asks for it.
void require_asked_precision(const Plan& plan, const Program& program, const PrecisionSettings& settings);

}  // namespace octavo
