// What the device keeps of one plan: memory of its slots, integer weights, inputs and losses, and how each
// product is cut.
#pragma once

#include <array>
#include <deque>
#include <optional>

#include "cuda/conv_cudnn.h"
#include "cuda/conv_cudnn_matmul.h"
#include "cuda/conv_f32.h"
#include "cuda/conv_lt.h"
#include "cuda/conv_s8.h"
#include "cuda/depthwise_s8.h"
#include "cuda/library_f32.h"
#include "cuda/loss.h"
#include "device/batch_feed.h"
#include "device/captured_steps.h"
#include "device/mirror.h"
#include "device/parameters.h"
#include "device/weight_lists.h"

namespace octavo::device {

struct ProductMemory {
  std::optional<kernels::cuda::ConvPlan> conv;
  std::optional<kernels::cuda::DepthwisePlan> depthwise;
  std::optional<kernels::cuda::ConvLtPlan> lt;
  std::optional<kernels::cuda::ConvCudnnPlan> cudnn;
  std::optional<kernels::cuda::ConvCudnnMatmulPlan> cudnn_matmul;
  // In float.
  std::optional<kernels::cuda::ConvF32Plan> f32;
  std::shared_ptr<const kernels::cuda::LibraryF32> library_f32;
  std::optional<kernels::cuda::ConvSums> sums;  // forward, where its epilogue takes them for batch norm
  bool waits = false;                           // forward: the chain behind it runs it
  const WeightMemory* weights = nullptr;        // in integers: forward, grad_input
  WeightLists folded;                           // Fold::scales: they are made before the product

  const kernels::cuda::ConvPlan& plan() const {
    if (cudnn_matmul) return cudnn_matmul->conv;
    return lt ? lt->conv : cudnn ? cudnn->conv : depthwise ? depthwise->conv : *conv;
  }
  kernels::cuda::ImageLayout x() const { return depthwise ? depthwise->x() : conv->x(); }
  kernels::cuda::ImageLayout y() const { return depthwise ? depthwise->y() : conv->y(); }
};

/// What decides which kernels run a plan's products.
struct ProductChoice {
  int processors = 1;
  std::optional<kernels::cuda::LibraryMath> library_f32;  // none: own kernels
};

/// A tensor as chains see it.
inline kernels::cuda::ImageLayout layout_of(const Geometry& geometry) {
  return {static_cast<int>(geometry.n), static_cast<int>(geometry.h), static_cast<int>(geometry.w),
          static_cast<int>(geometry.c), 1};
}

struct LossMemory {
  ValueId value = no_value, seed_value = no_value;
  float weight = 1;
  float* seed = nullptr;    // set by the host
  float* result = nullptr;  // read by the host
  unsigned* bad_sample = nullptr;
};

/// visit(index, node, product) for every product of a graph.
template <class AnyGraph, class Visit>
void each_product(AnyGraph& graph, const Visit& visit) {
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    for (std::size_t which = 0; which < 3; ++which)
      if (graph.nodes[i].products[which].used) visit(i, graph.nodes[i], which);
}

class PlanMemory final : public DevicePlan {
 public:
  PlanMemory(Memory& memory, Program& program, Plan& plan, const Parameters& parameters,
             const ProductChoice& choice);

  SlotMemory& slot(int index);
  ProductMemory& product(std::size_t node, std::size_t which) { return products_[node][which]; }
  /// Zeros for the maxima of all slots, as a step begins.
  void clear_maxima(cudaStream_t stream);
  /// Draws of a slot or node; null where it draws nothing.
  const kernels::cuda::Draws* draws(std::uint64_t stream) const;

  std::deque<SlotMemory> slots;
  std::deque<WeightMemory> weights;
  WeightLists all_weights;                // but those of Fold::scales
  UpdateLists updates;                    // of a plan that trains
  std::vector<int> folded_gradients;      // by parameter: slot whose factors one group of weights takes over
  std::vector<const float*> row_factors;  // and those factors; -1, null: none
  std::vector<LossMemory> losses;
  std::int64_t weights_version = -1;  // of the parameters that the copies hold
  CapturedSteps steps;
  BatchFeed feed;
  MacCount macs;  // of one run

  // Set by the host before a micro-step.
  Mirror settings;
  kernels::cuda::StepCounter* counter = nullptr;
  kernels::cuda::StepScalars* step = nullptr;
  double* rate_factors = nullptr;
  // Counted by the device, read by the host.
  Mirror report;
  kernels::cuda::QuantizeCounts* counts = nullptr;
  unsigned* bad_samples = nullptr;
  kernels::cuda::StepScalars* step_result = nullptr;
  float* one = nullptr;  // a scale of 1, set by the host

  const kernels::cuda::DrawStream* draw_streams = nullptr;
  kernels::cuda::Draws* all_draws = nullptr;
  int draw_count = 0;

 private:
  void find_slots(const Plan& plan);
  void find_products(const Program& program, const Plan& plan);
  WeightMemory weights_of(const Program& program, const Node& node, std::size_t which);
  const WeightMemory& add_weights(WeightMemory copy);
  void find_folds(const Program& program);
  void find_streams(const Program& program, const Plan& plan);
  void plan_products(const Program& program, Plan& plan, const ProductChoice& choice);
  void find_waiting(const Graph& graph);
  SlotMemory& add_slot(int index);
  void note_places(const Node& node, const ProductPlan& product, const Program& program);
  void lay_out_settings(const Program& program, Region& region);
  void lay_out_report(Region& region);
  void lay_out_scales(const Program& program, Region& region);
  void lay_out_weights(const Program& program, Region& region);
  void lay_out_sums(Region& region);
  void list_passes(Memory& memory, const Program& program, const Parameters& parameters);

  std::vector<std::array<ProductMemory, 3>> products_;
  std::map<std::uint64_t, kernels::cuda::DrawStream> streams_;
  std::map<std::uint64_t, int> stream_index_;
  Block scales_, maxima_, weights_, sums_;
};

}  // namespace octavo::device
