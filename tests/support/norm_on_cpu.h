// A normalization that the CPU trains for two micro-steps and evaluates: what its kernels for the device are
// held against.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "support/model.h"
#include "support/test_ops.h"

namespace octavo::test {

struct NormOnCpu {
  std::vector<float> gamma, beta, y, dx, grad_gamma, grad_beta, running_mean, evaluated;
  std::vector<float> running_spread;           // the running statistic beside the mean
  std::shared_ptr<const Signature> signature;  // of the op's node

  /// The op with an offset of its input, whose gradient is that of the input, and `up` as the gradient of its
  /// output.
  NormOnCpu(const std::string& op, const std::string& attributes, const Shape& shape,
            std::vector<float> given_gamma, std::vector<float> given_beta, const std::vector<float>& x,
            const std::vector<float>& up)
      : gamma(std::move(given_gamma)), beta(std::move(given_beta)) {
    register_test_ops();
    const BatchTypes types{{"in", {DType::f32, shape}}, {"up", {DType::f32, shape}}};
    Runtime runtime(2, 1);
    Program program(build("input in\ninput up\nx test_offset in\nnode " + op + " x " + attributes +
                          "\nsum test_weighted_sum node,up\noutput y node\nloss sum\n"),
                    types, runtime);
    const auto take = [](std::span<const float> from) {
      return std::vector<float>(from.begin(), from.end());
    };
    const auto gradient = [&](const std::string& name) {
      return take(parameter(program, name).gradient.as<float>());
    };
    for (const auto& [name, values] : {std::pair{"node.weight", &gamma}, std::pair{"node.bias", &beta}})
      std::copy(values->begin(), values->end(), parameter(program, name).value.as<float>().begin());
    const BatchPointers pointers{{"in", x.data()}, {"up", up.data()}};
    Plan& plan = program.plan(types, Phase::train);
    for (runtime.micro_step = 0; runtime.micro_step < 2; ++runtime.micro_step) {
      program.forward(plan, pointers);
      program.backward(plan, 1);
    }
    y = take(program.output(plan, "y").as<float>());
    dx = gradient("x.offset"), grad_gamma = gradient("node.weight"), grad_beta = gradient("node.bias");
    for (const StateData& state : program.states)
      (state.name.ends_with("mean") ? running_mean : running_spread) = take(state.value.as<float>());
    Plan& evaluation = program.plan(types, Phase::eval);
    program.forward(evaluation, pointers);
    evaluated = take(program.output(evaluation, "y").as<float>());
    for (const Node& node : program.graph().nodes)
      if (node.op->type == op) signature = node.signature;
  }
};

}  // namespace octavo::test
