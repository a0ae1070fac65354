// Every op against PyTorch in double precision: all cases of tests/fixtures/golden/op_vectors.
#include "support/catch.h"
#include "support/model.h"
#include "support/op_check.h"
#include "support/test_ops.h"

using namespace octavo;
using namespace octavo::test;

namespace {

using nlohmann::json;

Tensor tensor_of(const Array& array) {
  Tensor tensor = Tensor::empty(Shape(array.shape));
  assign(tensor, array.values);
  return tensor;
}

struct VectorCase {
  const golden::Fixture& fixture;
  json entry;
  std::string name = entry.at("name"), op = entry.at("op");

  const Array& at(const std::string& tensor) const { return fixture.at(name + "/" + tensor); }
  bool loss() const { return op == "cross_entropy"; }
  bool evaluation() const { return op == "batch_norm" && !entry.at("attributes").at("training").get<bool>(); }

  std::string node() const {
    const json& a = entry.at("attributes");
    if (op == "conv2d")
      return op + " x " +
             with(a, {{"out", at("weight").shape[0]}, {"bias", entry.at("parameters").size() > 1}});
    if (op == "linear") return op + " x " + with({}, {{"out", at("weight").shape[0]}});
    if (op == "avg_pool") return op + " x " + with(a, {{"count_include_pad", false}});
    if (op == "max_pool") return op + " x " + with(a, {});
    if (loss())
      return "softmax_cross_entropy x,label " + with({}, {{"label_smoothing", a.at("label_smoothing")}});
    return op + " x";
  }

  static std::string with(json attributes, const json& more) {
    if (!attributes.is_object()) attributes = json::object();
    for (const auto& [key, value] : more.items()) attributes[key] = value;
    return attributes.dump();
  }
};

void check_state(const Program& program, const VectorCase& c, const std::string& state) {
  for (const StateData& data : program.states)
    if (data.name == "node." + state) {
      const auto values = data.value.as<float>();
      const Array& expected = c.at(state);
      check_close(state, {values.begin(), values.end()}, expected.values,
                  float_tolerance(expected.values, 60));
    }
}

void check_gradient(Program& program, const VectorCase& c, const std::string& parameter_name,
                    const std::string& tensor, std::int64_t terms) {
  const auto found = parameter(program, parameter_name).gradient.as<float>();
  const auto& expected = c.at(tensor).values;
  check_close(tensor, {found.begin(), found.end()}, expected, float_tolerance(expected, terms));
}

void check_vector(const VectorCase& c) {
  INFO(c.name);
  Tensor x = tensor_of(c.at("input")), up = tensor_of(c.loss() ? Array{{}, {1}} : c.at("grad_output"));
  Tensor labels = Tensor::zeros({x.shape()[0]}, DType::i64);
  if (c.loss()) {
    const std::vector<std::int64_t> values = c.entry.at("attributes").at("labels");
    std::copy(values.begin(), values.end(), labels.as<std::int64_t>().begin());
  }
  const BatchTypes types{{"in", x.type()}, {"up", up.type()}, {"label", labels.type()}};
  const std::string head =
      "input in\ninput up\ninput label\nx test_offset in\nnode " + c.node() + "\noutput y node\n";
  Runtime runtime(2, 1);
  Program program(build(head + (c.evaluation() ? "" : "sum test_weighted_sum node,up\nloss sum\n")), types,
                  runtime);
  for (const json& p : c.entry.at("parameters"))
    assign(parameter(program, "node." + p.get<std::string>()).value, c.at(p).values);
  if (c.evaluation())
    for (StateData& state : program.states) assign(state.value, c.at(state.name.substr(5)).values);
  Plan& plan = program.plan(types, c.evaluation() ? Phase::eval : Phase::train);
  program.forward(plan, {{"in", x.data()}, {"up", up.data()}, {"label", labels.data()}});
  const Tensor y = program.output(plan, "y");
  const auto& expected = c.at("output").values;
  const std::int64_t terms = x.elements();
  check_close("output", {y.as<float>().begin(), y.as<float>().end()}, expected,
              float_tolerance(expected, terms));
  if (c.evaluation()) return;
  program.backward(plan, 1);
  check_gradient(program, c, "x.offset", "grad_input", terms);
  for (const json& p : c.entry.at("parameters"))
    check_gradient(program, c, "node." + p.get<std::string>(), "grad_" + p.get<std::string>(), terms);
  check_state(program, c, "running_mean");
  check_state(program, c, "running_var");
}

}  // namespace

TEST_CASE("all ops equal PyTorch in double precision") {
  register_test_ops();
  const golden::Fixture fixture = golden::read("op_vectors");
  REQUIRE(fixture.fixture.at("cases").size() >= 21);
  for (const json& entry : fixture.fixture.at("cases")) check_vector({fixture, entry});
}
