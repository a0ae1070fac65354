// conv2d and linear in FP32 against plain loops in double.
#include "support/catch.h"
#include "support/op_check.h"
#include "support/products.h"

using namespace octavo;
using namespace octavo::test;

namespace {

std::vector<double> convolve(const kernels::ConvShape& p, const std::vector<Array>& operands) {
  std::vector<double> y(static_cast<std::size_t>(p.n * p.ho * p.wo * p.k));
  for_each_product(p, [&](std::int64_t x, std::int64_t w, std::int64_t out) {
    y[static_cast<std::size_t>(out)] +=
        operands[0].values[static_cast<std::size_t>(x)] * operands[1].values[static_cast<std::size_t>(w)];
  });
  if (operands.size() > 2)
    for (std::size_t i = 0; i < y.size(); ++i) y[i] += operands[2].values[i % static_cast<std::size_t>(p.k)];
  return y;
}

// Sizes follow from those of the operands; what they do not tell stands here.
struct Geometry2 {
  std::int64_t stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0, dilation_h = 1, dilation_w = 1, groups = 1;
};

kernels::ConvShape conv_shape(const std::vector<Array>& operands, const Geometry2& g) {
  const auto &x = operands[0].shape, &w = operands[1].shape;
  kernels::ConvShape p{x[0], x[1], x[2], x[3], w[0], w[1], w[2]};
  p.ho = (x[1] + 2 * g.pad_h - g.dilation_h * (w[1] - 1) - 1) / g.stride_h + 1;
  p.wo = (x[2] + 2 * g.pad_w - g.dilation_w * (w[2] - 1) - 1) / g.stride_w + 1;
  p.stride_h = g.stride_h;
  p.stride_w = g.stride_w;
  p.pad_h = g.pad_h;
  p.pad_w = g.pad_w;
  p.dilation_h = g.dilation_h;
  p.dilation_w = g.dilation_w;
  p.groups = g.groups;
  return p;
}

void check_conv(const std::string& attributes, const std::vector<std::int64_t>& x,
                const Geometry2& geometry) {
  OpCase op;
  op.node = "conv2d " + attributes;
  op.shapes = {x};
  op.terms = x[0] * x[1] * x[2] * x[3];
  op.reference = [geometry](const std::vector<Array>& operands) {
    return convolve(conv_shape(operands, geometry), operands);
  };
  check_op(op);
}

}  // namespace

TEST_CASE("conv2d: stride, padding, dilation, groups, depthwise, bias") {
  check_conv("{out: 3, kernel: 1}", {2, 3, 4, 5}, {});
  check_conv("{out: 4, kernel: 3, pad: 1, bias: true}", {2, 5, 4, 3}, {.pad_h = 1, .pad_w = 1});
  check_conv("{out: 4, kernel: 3, pad: 1, bias: true}", {1, 3, 7, 2}, {.pad_h = 1, .pad_w = 1});
  check_conv("{out: 3, kernel: 3, stride: 2, pad: 1}", {2, 6, 5, 2},
             {.stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 1});
  check_conv("{out: 2, kernel: [3, 2], stride: [2, 1], pad: [1, 0], dilation: [1, 2]}", {2, 6, 5, 3},
             {.stride_h = 2, .pad_h = 1, .dilation_w = 2});
  check_conv("{out: 6, kernel: 3, pad: 1, groups: 2}", {2, 4, 4, 4}, {.pad_h = 1, .pad_w = 1, .groups = 2});
  check_conv("{out: 5, kernel: 3, pad: 1, groups: 5, bias: true}", {2, 4, 5, 5},
             {.pad_h = 1, .pad_w = 1, .groups = 5});
  check_conv("{out: 8, kernel: 3, stride: 2, pad: 1, groups: 4}", {1, 5, 5, 4},
             {.stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 1, .groups = 4});
}

TEST_CASE("linear: rows of rank 2 and 3, with and without bias") {
  for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{5, 7}, {1, 4}, {2, 3, 6}}) {
    const std::int64_t rows = shape.size() == 3 ? shape[0] * shape[1] : shape[0];
    for (const char* attributes : {"{out: 4}", "{out: 9, bias: false}"}) {
      OpCase op;
      op.node = std::string("linear ") + attributes;
      op.shapes = {shape};
      op.terms = rows + shape.back();
      op.reference = [rows](const std::vector<Array>& operands) {
        kernels::ConvShape p{1, 1, rows, operands[0].shape.back(), operands[1].shape[0]};
        p.wo = rows;
        return convolve(p, operands);
      };
      check_op(op);
    }
  }
}
