// Two-dimensional convolution. X [N, H, W, C], W [K, R, S, C / groups], Y [N, Ho, Wo, K]:
//   Y[n, i, j, k] = b[k] + sum_{r, s, c} W[k, r, s, c] X[n, i stride + r dilation - pad, j stride + s
//   dilation - pad, c]
// dX and dW are the two other products of the same three tensors; db sums dY over n, i, j. The plan decides,
// product by product, whether they run in integers.
#include "core/check.h"
#include "core/memory.h"
#include "ops/product_layer.h"

namespace octavo {
namespace {

struct Conv2d : Attributes {
  std::int64_t out, groups;
  std::array<std::int64_t, 2> kernel, stride, pad, dilation;
  bool bias;
  InitChoice init;
};

std::shared_ptr<const Attributes> parse(AttrReader& reader) {
  auto conv = std::make_shared<Conv2d>();
  conv->out = reader.integer("out", {}, 1);
  conv->kernel = reader.pair("kernel", {}, 1);
  conv->stride = reader.pair("stride", 1, 1);
  conv->pad = reader.pair("pad", 0);
  conv->dilation = reader.pair("dilation", 1, 1);
  conv->groups = reader.integer("groups", 1, 1);
  conv->bias = reader.flag("bias", false);
  conv->init = read_init(reader, Initializer::Kind::kaiming);
  return conv;
}

std::int64_t output_size(std::int64_t size, const Conv2d& conv, std::size_t axis) {
  const std::int64_t reach = saturating_add(checked_multiply(conv.dilation[axis], conv.kernel[axis] - 1), 1);
  const std::int64_t room = size + 2 * conv.pad[axis] - reach;
  require(room >= 0, Errc::config, "a window of ", reach, " does not fit ", size, " + 2 x ", conv.pad[axis],
          " pixels of padding");
  return room / conv.stride[axis] + 1;
}

std::vector<TensorType> infer(const Signature& signature) {
  const Conv2d& conv = signature.as<Conv2d>();
  require_rank(signature, 0, 4, "images [N, H, W, C]");
  const Shape& x = signature.inputs[0].shape;
  require(x[3] % conv.groups == 0 && conv.out % conv.groups == 0, Errc::config, "groups ", conv.groups,
          " do not divide ", x[3], " input and ", conv.out, " output channels");
  return {{DType::f32, {x[0], output_size(x[1], conv, 0), output_size(x[2], conv, 1), conv.out}}};
}

std::vector<ParameterSpec> parameters(const Signature& signature) {
  const Conv2d& conv = signature.as<Conv2d>();
  const std::int64_t c = signature.inputs[0].shape[3] / conv.groups,
                     taps = checked_multiply(conv.kernel[0], conv.kernel[1]);
  return product_parameters({conv.out, conv.kernel[0], conv.kernel[1], c}, conv.init,
                            checked_multiply(c, taps), checked_multiply(conv.out / conv.groups, taps),
                            conv.bias);
}

ProductShape product(const Signature& signature) {
  const Conv2d& conv = signature.as<Conv2d>();
  const Shape &x = signature.inputs[0].shape, &y = signature.outputs[0].shape;
  return {.n = x[0],
          .h = x[1],
          .w = x[2],
          .c = x[3],
          .k = conv.out,
          .r = conv.kernel[0],
          .s = conv.kernel[1],
          .ho = y[1],
          .wo = y[2],
          .stride_h = conv.stride[0],
          .stride_w = conv.stride[1],
          .pad_h = conv.pad[0],
          .pad_w = conv.pad[1],
          .dilation_h = conv.dilation[0],
          .dilation_w = conv.dilation[1],
          .groups = conv.groups};
}

}  // namespace

OpDef conv2d_op() {
  OpDef op;
  op.type = "conv2d";
  op.help = "convolution: out, kernel, stride 1, pad 0, dilation 1, groups 1, bias false, init kaiming";
  op.parse = parse;
  op.infer = infer;
  op.parameters = parameters;
  op.product = product;
  make_product_layer(op);
  return op;
}

}  // namespace octavo
