// The graph: plain structs that the passes build -> autodiff -> quantize -> fuse -> plan transform in turn.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/model_language.h"
#include "kernels.h"
#include "octavo/op.h"
#include "octavo/tensor.h"

namespace octavo {

using ValueId = int;
inline constexpr ValueId no_value = -1;

enum class ValueKind : std::uint8_t {
  input,       // bound to the batch
  activation,  // result of a forward node
  saved,       // written by a forward node for its backward node
  gradient,
  view,  // one physical integer copy of `source`
};

struct Value {
  std::string name;
  ValueKind kind = ValueKind::activation;
  TensorType type;
  ValueId alias = no_value;   // shares the storage of that value
  ValueId source = no_value;  // view: the float value it holds; gradient: the value it is the gradient of
  int slot = -1;              // view
  kernels::View view;         // view
  int planes = 1;             // view: copies, one per digit of 8 bits
};

struct Parameter {
  std::string name;
  ParameterSpec spec;
  bool frozen = false;
};

struct State {
  std::string name;
  StateSpec spec;
};

enum class Pass : std::uint8_t { forward, backward };

/// What the weights of grad_input take over of G's channels: scales are known when G has been quantized,
/// factors between steps.
enum class Fold : std::uint8_t { none, scales, factors };

/// One product of a layer as planned: in integers (views and slots set) or in float.
struct ProductPlan {
  bool used = false;
  bool integer = false;
  std::string kernel;                  // "avx512vnni/conv_s8"
  std::string fallback;                // why a wanted integer product runs in float; empty when granted
  ValueId a = no_value, b = no_value;  // integer: views; b only for grad_weight
  int a_slot = -1, b_slot = -1;        // integer: slots of the operands as ConvArgs names them
  int a_planes = 1, b_planes = 1;      // and the digits of their integers
  Fold fold = Fold::none;              // what W takes over of G
  const kernels::ConvS8Candidate* candidate = nullptr;
  kernels::ConvShape shape;
};

struct Node {
  std::string name;
  const OpDef* op = nullptr;
  std::shared_ptr<const Attributes> attributes;
  Pass pass = Pass::forward;
  std::shared_ptr<const Signature> signature;  // set by infer_types(); a backward node has its forward node's
  When when = When::always;
  std::uint64_t stream = 0;     // random stream; a backward node draws what its forward node drew
  std::string parameter_group;  // prefix of the parameter names; shared by nodes that share weights
  bool frozen = false;
  std::vector<ValueId> inputs;  // forward values; in backward those that are read, else no_value
  std::vector<ValueId> outputs;
  std::vector<ValueId> saved;
  std::vector<ValueId> grad_outputs;  // backward
  std::vector<ValueId> grad_inputs;   // backward: no_value where not wanted
  std::vector<int> parameters, states;
  std::vector<bool> grad_parameters;    // backward: wanted, per parameter
  std::vector<bool> first_gradient;     // backward: the first node to make this parameter's gradient
  bool accumulate = false;              // backward: adds to grad_inputs[0]
  int layer = -1;                       // nodes with products: index into Program's layers
  std::array<ProductPlan, 3> products;  // by LayerProduct; a backward node holds its two
  std::vector<Node> chain;              // fused members in order; chain_store names what each stores
  std::vector<ValueId> chain_store;     // per member: value stored after it, or no_value
  std::vector<ValueId> views;           // quantize tail: views written, all of one slot
  bool counted = true;                  // quantize tail: false where the slot knows these values already
  bool repeated = false;                // forward, in the backward pass: runs a second time
  int first_run = -1;                   // and the node that ran first
  bool tells_sums = false;              // forward product: may sum up its results by channel
  int sums_from = -1;                   // chain: the node whose sums its first member begins with
  int follows = -1;                     // chain: the product before it, whose results nobody else reads
  std::vector<ValueId> keeps;           // chain: what that product reads, which may run with it
  std::string position;                 // file:line:col of the model
};

struct Output {
  std::string name;
  ValueId value;
};

struct Loss {
  std::string name;
  ValueId value;
  ValueId seed = no_value;  // its gradient, which the executor sets
  float weight = 1;
};

struct Graph {
  Phase phase = Phase::train;
  std::vector<Value> values;
  std::vector<Node> nodes;         // in order of execution
  std::size_t first_backward = 0;  // nodes before it are the forward pass
  std::vector<Parameter> parameters;
  std::vector<State> states;
  std::vector<ValueId> inputs;
  std::vector<Output> outputs;
  std::vector<Loss> losses;

  Value& value(ValueId id) { return values[static_cast<std::size_t>(id)]; }
  const Value& value(ValueId id) const { return values[static_cast<std::size_t>(id)]; }
  ValueId add_value(Value value) {
    values.push_back(std::move(value));
    return static_cast<ValueId>(values.size()) - 1;
  }
  /// The value that owns the storage of `id`.
  ValueId root(ValueId id) const {
    while (value(id).alias != no_value) id = value(id).alias;
    return id;
  }
};

/// Values that a node reads and writes when it runs, aliases not resolved.
std::vector<ValueId> reads(const Node& node);
std::vector<ValueId> writes(const Node& node);

/// [n, h, w, c] in which pointwise kernels see a tensor: images as they are, all else as rows of channels.
struct Geometry {
  std::int64_t n = 1, h = 1, w = 1, c = 1;
  bool operator==(const Geometry&) const = default;
};
Geometry geometry(const Shape& shape);

/// How the floats of a value lie in memory.
inline kernels::FloatType kernel_type(DType dtype) {
  return dtype == DType::bf16 ? kernels::FloatType::bf16 : kernels::FloatType::f32;
}

/// "[conv2d 'stage1.0.conv1'] ": how messages name a node.
std::string label(const Node& node);

/// Names and types of a batch's values; the first axis of each is the batch.
using BatchTypes = std::map<std::string, TensorType>;

/// The passes, in this order. infer_types() runs shape inference over all nodes whose inputs carry types, and
/// makes parameters and states (or checks them against those that exist); errors name the node and the
/// shapes.
void keep_phase(Graph& graph, Phase phase);  // drops the parts that the phase does not have
void bind_types(Graph& graph, const BatchTypes& inputs);
void infer_types(Graph& graph);
void infer_types(Graph& graph, Problems& problems);  // notes what fails; its values keep no type
void append_backward(Graph& graph);  // for everything that a loss and a trainable parameter depend on
void drop_reshapes(Graph& graph);    // reshapes are aliases by now
/// Gradient sums into products, pointwise nodes into chains; without `join` every pointwise node is a chain
/// of its own.
void fuse(Graph& graph, bool join);
void mark_first_gradients(Graph& graph);
/// Float edges that only integer products and chains touch become bfloat16.
void narrow_edges(Graph& graph);

}  // namespace octavo
