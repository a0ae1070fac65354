// A plan while its kernels are launched, and what the passes over it share.
#pragma once

#include <span>

#include "device/parameters.h"
#include "device/plan_memory.h"
#include "exec/chain.h"
#include "exec/context.h"

namespace octavo::device {

class Statistics;

struct Run {
  Program& program;
  Plan& plan;
  PlanMemory& memory;
  Parameters& parameters;
  Scratch& scratch;
  Statistics* statistics;  // null: no slot asks for any
  cudaStream_t stream;

  const Value& value(ValueId id) const { return plan.graph.value(id); }
  void* address(ValueId id) const { return id == no_value ? nullptr : program.address(plan, id); }
  kernels::FloatTarget floats(ValueId id) const {
    return id == no_value ? kernels::FloatTarget{}
                          : kernels::FloatTarget(address(id), kernel_type(value(id).type.dtype));
  }
  Slot& slot(const SlotMemory& of) const { return program.slots[of.index]; }
  /// Of a node's parameter; gradients: null where not wanted.
  float* parameter(const Node& node, std::size_t index) const {
    return index < node.parameters.size() ? parameters.value(node.parameters[index]) : nullptr;
  }
  float* gradient(const Node& node, std::size_t index) const {
    return index < node.grad_parameters.size() && node.grad_parameters[index]
               ? parameters.gradient(node.parameters[index])
               : nullptr;
  }
  bool accumulates(const Node& node, std::size_t index) const {
    return program.runtime().micro_step > 0 || !node.first_gradient[index];
  }
};

/// Launches the kernels of one node. Errors name the node.
void run_node(Run& run, std::size_t index);

/// A forward product, into memory, or with the chain over its results.
void run_product(Run& run, std::size_t index);
void run_product_with(Run& run, std::size_t index, const kernels::cuda::ChainPass& pass);

/// Makes a slot's maxima zeros where the step has raised them already.
void clear_maxima(const Run& run, SlotMemory& of);

/// A pointwise chain as it is built, member by member.
class DeviceChain {
 public:
  /// `tail`: the slot that quantizes its end; null: none.
  DeviceChain(Run& run, const Geometry& geometry, kernels::FloatSource x, SlotMemory* tail);

  ChainBuilder& steps() { return builder_; }
  std::int64_t channels() const { return builder_.channels(); }
  std::int64_t pixels() const { return builder_.pixels(); }
  Run& run() { return run_; }
  float* channel_vector() { return run_.scratch.take<float>(channels()); }

  void add_member(const Node& member);

  /// shifted_squares() of the chain's first tensor, which the product that made it has taken; null: nobody.
  void tell_sums(const kernels::cuda::ConvSums* sums) { told_ = sums; }
  const kernels::cuda::ConvSums* told_sums() const;
  /// The forward product of this node makes the chain's first tensor, and waits for the chain to run it.
  void start_with(int product) { product_ = product; }

  /// As ChainBuilder::sums() and shifted_squares(), in memory of the device.
  struct Sums {
    double *v, *vx;
  };
  Sums sums(kernels::FloatSource x, const float* pivot, const float* looked);
  Sums shifted_squares(const float* shift);
  /// The tail has a scale per sample, and sums() takes the maxima of samples; times these factors.
  bool watches_samples() const;
  const float* watched_factors() const { return tail_->inverse_factor; }
  std::uint32_t* sample_maxima() { return tail_->max_bits; }

  /// Runs it, with its tail where there is one.
  void finish(const Node& node);

 private:
  using Steps = std::vector<kernels::cuda::ChainStep>;
  Steps device_steps() const;
  kernels::cuda::ChainPass pass(const Steps& steps, bool looking) const;
  void multiply_factors(Steps& steps);
  void make_scales(const Steps& steps);
  void quantize(const Node& node, Steps steps);
  bool knows_samples() const;
  void sum(kernels::cuda::ChainPass& pass, const Sums& sums);
  void run_first_product();
  void run_tail(const kernels::cuda::ChainPass& tail);

  Run& run_;
  Geometry geometry_;
  ChainBuilder builder_;
  SlotMemory* tail_;
  const kernels::cuda::ConvSums* told_ = nullptr;
  int product_ = -1;                                // that has not run
  std::vector<const kernels::cuda::Draws*> draws_;  // of each step so far
  std::size_t bounded_step_ = 0;                    // sample maxima hold for a combine() right after so many
  bool bounded_ = false;
};

/// Ops on the device: one line each in op_list.inc.
struct DeviceOp {
  const char* type;
  void (*forward)(Run&, std::size_t node);
  void (*backward)(Run&, std::size_t node);
};
/// Members of chains whose vectors the device makes; others add their steps as on the CPU.
struct DeviceChainOp {
  const char* type;
  void (*forward)(DeviceChain&, const Node&);
  void (*backward)(DeviceChain&, const Node&);
};
const DeviceOp* find_op(const std::string& type);
const DeviceChainOp* find_chain_op(const std::string& type);

/// Errc::config naming the first node that has no kernels on the device.
void require_ops(const Graph& graph);

}  // namespace octavo::device
