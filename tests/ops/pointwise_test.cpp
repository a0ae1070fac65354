// Pointwise ops, sums, joins and dropout.
#include <cmath>

#include "support/catch.h"
#include "support/model.h"
#include "support/op_check.h"
#include "support/test_ops.h"

using namespace octavo;
using namespace octavo::test;

namespace {

using Shapes = std::vector<std::vector<std::int64_t>>;

// Keeps 0.05 away from each kink, far more than a central difference reaches.
double away_from(std::initializer_list<double> kinks, double value) {
  for (double kink : kinks)
    if (std::fabs(value - kink) < 0.05) return kink + (value < kink ? -0.05 : 0.05);
  return value;
}

OpCase unary(const std::string& node, const std::vector<std::int64_t>& shape, double (*f)(double)) {
  OpCase op;
  op.node = node;
  op.shapes = {shape};
  op.value = [](int, std::int64_t i) {
    return away_from({0, 6}, golden::formula(1, static_cast<std::uint64_t>(i), 16));
  };
  op.reference = [f](const std::vector<Array>& operands) {
    std::vector<double> y = operands[0].values;
    for (double& v : y) v = f(v);
    return y;
  };
  op.linear = false;
  return op;
}

OpCase sum_of(const Shapes& shapes, const std::string& refs, std::vector<std::size_t> terms) {
  OpCase op;
  op.node = "add";
  op.shapes = shapes;
  op.refs = refs;
  op.reference = [terms](const std::vector<Array>& operands) {
    std::vector<double> y(operands[0].values.size());
    for (std::size_t term : terms)
      for (std::size_t i = 0; i < y.size(); ++i) y[i] += operands[term].values[i];
    return y;
  };
  return op;
}

std::vector<double> joined(const std::vector<Array>& operands, std::size_t axis) {
  std::size_t outer = 1;
  for (std::size_t a = 0; a < axis; ++a) outer *= static_cast<std::size_t>(operands[0].shape[a]);
  std::vector<double> y;
  for (std::size_t o = 0; o < outer; ++o)
    for (const Array& operand : operands) {
      const std::size_t block = operand.values.size() / outer;
      y.insert(y.end(), operand.values.begin() + static_cast<std::ptrdiff_t>(o * block),
               operand.values.begin() + static_cast<std::ptrdiff_t>((o + 1) * block));
    }
  return y;
}

struct Dropout {
  Tensor x = Tensor::empty({100, 50});
  Runtime runtime{2, 7};
  Program program;
  BatchTypes types{{"in", x.type()}, {"up", x.type()}};

  Dropout()
      : program((register_test_ops(), build("input in\ninput up\nx test_offset in\nnode dropout x {p: 0.3}\n"
                                            "sum test_weighted_sum node,up {}\noutput y node\nloss sum\n")),
                {{"in", {DType::f32, {100, 50}}}, {"up", {DType::f32, {100, 50}}}}, runtime) {
    for (float& v : x.as<float>()) v = 2;
  }
  std::vector<float> forward(Phase phase) {
    Plan& plan = program.plan(types, phase);
    program.forward(plan, {{"in", x.data()}, {"up", x.data()}});
    const Tensor y = program.output(plan, "y");
    return {y.as<float>().begin(), y.as<float>().end()};
  }
};

}  // namespace

TEST_CASE("relu and relu6 away from their kinks") {
  for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{2, 3, 5, 3}, {3, 7}, {2, 3, 17}}) {
    check_op(unary("relu", shape, [](double v) { return v > 0 ? v : 0; }));
    check_op(unary("relu {max: 1.5}", shape, [](double v) { return v > 0 ? std::min(v, 1.5) : 0; }));
    check_op(unary("relu6 {max: 0}", shape, [](double v) { return v > 0 ? v : 0; }));
    check_op(unary("relu6", shape, [](double v) { return v > 0 ? std::min(v, 6.0) : 0; }));
  }
}

TEST_CASE("the gradient at a kink of relu and relu6 is 0") {
  register_test_ops();
  const std::string op = GENERATE("relu", "relu6");
  Tensor x = Tensor::empty({1, 5}), up = Tensor::empty({1, 5});
  assign(x, std::vector<float>{0.0f, -0.0f, 6.0f, -1.0f, 3.0f});
  assign(up, std::vector<float>(5, 1.0f));
  Runtime runtime(1, 1);
  const BatchTypes types{{"in", x.type()}, {"up", up.type()}};
  Program program(build("input in\ninput up\nx test_offset in\nnode " + op +
                        " x\nsum test_weighted_sum node,up\nloss sum\n"),
                  types, runtime);
  Plan& plan = program.plan(types, Phase::train);
  program.forward(plan, {{"in", x.data()}, {"up", up.data()}});
  program.backward(plan, 1);
  const auto gradient = parameter(program, "x.offset").gradient.as<float>();
  CHECK(std::vector<float>(gradient.begin(), gradient.end()) ==
        std::vector<float>{0, 0, op == "relu" ? 1.0f : 0.0f, 0, 1});
}

TEST_CASE("add: two and three terms, the same value twice") {
  for (const std::vector<std::int64_t>& s : {std::vector<std::int64_t>{2, 3, 4, 5}, {3, 9}}) {
    check_op(sum_of({s, s}, "", {0, 1}));
    check_op(sum_of({s, s, s}, "", {0, 1, 2}));
    check_op(sum_of({s}, "x0,x0", {0, 0}));
    check_op(sum_of({s, s}, "x0,x1,x0", {0, 1, 0}));
  }
}

TEST_CASE("concat along every axis") {
  const std::vector<std::tuple<std::string, std::size_t, Shapes>> cases = {
      {"concat", 3, {{2, 3, 2, 1}, {2, 3, 2, 4}, {2, 3, 2, 2}}},
      {"concat {axis: 1}", 1, {{2, 1, 3, 2}, {2, 4, 3, 2}}},
      {"concat {axis: -3}", 1, {{2, 1, 3, 2}, {2, 4, 3, 2}}},
      {"concat {axis: 0}", 0, {{1, 3}, {2, 3}}}};
  for (const auto& [node, axis, shapes] : cases) {
    OpCase op;
    op.node = node;
    op.shapes = shapes;
    op.reference = [axis = axis](const std::vector<Array>& operands) { return joined(operands, axis); };
    check_op(op);
  }
}

TEST_CASE("flatten and reshape keep values and gradients in order") {
  for (const char* node : {"flatten", "reshape {shape: [4, 3]}", "reshape {shape: [2, 2, 3]}"}) {
    OpCase op;
    op.node = node;
    op.shapes = {{2, 3, 2, 2}};
    op.reference = [](const std::vector<Array>& operands) { return operands[0].values; };
    check_op(op);
  }
}

TEST_CASE(
    "dropout: share of zeros, scaling, the same mask in backward, another one in the next step, off in "
    "evaluation") {
  Dropout dropout;
  const std::vector<float> y = dropout.forward(Phase::train);
  const auto zeros = std::count(y.begin(), y.end(), 0.0f);
  CHECK(std::fabs(static_cast<double>(zeros) / 5000 - 0.3) < 4 * std::sqrt(0.3 * 0.7 / 5000));
  for (float v : y) REQUIRE((v == 0 || std::fabs(v - 2 / 0.7f) < 1e-6f));
  dropout.program.backward(dropout.program.plan(dropout.types, Phase::train), 1);
  const auto gradient =
      parameter(dropout.program, "x.offset").gradient.as<float>();  // up = x = 2: the forward map again
  CHECK(std::equal(y.begin(), y.end(), gradient.begin(), gradient.end()));
  CHECK(dropout.forward(Phase::train) == y);
  ++dropout.runtime.step;
  CHECK(dropout.forward(Phase::train) != y);
  CHECK(dropout.forward(Phase::eval) == std::vector<float>(5000, 2.0f));
}
