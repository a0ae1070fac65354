#include "support/test_ops.h"

#include <algorithm>
#include <cstring>

#include "octavo/op.h"

namespace octavo::test {
namespace {

void offset_forward(OpContext& context) {
  for (std::int64_t i = 0; i < context.signature().inputs[0].shape.elements(); ++i)
    context.out<float>(0)[i] = context.in<float>(0)[i] + context.parameter(0)[i];
}

void offset_backward(OpContext& context) {
  const std::int64_t size = context.signature().inputs[0].shape.elements();
  if (float* gradient = context.grad_parameter(0))
    for (std::int64_t i = 0; i < size; ++i)
      gradient[i] = context.grad_output(0)[i] + (context.accumulate_parameter(0) ? gradient[i] : 0);
  if (float* gradient = context.grad_input(0)) std::copy_n(context.grad_output(0), size, gradient);
}

OpDef offset_op() {
  OpDef op;
  op.type = "test_offset";
  op.infer = [](const Signature& s) { return std::vector{s.inputs[0]}; };
  op.parameters = [](const Signature& s) {
    return std::vector<ParameterSpec>{{"offset", s.inputs[0].shape, {}}};
  };
  op.forward = offset_forward;
  op.backward = offset_backward;
  op.needs = {.inputs = false, .outputs = false};
  return op;
}

void sum_forward(OpContext& context) {
  double sum = 0;
  for (std::int64_t i = 0; i < context.signature().inputs[0].shape.elements(); ++i)
    sum += static_cast<double>(context.in<float>(0)[i]) * context.in<float>(1)[i];
  *context.out<float>(0) = static_cast<float>(sum);
}

void sum_backward(OpContext& context) {
  for (std::int64_t i = 0; i < context.signature().inputs[0].shape.elements(); ++i)
    context.grad_input(0)[i] = context.in<float>(1)[i] * *context.grad_output(0);
}

OpDef weighted_sum_op() {
  OpDef op;
  op.type = "test_weighted_sum";
  op.min_inputs = op.max_inputs = 2;
  op.infer = [](const Signature&) { return std::vector<TensorType>{{DType::f32, {}}}; };
  op.forward = sum_forward;
  op.backward = sum_backward;
  op.is_loss = true;
  return op;
}

}  // namespace

void register_test_ops() {
  static const bool once = [] {
    register_op(offset_op());
    register_op(weighted_sum_op());
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace octavo::test
