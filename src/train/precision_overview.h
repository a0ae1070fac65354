// The resolved precision plan in a few lines, for the start of a run.
#pragma once

#include <string>

#include "exec/program.h"

namespace octavo {

/// One line per product and situation, forward first: the formats that policy and configuration ask for, what
/// was granted, by which kernel, for which layers and share of the product's multiply-adds, and why where it
/// differs.
std::string precision_overview(const Plan& plan, const Program& program);

}  // namespace octavo
