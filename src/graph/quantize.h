// The quantize pass: decides product by product what runs in integers, and puts quantize nodes on the edges.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "precision/slots.h"

namespace octavo {

using DispatchLog = std::function<void(const std::string&)>;

/// The integer kernel that a product of these sizes and formats runs in, or null: the first of the list that
/// takes it.
using KernelChoice = std::function<const kernels::ConvS8Candidate*(const kernels::ConvShape&,
                                                                   kernels::Product, const ProductFormat&)>;

/// Plans the three products of every layer, adds one quantize node per (edge, slot, geometry) that writes all
/// views its readers need, and disconnects float operands that nobody reads any more. `layers` in order of
/// Node::layer.
void quantize(Graph& graph, const std::vector<Layer>& layers, SlotTable& slots, const KernelChoice& choice,
              const DispatchLog& log);

/// By value: never below 0, so that integers may be unsigned.
std::vector<bool> non_negative_values(const Graph& graph);

kernels::ConvShape kernel_shape(const ProductShape& shape);

}  // namespace octavo
