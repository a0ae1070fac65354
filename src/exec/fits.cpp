#include "exec/fits.h"

#include <algorithm>

#include "core/check.h"
#include "core/memory.h"

namespace octavo {
namespace {

std::string memory_text(std::int64_t limit) { return concat("the memory here is ", bytes_text(limit)); }

std::string writer_of(const Graph& graph, ValueId id) {
  for (const Node& node : graph.nodes) {
    const std::vector<ValueId> made = writes(node);
    if (std::find(made.begin(), made.end(), id) != made.end()) return label(node);
  }
  return concat("input '", graph.value(id).name, "' ");
}

std::string reader_of(const Graph& graph, int parameter) {
  for (const Node& node : graph.nodes)
    if (std::find(node.parameters.begin(), node.parameters.end(), parameter) != node.parameters.end())
      return label(node);
  return "";
}

void require_values_fit(const Graph& graph, std::int64_t limit) {
  for (std::size_t id = 0; id < graph.values.size(); ++id) {
    const TensorType& type = graph.values[id].type;
    if (type.bytes() <= limit) continue;
    fail(Errc::resource, writer_of(graph, static_cast<ValueId>(id)), "'", graph.values[id].name, "' ",
         type.shape.str(), " takes ", bytes_text(type.bytes()), "; ", memory_text(limit));
  }
}

}  // namespace

void require_sizes_fit(const Graph& graph, int copies) {
  const std::int64_t limit = memory_limit();
  require_values_fit(graph, limit);
  std::int64_t all = 0, most = 0;
  int largest = -1;
  for (std::size_t i = 0; i < graph.parameters.size(); ++i) {
    const Parameter& parameter = graph.parameters[i];
    std::int64_t bytes = 0;
    for (int copy = 0; copy < (parameter.frozen ? 1 : copies); ++copy)
      bytes = saturating_add(bytes, TensorType{DType::f32, parameter.spec.shape}.bytes());
    all = saturating_add(all, bytes);
    if (bytes <= most) continue;
    most = bytes;
    largest = static_cast<int>(i);
  }
  if (all <= limit) return;
  const Parameter& parameter = graph.parameters[static_cast<std::size_t>(largest)];
  fail(Errc::resource, reader_of(graph, largest), "parameters, gradients",
       copies > 2 ? " and optimizer state" : "", " take ", bytes_text(all), ", most of all '", parameter.name,
       "' ", parameter.spec.shape.str(), " with ", bytes_text(most), "; ", memory_text(limit));
}

void require_arena_fits(const Plan& plan, std::int64_t other) {
  const std::int64_t all = saturating_add(plan.arena_bytes, other), limit = memory_limit();
  if (all <= limit) return;
  std::size_t largest = 0;
  for (std::size_t id = 0; id < plan.graph.values.size(); ++id)
    if (plan.offsets[id] >= 0 && value_bytes(plan.graph.values[id]) > value_bytes(plan.graph.values[largest]))
      largest = id;
  const Value& value = plan.graph.values[largest];
  fail(Errc::resource, writer_of(plan.graph, static_cast<ValueId>(largest)),
       "activations and gradients take ", bytes_text(plan.arena_bytes), " beside ", bytes_text(other),
       " of parameters, most of all '", value.name, "' ", value.type.shape.str(), " with ",
       bytes_text(value_bytes(value)), "; ", memory_text(limit),
       "; lower data.batch or name blocks in train.recompute");
}

}  // namespace octavo
