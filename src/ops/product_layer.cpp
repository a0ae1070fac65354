#include "ops/product_layer.h"

#include "exec/context.h"

namespace octavo {
namespace {

void backward(OpContext& context) {
  context.multiply_grad_weight();
  if (float* gradient = context.grad_parameter(1)) {
    const Shape& y = context.signature().outputs[0].shape;
    column_sums(context, float_grad_output(context, 0), y.elements() / y.back(), y.back(), gradient,
                context.accumulate_parameter(1));
  }
  context.multiply_grad_input();
}

}  // namespace

std::vector<ParameterSpec> product_parameters(const Shape& weight, const InitChoice& init,
                                              std::int64_t fan_in, std::int64_t fan_out, bool bias) {
  std::vector<ParameterSpec> specs{{"weight", weight, init.with_fans(fan_in, fan_out)}};
  if (bias) specs.push_back({"bias", {weight[0]}, {}, true});
  return specs;
}

void make_product_layer(OpDef& op) {
  op.forward = [](OpContext& context) { context.multiply_forward(); };
  op.backward = backward;
  op.scratch_bytes = [](const Signature& signature) {
    const Shape& y = signature.outputs[0].shape;
    return signature.parameters.size() > 1 ? column_sums_bytes(y.elements() / y.back(), y.back()) : 0;
  };
  op.needs = {.inputs = true, .outputs = false};
  op.adds_to_grad_input = true;
  op.takes_bf16 = true;
}

}  // namespace octavo
