// The view of the world that an op gets while one node runs.
#pragma once

#include "exec/program.h"

namespace octavo {

class NodeContext final : public OpContext {
 public:
  NodeContext(Program& program, const Plan& plan, const Node& node, NodeRun& run)
      : program_(program), plan_(plan), node_(node), run_(run) {}

  const Signature& signature() const override { return *node_.signature; }
  const std::string& name() const override { return node_.name; }
  bool repeated() const override { return node_.repeated; }
  const void* input(int index) const override { return at(node_.inputs, index); }
  void* output(int index) const override { return at(node_.outputs, index); }
  void* saved(int index) const override { return at(node_.saved, index); }
  float* parameter(int index) const override;
  float* state(int index) const override;
  const float* grad_output(int index) const override {
    return static_cast<float*>(at(node_.grad_outputs, index));
  }
  float* grad_input(int index) const override { return static_cast<float*>(at(node_.grad_inputs, index)); }
  float* grad_parameter(int index) const override;
  bool accumulate_parameter(int index) const override;
  bool accumulate_input(int index) const override { return node_.accumulate && index == 0; }
  void* scratch() const override;
  void run_chunks(std::int64_t chunks, const void* body,
                  void (*call)(const void*, std::int64_t)) const override;
  float uniform(std::uint32_t element) const override;
  kernels::RandomKey random_key() const;  // of uniform()
  void multiply_forward() const override;
  void multiply_grad_input() const override;
  void multiply_grad_weight() const override;

  /// A float value in the type that the plan stores it in; null where there is none.
  kernels::FloatTarget floats(ValueId id) const;

  Program& program() const { return program_; }
  const Plan& plan() const { return plan_; }
  const Node& node() const { return node_; }

 private:
  void* at(const std::vector<ValueId>& ids, int index) const {
    const std::size_t i = static_cast<std::size_t>(index);
    return i < ids.size() && ids[i] != no_value ? program_.address(plan_, ids[i]) : nullptr;
  }
  void multiply(LayerProduct which, const float* data, const float* other, const float* bias,
                kernels::FloatTarget out, bool accumulate) const;
  void multiply_float(LayerProduct which, const float* data, const void* other, const float* bias, float* out,
                      bool accumulate) const;
  bool has_small_gradient() const;
  void pack_folded(const ProductPlan& product, ProductRun& run) const;
  void multiply_integer(LayerProduct which, const float* bias, kernels::FloatTarget out,
                        bool accumulate) const;

  Program& program_;
  const Plan& plan_;
  const Node& node_;
  NodeRun& run_;
};

/// The tensors of an op that takes floats in either type, and of chains.
kernels::FloatSource float_input(const OpContext& context, int index);
kernels::FloatTarget float_output(const OpContext& context, int index);
kernels::FloatSource float_grad_output(const OpContext& context, int index);
kernels::FloatTarget float_grad_input(const OpContext& context, int index);  // null: not wanted

/// quantize_edge() into the views of a node.
void run_quantized(Program& program, const Plan& plan, const kernels::Chain& chain, const Node& node,
                   std::span<const std::uint32_t> sample_maxima = {});

}  // namespace octavo
