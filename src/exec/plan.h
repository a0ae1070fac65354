// A plan: one program bound to input sizes and a phase, with kernels chosen and every buffer placed.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "conv_f32.h"
#include "graph/graph.h"
#include "weight_pass.h"

namespace octavo {

/// Kernels of one product of one node.
struct ProductRun {
  std::unique_ptr<kernels::ConvS8> s8;
  std::shared_ptr<kernels::ConvF32> f32;  // one for all float products of a node
  Tensor packed;                          // weights in the kernel's order (forward, grad_input)
};

/// Sums by channel of a product's results, less their first pixel, where the product has told them.
struct ToldSums {
  bool there = false;
  std::vector<double> values, squares;
};

struct NodeRun {
  std::array<ProductRun, 3> products;
  ToldSums sums;
};

/// The integer products that read one parameter: its weights are quantized and packed for all at once.
struct WeightReaders {
  struct Copy {
    int slot;
    int gradient;  // slot of G whose factors the copy takes over, or -1
    std::vector<kernels::PackTarget> targets;
    kernels::QuantizeStats ahead = {};  // of integers that were made before their step
  };
  int parameter;
  std::int64_t groups;
  std::vector<Copy> copies;
  std::int64_t ahead_version = -1;  // version of the weights whose integers the last update has made
};

/// What a device keeps of a plan.
struct DevicePlan {
  virtual ~DevicePlan() = default;
};

struct Plan {
  Graph graph;
  std::vector<NodeRun> runs;          // one per node; chain members have no kernels of their own
  std::vector<std::int64_t> offsets;  // per value, in the arena; -1: not in it
  std::vector<const void*> external;  // per value: bound input, else null
  std::int64_t arena_bytes = 0;
  std::vector<WeightReaders> weight_readers;
  std::int64_t packed_version = -1;  // version of the weights that `packed` holds
  std::unique_ptr<DevicePlan> device;

  /// Kernels of a node; one that runs again has those of the first time.
  NodeRun& run_of(std::size_t index) {
    const int first = graph.nodes[index].first_run;
    return runs[first >= 0 ? static_cast<std::size_t>(first) : index];
  }
  const NodeRun& run_of(std::size_t index) const { return const_cast<Plan*>(this)->run_of(index); }
};

/// Offsets by lifetime: a value lives from its writer to its last reader; outputs and losses live to the end.
void place_values(Plan& plan);

/// Builds the kernels that the graph's products name, and lists who reads which weights.
void make_kernels(Plan& plan);

/// Bytes of one value in the arena.
std::int64_t value_bytes(const Value& value);

}  // namespace octavo
