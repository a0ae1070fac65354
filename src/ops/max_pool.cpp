// Max pooling over images [N, H, W, C]. The position of each maximum (the first one in row order) is kept,
// and the gradient goes there.
#include <algorithm>
#include <vector>

#include "ops/common.h"
#include "ops/pool.h"

namespace octavo {
namespace {

// Compiled for wide vectors too, chosen when the program starts; maxima are the same on all of them. That
// takes glibc, and sanitizers are not ready when it happens.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define OCTAVO_WIDE_CLONES [[gnu::target_clones("avx512f", "avx2", "default")]]
#else
#define OCTAVO_WIDE_CLONES
#endif

// out[ch] = max(out[ch], in[ch]) and, where `in` is larger, where[ch] = index. NaN stays visible, as in
// PyTorch.
OCTAVO_WIDE_CLONES void take_larger(const float* __restrict in, std::int64_t channels, std::int32_t index,
                                    float* __restrict out, std::int32_t* __restrict where) {
  for (std::int64_t ch = 0; ch < channels; ++ch) {
    const float v = in[ch], seen = out[ch];
    const bool takes = v > seen || v != v;
    out[ch] = takes ? v : seen;
    where[ch] = takes ? index : where[ch];
  }
}

// One output pixel: maxima of all channels and their input pixels.
void pool_pixel(const float* image, const Shape& x, Span rows, Span columns, float* out,
                std::int32_t* where) {
  const std::int64_t c = x[3];
  for (std::int64_t i = rows.begin; i < rows.end; ++i)
    for (std::int64_t j = columns.begin; j < columns.end; ++j) {
      const float* pixel = image + (i * x[2] + j) * c;
      const auto index = static_cast<std::int32_t>(i * x[2] + j);
      if (i == rows.begin && j == columns.begin) {
        std::copy(pixel, pixel + c, out);
        std::fill(where, where + c, index);
      } else {
        take_larger(pixel, c, index, out, where);
      }
    }
}

void forward(OpContext& context) {
  const Window& window = context.signature().as<Window>();
  const Shape &x = context.signature().inputs[0].shape, &y = context.signature().outputs[0].shape;
  const float* in = context.in<float>(0);
  float* out = context.out<float>(0);
  auto* where = static_cast<std::int32_t*>(context.saved(0));
  context.parallel(y[0], [&](std::int64_t n) {
    std::vector<std::int32_t> unused(static_cast<std::size_t>(where == nullptr ? y[3] : 0));
    for (std::int64_t i = 0; i < y[1]; ++i)
      for (std::int64_t j = 0; j < y[2]; ++j) {
        const std::int64_t at = ((n * y[1] + i) * y[2] + j) * y[3];
        pool_pixel(in + n * x[1] * x[2] * x[3], x, window_span(window, 0, i, x[1]),
                   window_span(window, 1, j, x[2]), out + at, where != nullptr ? where + at : unused.data());
      }
  });
}

void backward(OpContext& context) {
  const Shape &x = context.signature().inputs[0].shape, &y = context.signature().outputs[0].shape;
  const float* grad = context.grad_output(0);
  float* out = context.grad_input(0);
  if (out == nullptr) return;
  const auto* where = static_cast<const std::int32_t*>(context.saved(0));
  const std::int64_t in_size = x[1] * x[2] * x[3], out_size = y[1] * y[2] * y[3], c = x[3];
  context.parallel(x[0], [&](std::int64_t n) {
    float* image = out + n * in_size;
    std::fill(image, image + in_size, 0.0f);
    for (std::int64_t e = 0; e < out_size; ++e)
      image[where[n * out_size + e] * c + e % c] += grad[n * out_size + e];
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
  return op;
}

}  // namespace octavo
