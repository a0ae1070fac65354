// Convolution in plain loops over any float type: the meaning of ConvF32, and in double the judge of its
// error.
#pragma once

#include "kernels.h"

namespace octavo::kernels {

/// Calls visit(x, w, y) with the offsets of each multiply-add of output channels [k, k_end) of image m:
/// element of X, of W, of Y. In order of output pixels, channels k, then taps and input channels.
template <class Visit>
void visit_products(const ConvShape& shape, std::int64_t m, std::int64_t k, std::int64_t k_end,
                    const Visit& visit) {
  const std::int64_t inputs = shape.c / shape.groups, outputs = shape.k / shape.groups;
  for (std::int64_t i = 0; i < shape.ho; ++i)
    for (std::int64_t j = 0; j < shape.wo; ++j)
      for (std::int64_t o = k; o < k_end; ++o)
        for (std::int64_t r = 0; r < shape.r; ++r)
          for (std::int64_t s = 0; s < shape.s; ++s) {
            const std::int64_t y = i * shape.stride_h - shape.pad_h + r * shape.dilation_h;
            const std::int64_t x = j * shape.stride_w - shape.pad_w + s * shape.dilation_w;
            if (y < 0 || y >= shape.h || x < 0 || x >= shape.w) continue;
            const std::int64_t from = ((m * shape.h + y) * shape.w + x) * shape.c + o / outputs * inputs;
            const std::int64_t tap = ((o * shape.r + r) * shape.s + s) * inputs;
            const std::int64_t to = ((m * shape.ho + i) * shape.wo + j) * shape.k + o;
            for (std::int64_t c = 0; c < inputs; ++c) visit(from + c, tap + c, to);
          }
}

/// Image m of y = conv(x, w) + bias.
template <class T>
void conv_forward_loops(const ConvShape& shape, std::int64_t m, const T* x, const T* w, const T* bias, T* y) {
  T* image = y + m * shape.ho * shape.wo * shape.k;
  for (std::int64_t i = 0; i < shape.ho * shape.wo * shape.k; ++i)
    image[i] = bias != nullptr ? bias[i % shape.k] : T{0};
  visit_products(shape, m, 0, shape.k, [=](auto from, auto tap, auto to) { y[to] += x[from] * w[tap]; });
}

/// Image m of dx += gradient for X.
template <class T>
void conv_grad_input_loops(const ConvShape& shape, std::int64_t m, const T* g, const T* w, T* dx) {
  visit_products(shape, m, 0, shape.k, [=](auto from, auto tap, auto to) { dx[from] += g[to] * w[tap]; });
}

/// Output channel k of dw += gradient for W, images in order.
template <class T>
void conv_grad_weight_loops(const ConvShape& shape, std::int64_t k, const T* x, const T* g, T* dw) {
  for (std::int64_t m = 0; m < shape.n; ++m)
    visit_products(shape, m, k, k + 1, [=](auto from, auto tap, auto to) { dw[tap] += x[from] * g[to]; });
}

}  // namespace octavo::kernels
