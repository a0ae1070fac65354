// Joins tensors along one axis; the gradient is cut at the same places.
#include <cstring>

#include "core/check.h"
#include "core/memory.h"
#include "ops/common.h"
#include "ops/concat.h"

namespace octavo {
namespace {

std::shared_ptr<const Attributes> parse(AttrReader& reader) {
  auto concat = std::make_shared<Concat>();
  concat->axis = reader.integer("axis", -1, -8, 8);
  return concat;
}

std::vector<TensorType> infer(const Signature& signature) {
  const int axis = concat_axis(signature);
  TensorType result = signature.inputs[0];
  for (std::size_t i = 1; i < signature.inputs.size(); ++i) {
    const Shape& other = signature.inputs[i].shape;
    Shape same = other;
    if (other.rank() == result.shape.rank()) same[axis] = result.shape[axis];
    require(same == result.shape && signature.inputs[i].dtype == result.dtype, Errc::config,
            "joins tensors that differ along axis ", axis, " only, got ", signature.inputs[0].shape.str(),
            " and ", other.str());
    result.shape[axis] = saturating_add(result.shape[axis], other[axis]);
  }
  return {result};
}

void forward(OpContext& context) {
  const std::int64_t size = dtype_size(context.signature().outputs[0].dtype);
  auto* out = static_cast<std::byte*>(context.output(0));
  each_concat_block(context.signature(), [&](int i, std::int64_t outer, std::int64_t offset,
                                             std::int64_t block, std::int64_t row) {
    const auto* in = static_cast<const std::byte*>(context.input(i));
    for (std::int64_t o = 0; o < outer; ++o)
      std::memcpy(out + (o * row + offset) * size, in + o * block * size,
                  static_cast<std::size_t>(block * size));
  });
}

void backward(OpContext& context) {
  const float* grad = context.grad_output(0);
  each_concat_block(context.signature(), [&](int i, std::int64_t outer, std::int64_t offset,
                                             std::int64_t block, std::int64_t row) {
    float* out = context.grad_input(i);
    if (out == nullptr) return;
    for (std::int64_t o = 0; o < outer; ++o)
      std::memcpy(out + o * block, grad + o * row + offset, static_cast<std::size_t>(block) * sizeof(float));
  });
}

}  // namespace

OpDef concat_op() {
  OpDef op;
  op.type = "concat";
  op.help = "joins tensors: from [a, b, ...], axis -1";
  op.keeps_non_negative = true;
  op.min_inputs = 1;
  op.max_inputs = 1024;
  op.parse = parse;
  op.infer = infer;
  op.forward = forward;
  op.backward = backward;
  op.needs = {.inputs = false, .outputs = false};
  return op;
}

}  // namespace octavo
