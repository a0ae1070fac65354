#include "support/op_check.h"

#include <cmath>
#include <numeric>

#include "support/catch.h"
#include "support/model.h"
#include "support/test_ops.h"

namespace octavo::test {
namespace {

std::int64_t elements(const std::vector<std::int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

double default_value(int number, std::int64_t index) {
  return golden::formula(static_cast<std::uint64_t>(number), static_cast<std::uint64_t>(index), 2);
}

std::vector<float> to_floats(std::span<const float> values) { return {values.begin(), values.end()}; }

// The program "inputs -> offsets -> node -> weighted sum", whose offsets make the gradients of the inputs
// visible.
class Harness {
 public:
  Harness(const OpCase& op, int threads) : op_(op), runtime_(threads, 1) {
    register_test_ops();
    const std::string text = model_text();
    BatchTypes types = bind_inputs();
    types["up"] = {DType::f32, {}};
    const Program sized(build(text), types, runtime_);
    up_ = Tensor::empty(sized.graph().nodes[op_.shapes.size()].signature->outputs[0].shape);
    pointers_["up"] = up_.data();
    types["up"] = up_.type();
    types_ = types;
    program_ = std::make_unique<Program>(build(text), types_, runtime_);
    fill_parameters();
  }

  /// Inputs, then the parameters of the node.
  const std::vector<Array>& operands() const { return operands_; }
  std::int64_t outputs() const { return up_.elements(); }

  std::vector<float> forward() {
    Plan& plan = program_->plan(types_, Phase::train);
    program_->forward(plan, pointers_);
    return to_floats(program_->output(plan, "y").as<float>());
  }

  void step(const std::vector<double>& up, std::int64_t micro_step) {
    assign(up_, up);
    runtime_.micro_step = micro_step;
    Plan& plan = program_->plan(types_, Phase::train);
    program_->forward(plan, pointers_);
    program_->backward(plan, 1);
  }

  std::vector<float> gradient(std::size_t operand) {
    return to_floats(parameter(*program_, names_[operand]).gradient.as<float>());
  }
  const std::string& name(std::size_t operand) const { return names_[operand]; }

 private:
  std::string model_text() const {
    std::string inputs, offsets, refs;
    for (std::size_t i = 0; i < op_.shapes.size(); ++i) {
      const std::string n = std::to_string(i);
      inputs += "input in" + n + "\n";
      offsets += "x" + n + " test_offset in" + n + "\n";
      refs += (i > 0 ? ",x" : "x") + n;
    }
    if (!op_.refs.empty()) refs = op_.refs;
    if (!op_.labels.empty()) {
      inputs += "input label\n";
      refs += ",label";
    }
    const std::size_t brace = op_.node.find('{');
    return inputs + "input up\n" + offsets + "node " + op_.node.substr(0, brace) + " " + refs + " " +
           (brace == std::string::npos ? "" : op_.node.substr(brace)) +
           "\nsum test_weighted_sum node,up\noutput y node\nloss sum\n";
  }

  // Values are rounded to float first: both sides see the same numbers.
  Array make_operand(const std::vector<std::int64_t>& shape) {
    Array array{shape, {}};
    const int number = static_cast<int>(operands_.size());
    for (std::int64_t i = 0; i < elements(shape); ++i)
      array.values.push_back(static_cast<float>(op_.value ? op_.value(number, i) : default_value(number, i)));
    return array;
  }

  BatchTypes bind_inputs() {
    BatchTypes types;
    for (std::size_t i = 0; i < op_.shapes.size(); ++i) {
      const std::string name = "in" + std::to_string(i);
      operands_.push_back(make_operand(op_.shapes[i]));
      tensors_.push_back(Tensor::empty(Shape(op_.shapes[i])));
      assign(tensors_.back(), operands_.back().values);
      names_.push_back("x" + std::to_string(i) + ".offset");
      types[name] = tensors_.back().type();
      pointers_[name] = tensors_.back().data();
    }
    if (!op_.labels.empty()) {
      tensors_.push_back(Tensor::empty({static_cast<std::int64_t>(op_.labels.size())}, DType::i64));
      std::copy(op_.labels.begin(), op_.labels.end(), tensors_.back().as<std::int64_t>().begin());
      types["label"] = tensors_.back().type();
      pointers_["label"] = tensors_.back().data();
    }
    return types;
  }

  void fill_parameters() {
    for (ParameterData& data : program_->parameters) {
      if (!data.name.starts_with("node.")) continue;
      operands_.push_back(make_operand(data.value.shape().sizes()));
      assign(data.value, operands_.back().values);
      names_.push_back(data.name);
    }
  }

  const OpCase& op_;
  Runtime runtime_;
  std::vector<Array> operands_;
  std::vector<std::string> names_;
  std::vector<Tensor> tensors_;
  Tensor up_;
  BatchTypes types_;
  BatchPointers pointers_;
  std::unique_ptr<Program> program_;
};

double weighted(const OpCase& op, const std::vector<Array>& operands, const std::vector<double>& up) {
  const std::vector<double> y = op.reference(operands);
  return std::inner_product(y.begin(), y.end(), up.begin(), 0.0);
}

std::vector<double> central_differences(const OpCase& op, std::vector<Array> operands, std::size_t which,
                                        const std::vector<double>& up) {
  const double h = op.linear ? 1.0 / 64 : 1e-4;
  std::vector<double> gradient;
  for (double& value : operands[which].values) {
    const double at = value;
    value = at + h;
    const double above = weighted(op, operands, up);
    value = at - h;
    const double below = weighted(op, operands, up);
    value = at;
    gradient.push_back((above - below) / (2 * h));
  }
  return gradient;
}

std::vector<double> upstream(std::uint64_t number, std::int64_t size) {
  std::vector<double> up;
  for (std::int64_t i = 0; i < size; ++i)
    up.push_back(static_cast<float>(golden::formula(100 + number, static_cast<std::uint64_t>(i), 2)));
  return up;
}

std::vector<double> sum(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> result(a.size());
  std::transform(a.begin(), a.end(), b.begin(), result.begin(), std::plus<>());
  return result;
}

void check_same_on_threads(const OpCase& op, Harness& one, const std::vector<double>& up) {
  Harness three(op, 3);
  three.step(up, 0);
  CHECK(three.forward() == one.forward());
  for (std::size_t i = 0; i < one.operands().size(); ++i) {
    INFO("threads, gradient of " << one.name(i));
    CHECK(three.gradient(i) == one.gradient(i));
  }
}

}  // namespace

double float_tolerance(const std::vector<double>& expected, std::int64_t terms) {
  double largest = 0;
  for (double value : expected) largest = std::max(largest, std::fabs(value));
  return 4 * std::ldexp(1.0, -24) * std::sqrt(static_cast<double>(terms + 8)) * std::max(largest, 1e-3);
}

void check_close(const std::string& what, const std::vector<float>& found,
                 const std::vector<double>& expected, double tolerance) {
  REQUIRE(found.size() == expected.size());
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double difference = std::fabs(found[i] - expected[i]);
    worst = difference <= worst ? worst : difference;  // a NaN stays
  }
  INFO(what);
  CHECK(worst <= tolerance);
}

void check_op(const OpCase& op) {
  INFO(op.node);
  Harness harness(op, 1);
  const std::vector<Array>& operands = harness.operands();
  const std::vector<double> y = op.reference(operands);
  REQUIRE(static_cast<std::int64_t>(y.size()) == harness.outputs());
  const std::vector<double> first = upstream(1, harness.outputs()), second = upstream(2, harness.outputs());
  harness.step(first, 0);
  check_close("forward", harness.forward(), y, float_tolerance(y, op.terms));
  const auto check_gradients = [&](const std::string& what, const std::vector<double>& up) {
    for (std::size_t i = 0; i < operands.size(); ++i) {
      const std::vector<double> expected = central_differences(op, operands, i, up);
      const double tolerance = float_tolerance(expected, op.terms) * (op.linear ? 1 : 2);
      check_close(what + " of " + harness.name(i), harness.gradient(i), expected, tolerance);
    }
  };
  check_gradients("gradient", first);
  harness.step(second, 1);
  check_gradients("gradient of two micro-steps", sum(first, second));
  harness.step(first, 0);
  check_gradients("gradient of the next step", first);
  check_same_on_threads(op, harness, first);
}

}  // namespace octavo::test
