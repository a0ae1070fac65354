// Max pooling over images [N, H, W, C]. The position of each maximum (the first one in row order) is kept,
// and the gradient goes there.
#include <algorithm>
#include <vector>

#include "clones.h"
#include "exec/context.h"
#include "ops/common.h"
#include "ops/pool.h"

namespace octavo {
namespace {

using kernels::assign;
using kernels::Bf16;
using kernels::to_bf16;
using kernels::to_float;

// out[ch] = max(out[ch], in[ch]) and, where `in` is larger, where[ch] = index. NaN stays visible, as in
// PyTorch.
OCTAVO_CLONES void take_larger(const float* __restrict in, std::int64_t channels, std::int32_t index,
                               float* __restrict out, std::int32_t* __restrict where) {
  for (std::int64_t ch = 0; ch < channels; ++ch) {
    const float v = in[ch], seen = out[ch];
    const bool takes = v > seen || v != v;
    out[ch] = takes ? v : seen;
    where[ch] = takes ? index : where[ch];
  }
}

OCTAVO_CLONES void widen(const Bf16* __restrict in, std::int64_t channels, float* __restrict out) {
  for (std::int64_t ch = 0; ch < channels; ++ch) out[ch] = to_float(in[ch]);
}
OCTAVO_CLONES void narrow(const float* __restrict in, std::int64_t channels, Bf16* __restrict out) {
  for (std::int64_t ch = 0; ch < channels; ++ch) out[ch] = to_bf16(in[ch]);
}

// One output pixel: maxima of all channels and their input pixels. Calls pixel(offset) for the floats of an
// input pixel.
template <class Pixel>
void pool_pixel(const Pixel& pixel, const Shape& x, Span rows, Span columns, float* out,
                std::int32_t* where) {
  const std::int64_t c = x[3];
  for (std::int64_t i = rows.begin; i < rows.end; ++i)
    for (std::int64_t j = columns.begin; j < columns.end; ++j) {
      const auto index = static_cast<std::int32_t>(i * x[2] + j);
      const float* values = pixel(index * c);
      if (i == rows.begin && j == columns.begin) {
        std::copy(values, values + c, out);
        std::fill(where, where + c, index);
      } else {
        take_larger(values, c, index, out, where);
      }
    }
}

void pool_pixel(const float* image, const Shape& x, Span rows, Span columns, float*, float* out,
                std::int32_t* where) {
  pool_pixel([=](std::int64_t at) { return image + at; }, x, rows, columns, out, where);
}

// `buffer` holds two pixels.
void pool_pixel(const Bf16* image, const Shape& x, Span rows, Span columns, float* buffer, Bf16* out,
                std::int32_t* where) {
  float *largest = buffer, *values = buffer + x[3];
  const auto pixel = [&](std::int64_t at) {
    widen(image + at, x[3], values);
    return values;
  };
  pool_pixel(pixel, x, rows, columns, largest, where);
  narrow(largest, x[3], out);
}

template <class Element>
void pool(OpContext& context, const Element* in, Element* out) {
  const Window& window = context.signature().as<Window>();
  const Shape &x = context.signature().inputs[0].shape, &y = context.signature().outputs[0].shape;
  auto* where = static_cast<std::int32_t*>(context.saved(0));
  auto* scratch = static_cast<float*>(context.scratch());
  context.parallel(y[0], [&](std::int64_t n) {
    float* buffer = scratch + n * 3 * y[3];
    auto* unused = reinterpret_cast<std::int32_t*>(buffer + 2 * y[3]);
    for (std::int64_t i = 0; i < y[1]; ++i)
      for (std::int64_t j = 0; j < y[2]; ++j) {
        const std::int64_t at = ((n * y[1] + i) * y[2] + j) * y[3];
        pool_pixel(in + n * x[1] * x[2] * x[3], x, window_span(window, 0, i, x[1]),
                   window_span(window, 1, j, x[2]), buffer, out + at, where != nullptr ? where + at : unused);
      }
  });
}

// In bfloat16 every sum of a pixel that several windows chose is rounded.
template <class Element>
void spread(OpContext& context, const Element* grad, Element* out) {
  const Shape &x = context.signature().inputs[0].shape, &y = context.signature().outputs[0].shape;
  const auto* where = static_cast<const std::int32_t*>(context.saved(0));
  const std::int64_t in_size = x[1] * x[2] * x[3], out_size = y[1] * y[2] * y[3], c = x[3];
  context.parallel(x[0], [&](std::int64_t n) {
    Element* image = out + n * in_size;
    std::fill(image, image + in_size, Element{});
    for (std::int64_t e = 0; e < out_size; ++e) {
      Element& sum = image[where[n * out_size + e] * c + e % c];
      assign(sum, to_float(sum) + to_float(grad[n * out_size + e]));
    }
  });
}

void forward(OpContext& context) {
  const kernels::FloatSource in = float_input(context, 0);
  const kernels::FloatTarget out = float_output(context, 0);
  kernels::with_type(in.type, [&](auto element) {
    using Element = decltype(element);
    pool(context, in.as<Element>(), out.as<Element>());
  });
}

void backward(OpContext& context) {
  const kernels::FloatSource grad = float_grad_output(context, 0);
  const kernels::FloatTarget out = float_grad_input(context, 0);
  if (!out) return;
  kernels::with_type(grad.type, [&](auto element) {
    using Element = decltype(element);
    spread(context, grad.as<Element>(), out.as<Element>());
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
  op.scratch_bytes = [](const Signature& s) { return s.inputs[0].shape[0] * s.inputs[0].shape[3] * 3 * 4; };
  return op;
}

}  // namespace octavo
