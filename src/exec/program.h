// A program: one model's graph with its parameters, states and slots, and its plans for the input sizes met
// so far.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/parameter_maxima.h"
#include "exec/plan.h"
#include "exec/quantize.h"
#include "exec/runtime.h"
#include "graph/quantize.h"
#include "precision/slots.h"

namespace octavo {

struct ParameterData {
  std::string name;
  bool frozen = false, is_norm_or_bias = false;
  int layer = -1;  // weights of a product layer: whose learning-rate factor applies
  Tensor value, gradient;
  bool small_gradient = false;  // sums of integers times scales: no element is beyond 2^60
  int gradient_slot = -1;       // of G whose factors the weights of one group take over in the data gradient
  ParameterMaxima maxima = {};  // after the last update
  std::vector<float> maxima_factor = {};  // those that the maxima of columns hold for
};

struct StateData {
  std::string name;
  Tensor value;
};

/// Memory of a device that holds the values of a program in place of its own. Such a program makes plans; who
/// runs them binds Plan::external to inputs of the device.
class ValueMemory {
 public:
  virtual ~ValueMemory() = default;
  /// Makes room for a plan, whose offsets are set, and names the kernels of its float products; arena() may
  /// move. Errc::config for what the device cannot run, Errc::resource without memory.
  virtual void place(Plan& plan) = 0;
  virtual void* arena() const = 0;
  virtual void read(void* to, const void* from, std::int64_t bytes) const = 0;
};

using BatchPointers = std::map<std::string, const void*>;

class Program {
 public:
  /// `graph` as built from the model; `sample` gives the sizes that fix the parameters' shapes.
  Program(Graph graph, const BatchTypes& sample, Runtime& runtime, DispatchLog log = {});

  /// The plan for these inputs; made on first use. Errc::config when the parameters do not fit them.
  Plan& plan(const BatchTypes& inputs, Phase phase);
  /// Formats of the layers changed: plans are remade on their next use.
  void reset_plans() {
    plans_.clear();
    trained_ = nullptr;
  }

  void forward(Plan& plan, const BatchPointers& inputs);
  /// Sets every parameter's gradient (micro-step 0) or adds to it, complete after the last micro-step;
  /// `scale` multiplies all losses' weights.
  void backward(Plan& plan, float scale);

  float loss(const Plan& plan) const;  ///< weighted sum of the losses of the last forward pass
  const void* value(const Plan& plan, ValueId id) const;
  void read_value(const Plan& plan, ValueId id, void* to) const;   ///< all of it
  Tensor output(const Plan& plan, const std::string& name) const;  ///< a copy

  /// Call after parameters changed: integer copies are made again before their next use, and maxima that were
  /// known no longer hold.
  void weights_changed();
  /// Notes the factors, one per filter, that the weights of this parameter take over from G now, for the
  /// maxima of their columns after an update; null: there are none.
  const float* factors_of_maxima(ParameterData& data);

  /// Whether update_and_pack() can serve this parameter now, with segments of multiples of `unit` weights:
  /// what it is quantized with in the next step is known.
  bool packs_ahead(std::size_t parameter, std::int64_t unit);
  /// After weights_changed(): one pass over a parameter's weights that has `writer` update them, segment by
  /// segment, and makes the integers which the plan that trained last takes at the next step in place of
  /// passing over them again. Needs their maxima by then; Inf and NaN are refused there.
  void update_and_pack(std::size_t parameter, const kernels::WeightWriter& writer);

  /// Weights that are squeezed before they are quantized, with gradients. Errc::config where layers that
  /// share weights do not agree.
  std::vector<int> squeezed_parameters() const;

  std::vector<ParameterData> parameters;
  std::vector<StateData> states;
  std::vector<Layer> layers;
  SlotTable slots;
  /// Outputs of the model that plans made from then on keep; none: all. Others cost neither memory nor a
  /// float.
  std::optional<std::set<std::string>> kept_outputs;
  bool bf16_edges = false;              ///< narrow_edges() in plans made from then on
  std::vector<std::string> recomputed;  ///< blocks for recompute(), in plans made from then on
  bool updates_and_packs = true;        ///< tests and diagnosis: false takes a pass for each
  bool fusion = true;  ///< tests and diagnosis: false runs every node by itself, in plans made from then on
  /// Tests and diagnosis: called when a forward or backward pass begins, and with every node after it ran.
  std::function<void()> before_pass;
  std::function<void(const Plan&, const Node&)> after_node;
  /// The same with every product of a node that ran, and its seconds.
  std::function<void(const Plan&, const Node&, LayerProduct, double)> after_product;
  ValueMemory* value_memory = nullptr;  ///< null: its own, and kernels of the CPU
  KernelChoice kernel_choice;  ///< of integer products, in plans made from then on; none: first of the list

  std::int64_t parameter_bytes() const;  ///< with their gradients
  const Graph& graph() const { return graph_; }
  Runtime& runtime() { return runtime_; }
  void* address(const Plan& plan, ValueId id) const;

 private:
  void initialize();
  Graph instantiate(const BatchTypes& inputs, Phase phase) const;
  void run(Plan& plan, std::size_t begin, std::size_t end);
  void pack_weights(Plan& plan);
  void quantize_parameter(WeightReaders& of);
  Weights weights_of(const WeightReaders& of) const;
  std::span<WeightCopy> copies_of(WeightReaders& of);
  WeightReaders* trained_readers(std::size_t parameter);
  void squeeze_gradients();  // of weights that are squeezed before they are quantized
  bool squeezes(int layer) const;

  Graph graph_;  // after inference with the sample sizes
  Runtime& runtime_;
  DispatchLog log_;
  struct KnownPlan {
    BatchTypes inputs;
    Phase phase;
    std::unique_ptr<Plan> plan;
  };
  std::vector<KnownPlan> plans_;
  Plan* trained_ = nullptr;  // the last that ran backward
  Tensor arena_;             // shared by all plans
  std::int64_t weights_version_ = 0;
};

}  // namespace octavo
