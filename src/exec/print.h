// The lowered graph for people: text, and dot for Graphviz.
#pragma once

#include <string>

#include "exec/plan.h"
#include "precision/slots.h"

namespace octavo {

/// One line per node in order of execution: what it writes (shape, format, views, bytes) and which kernel
/// runs.
std::string print_text(const Plan& plan, const SlotTable& slots);
std::string print_dot(const Plan& plan, const SlotTable& slots);

}  // namespace octavo
