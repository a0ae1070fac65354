// What an operation of the graph is. The built-in operations and those that an application registers are the
// same thing: one OpDef each, found by its type name in model files.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "octavo/config.h"
#include "octavo/tensor.h"

namespace octavo {

enum class Phase : std::uint8_t { train, eval };

/// Attributes of one node, parsed once; each op derives its own struct.
struct Attributes {
  virtual ~Attributes() = default;
};

/// How a parameter starts. Kaiming: normal with variance 2 / fan_in (He et al. 2015, eq. 10); Xavier: uniform
/// within sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16).
struct Initializer {
  enum class Kind : std::uint8_t { constant, kaiming, xavier };
  Kind kind = Kind::constant;
  double value = 0;
  std::int64_t fan_in = 1, fan_out = 1;
};

struct ParameterSpec {
  std::string name;  ///< "weight": the full name is "<node>.weight"
  Shape shape;
  Initializer init;
  bool is_norm_or_bias = false;  ///< weight decay may leave these out
};

/// State that the op keeps from step to step and that checkpoints hold, such as running statistics.
struct StateSpec {
  std::string name;
  Shape shape;
  float value = 0;
};

/// Sizes of a product layer as a convolution: X [n, h, w, c], W [k, r, s, c / groups], Y [n, ho, wo, k]. A
/// linear layer over m rows has n = h = 1, w = m. Its three products are what runs in integers.
struct ProductShape {
  std::int64_t n = 1, h = 1, w = 1, c = 1, k = 1, r = 1, s = 1, ho = 1, wo = 1;
  std::int64_t stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0, dilation_h = 1, dilation_w = 1, groups = 1;
};

/// Everything that inference and planning know about one node.
struct Signature {
  const Attributes* attributes = nullptr;
  std::vector<TensorType> inputs, outputs;
  std::vector<TensorType> parameters;
  Phase phase = Phase::train;

  template <class A>
  const A& as() const {
    return static_cast<const A&>(*attributes);
  }
};

/// Tensors and services for one run of one node. Pointers are valid during the call only.
class OpContext {
 public:
  virtual ~OpContext() = default;
  virtual const Signature& signature() const = 0;
  virtual const std::string& name() const = 0;
  /// forward() runs a second time in this micro-step, on the same values (train.recompute).
  virtual bool repeated() const = 0;

  /// Values of the forward pass; in backward() those that Needs names.
  virtual const void* input(int index) const = 0;
  virtual void* output(int index) const = 0;
  virtual void* saved(int index) const = 0;
  virtual float* parameter(int index) const = 0;
  virtual float* state(int index) const = 0;
  /// backward(): gradient of an output (null: zero), of an input or parameter (null: not wanted).
  virtual const float* grad_output(int index) const = 0;
  virtual float* grad_input(int index) const = 0;
  virtual float* grad_parameter(int index) const = 0;
  /// backward(): add to what is there instead of overwriting it.
  virtual bool accumulate_parameter(int index) const = 0;
  virtual bool accumulate_input(int index) const = 0;
  virtual void* scratch() const = 0;

  /// body(chunk) for chunk in [0, chunks) on all threads. Cut work by sizes alone, never by thread count.
  template <class Body>
  void parallel(std::int64_t chunks, const Body& body) const {
    run_chunks(chunks, &body,
               [](const void* of, std::int64_t chunk) { (*static_cast<const Body*>(of))(chunk); });
  }
  /// What parallel() is made of: call(body, chunk) for every chunk.
  virtual void run_chunks(std::int64_t chunks, const void* body,
                          void (*call)(const void* body, std::int64_t chunk)) const = 0;
  /// Uniform random number in [0, 1), a function of (seed, step, node, element).
  virtual float uniform(std::uint32_t element) const = 0;

  /// Runs the node's products (OpDef::product) in the formats of the plan: Y (+ bias, parameter 1), dX or dW.
  virtual void multiply_forward() const = 0;
  virtual void multiply_grad_input() const = 0;
  virtual void multiply_grad_weight() const = 0;

  template <class T>
  const T* in(int index) const {
    return static_cast<const T*>(input(index));
  }
  template <class T>
  T* out(int index) const {
    return static_cast<T*>(output(index));
  }
};

/// What backward() reads. Keeping is the default: a forgotten line costs memory, never correctness.
struct Needs {
  bool inputs = true;
  bool outputs = true;
};

class ChainBuilder;  // internal: fusion of pointwise ops (src/exec/chain.h)

struct OpDef {
  std::string type;
  std::string help;
  int min_inputs = 1, max_inputs = 1;

  /// Attributes from the model file; range errors name file, line and column.
  std::function<std::shared_ptr<const Attributes>(AttrReader&)> parse;
  /// Types of the outputs; throws Errc::config with both shapes where inputs do not fit.
  std::function<std::vector<TensorType>(const Signature&)> infer;
  std::function<std::vector<ParameterSpec>(const Signature&)> parameters;
  std::function<std::vector<StateSpec>(const Signature&)> states;
  /// Values that forward() writes for backward(), besides inputs and outputs.
  std::function<std::vector<TensorType>(const Signature&)> saved;
  std::function<std::int64_t(const Signature&)> scratch_bytes;
  /// Set for layers whose work is products of input 0 with parameter 0: these can run in integers.
  std::function<ProductShape(const Signature&)> product;

  std::function<void(OpContext&)> forward;
  std::function<void(OpContext&)>
      backward;  ///< empty: training through it is refused when the graph is built
  Needs needs;

  /// Where repeated(), forward() leaves state() alone and may read what it saved the first time. An op with
  /// states that does not say so never runs twice.
  bool repeats_from_saved = false;

  bool is_loss = false;             ///< output 0 is a scalar loss, the mean over the batch
  bool is_reshape = false;          ///< output 0 is input 0 with other sizes; no code runs
  bool non_negative = false;        ///< no output is ever below 0
  bool keeps_non_negative = false;  ///< no output is below 0 when no input is
  bool passes_gradient = false;     ///< the gradient of every input is the gradient of output 0
  bool adds_to_grad_input = false;  ///< backward() honours accumulate_input()
  bool takes_bf16 = false;  ///< internal: tensors may be bfloat16, read with float_input() and the like
  bool sums_first = false;  ///< internal: chain_forward in training begins with sums of its first input
  /// Ops that are a pointwise step of their first input; set both or none. forward/backward may then stay
  /// empty.
  std::function<void(OpContext&, ChainBuilder&)> chain_forward, chain_backward;
};

/// Makes an op known by its type name. Errc::config when the name is taken. Call it before loading models.
OCTAVO_API void register_op(OpDef op);

}  // namespace octavo
