// Sizes that no machine holds are refused here, with the layer that asks for them, before anything is
// allocated.
#pragma once

#include "exec/plan.h"

namespace octavo {

/// Errc::resource when a value, or all parameters with their gradients together, are larger than the memory.
/// `graph` is a forward graph with types; `copies` is how often a parameter that learns is held.
void require_sizes_fit(const Graph& graph, int copies = 2);

/// Errc::resource when the plan's arena and `other` bytes (parameters, gradients) are larger than the memory.
void require_arena_fits(const Plan& plan, std::int64_t other);

}  // namespace octavo
