// Recomputation by block: blocks are named as in model files, "stage2.0" is every node below that path.
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"

namespace octavo {

/// Errc::config when a name or glob is no block of this model.
void require_blocks(const Graph& graph, const std::vector<std::string>& patterns);

/// Drops what the nodes of each block leave for the backward pass, and runs those nodes again before the
/// first backward node that reads it. Of two blocks, one inside the other, the outer one counts. The last
/// pass, on a graph that is quantized and fused: a node that runs again is the same node on the same inputs.
void recompute(Graph& graph, const std::vector<std::string>& patterns);

}  // namespace octavo
