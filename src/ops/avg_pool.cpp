// Average pooling over images [N, H, W, C]: windows, and the whole image. The gradient spreads evenly over
// the window.
#include <algorithm>

#include "exec/context.h"
#include "ops/common.h"
#include "ops/pool.h"

namespace octavo {
namespace {

using kernels::assign;
using kernels::to_float;
using Span = kernels::PoolAxisOf<std::int64_t>::Range;

float share(const Window& window, Span rows, Span columns) {
  const std::int64_t inside = (rows.end - rows.begin) * (columns.end - columns.begin);
  return 1.0f / static_cast<float>(window.count_include_pad ? window.kernel[0] * window.kernel[1] : inside);
}

// body(image n, output pixel, window rows, window columns) for every output pixel.
template <class Body>
void each_window(OpContext& context, const Body& body) {
  const Shape& y = context.signature().outputs[0].shape;
  const auto rows = pool_axis(context.signature(), 0), columns = pool_axis(context.signature(), 1);
  context.parallel(y[0], [&](std::int64_t n) {
    for (std::int64_t i = 0; i < y[1]; ++i)
      for (std::int64_t j = 0; j < y[2]; ++j)
        body(n, ((n * y[1] + i) * y[2] + j) * y[3], rows.pixels_of(i), columns.pixels_of(j));
  });
}

void forward(OpContext& context) {
  const Window& window = context.signature().as<Window>();
  const Shape& x = context.signature().inputs[0].shape;
  const float* in = context.in<float>(0);
  float* out = context.out<float>(0);
  each_window(context, [&](std::int64_t n, std::int64_t at, Span rows, Span columns) {
    std::fill(out + at, out + at + x[3], 0.0f);
    for (std::int64_t i = rows.begin; i < rows.end; ++i)
      for (std::int64_t j = columns.begin; j < columns.end; ++j) {
        const float* pixel = in + ((n * x[1] + i) * x[2] + j) * x[3];
        for (std::int64_t c = 0; c < x[3]; ++c) out[at + c] += pixel[c];
      }
    const float factor = share(window, rows, columns);
    for (std::int64_t c = 0; c < x[3]; ++c) out[at + c] *= factor;
  });
}

void backward(OpContext& context) {
  const Window& window = context.signature().as<Window>();
  const Shape& x = context.signature().inputs[0].shape;
  const float* grad = context.grad_output(0);
  float* out = context.grad_input(0);
  if (out == nullptr) return;
  std::fill(out, out + x.elements(), 0.0f);
  each_window(context, [&](std::int64_t n, std::int64_t at, Span rows, Span columns) {
    const float factor = share(window, rows, columns);
    for (std::int64_t i = rows.begin; i < rows.end; ++i)
      for (std::int64_t j = columns.begin; j < columns.end; ++j) {
        float* pixel = out + ((n * x[1] + i) * x[2] + j) * x[3];
        for (std::int64_t c = 0; c < x[3]; ++c) pixel[c] += factor * grad[at + c];
      }
  });
}

// The whole image is one window; its size is known only with the input.
std::vector<TensorType> infer_global(const Signature& signature) {
  require_rank(signature, 0, 4, "images [N, H, W, C]");
  const Shape& x = signature.inputs[0].shape;
  return {{DType::f32, {x[0], x[3]}}};
}

template <class Element>
void global_mean(OpContext& context, const Element* in, Element* out) {
  const Shape& x = context.signature().inputs[0].shape;
  const std::int64_t pixels = x[1] * x[2], c = x[3];
  auto* scratch = static_cast<float*>(context.scratch());
  context.parallel(x[0], [&](std::int64_t n) {
    float* sums = scratch + n * c;
    std::fill(sums, sums + c, 0.0f);
    for (std::int64_t p = 0; p < pixels; ++p)
      for (std::int64_t k = 0; k < c; ++k) sums[k] += to_float(in[(n * pixels + p) * c + k]);
    for (std::int64_t k = 0; k < c; ++k) assign(out[n * c + k], sums[k] / static_cast<float>(pixels));
  });
}

template <class Element>
void global_spread(OpContext& context, const Element* grad, Element* out) {
  const Shape& x = context.signature().inputs[0].shape;
  const std::int64_t pixels = x[1] * x[2], c = x[3];
  context.parallel(x[0], [&](std::int64_t n) {
    for (std::int64_t p = 0; p < pixels; ++p)
      for (std::int64_t k = 0; k < c; ++k)
        assign(out[(n * pixels + p) * c + k], to_float(grad[n * c + k]) / static_cast<float>(pixels));
  });
}

void global_forward(OpContext& context) {
  const kernels::FloatSource in = float_input(context, 0);
  const kernels::FloatTarget out = float_output(context, 0);
  kernels::with_type(in.type, [&](auto element) {
    using Element = decltype(element);
    global_mean(context, in.as<Element>(), out.as<Element>());
  });
}

void global_backward(OpContext& context) {
  const kernels::FloatSource grad = float_grad_output(context, 0);
  const kernels::FloatTarget out = float_grad_input(context, 0);
  if (!out) return;
  kernels::with_type(grad.type, [&](auto element) {
    using Element = decltype(element);
    global_spread(context, grad.as<Element>(), out.as<Element>());
  });
}

}  // namespace

OpDef avg_pool_op() {
  OpDef op;
  op.type = "avg_pool";
  op.help = "mean over windows: kernel, stride (kernel), pad 0, count_include_pad true";
  op.keeps_non_negative = true;
  op.parse = [](AttrReader& reader) {
    auto window = read_window(reader);
    window->count_include_pad = reader.flag("count_include_pad", true);
    return window;
  };
  op.infer = infer_window;
  op.forward = forward;
  op.backward = backward;
  op.needs = {.inputs = false, .outputs = false};
  return op;
}

OpDef global_avg_pool_op() {
  OpDef op;
  op.type = "global_avg_pool";
  op.help = "mean over all pixels: [N, H, W, C] -> [N, C]";
  op.keeps_non_negative = true;
  op.infer = infer_global;
  op.forward = global_forward;
  op.backward = global_backward;
  op.needs = {.inputs = false, .outputs = false};
  op.takes_bf16 = true;
  op.scratch_bytes = [](const Signature& s) { return s.inputs[0].shape[0] * s.inputs[0].shape[3] * 4; };
  return op;
}

}  // namespace octavo
