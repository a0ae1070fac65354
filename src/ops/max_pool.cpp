// Max pooling over images [N, H, W, C]. The position of each maximum (the first one in row order) is kept,
// and the gradient goes there.
#include "max_pool.h"
#include "exec/context.h"
#include "ops/common.h"
#include "ops/pool.h"

namespace octavo {
namespace {

kernels::MaxPool pool_of(const Signature& signature) {
  return {pool_axis(signature, 0), pool_axis(signature, 1), signature.inputs[0].shape[3]};
}

// Calls body(n, row) for the rows of all images.
template <class Body>
void each_row(OpContext& context, const Shape& shape, const Body& body) {
  constexpr std::int64_t bands = 4;  // of an image, for one thread each
  context.parallel(shape[0] * bands, [&](std::int64_t item) {
    const std::int64_t n = item / bands, band = item % bands;
    for (std::int64_t row = shape[1] * band / bands; row < shape[1] * (band + 1) / bands; ++row) body(n, row);
  });
}

void forward(OpContext& context) {
  const Shape &x = context.signature().inputs[0].shape, &y = context.signature().outputs[0].shape;
  const kernels::MaxPool pool = pool_of(context.signature());
  const kernels::FloatSource in = float_input(context, 0);
  const kernels::FloatTarget out = float_output(context, 0);
  auto* const where = static_cast<std::int32_t*>(context.saved(0));
  each_row(context, y, [&](std::int64_t n, std::int64_t row) {
    const std::int64_t at = n * y[1] * y[2] * y[3];
    kernels::max_pool_isa().forward(pool, in + n * x[1] * x[2] * x[3], row, out + at,
                                    where == nullptr ? nullptr : where + at);
  });
}

void backward(OpContext& context) {
  const Shape &x = context.signature().inputs[0].shape, &y = context.signature().outputs[0].shape;
  const kernels::MaxPool pool = pool_of(context.signature());
  const kernels::FloatSource grad = float_grad_output(context, 0);
  const kernels::FloatTarget out = float_grad_input(context, 0);
  if (!out) return;
  const auto* const where = static_cast<const std::int32_t*>(context.saved(0));
  each_row(context, x, [&](std::int64_t n, std::int64_t row) {
    const std::int64_t at = n * y[1] * y[2] * y[3];
    kernels::max_pool_isa().backward(pool, grad + at, where + at, row, out + n * x[1] * x[2] * x[3]);
  });
}

}  // namespace

OpDef max_pool_op() {
  OpDef op;
  op.type = "max_pool";
  op.help = "maximum over windows: kernel, stride (kernel), pad 0";
  op.keeps_non_negative = true;
  op.parse = [](AttrReader& reader) { return read_window(reader); };
  op.infer = infer_window;
  op.saved = [](const Signature& s) { return std::vector<TensorType>{{DType::s32, s.outputs[0].shape}}; };
  op.forward = forward;
  op.backward = backward;
  op.needs = {.inputs = false, .outputs = false};
  op.takes_bf16 = true;
  return op;
}

}  // namespace octavo
