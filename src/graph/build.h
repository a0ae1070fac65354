// From the expanded model file to the graph.
#pragma once

#include "config/model_language.h"
#include "graph/graph.h"

namespace octavo {

/// Resolves names to values and op types to OpDefs. Errc::config lists every problem with its place: unknown
/// ops, wrong numbers of inputs, attributes that are missing, out of range or unknown.
Graph build_graph(const ModelDescription& model);

/// The same with the problems noted: a node that failed is left out, its values have no producer.
Graph build_graph(const ModelDescription& model, Problems& problems);

}  // namespace octavo
