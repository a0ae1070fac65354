// Fully connected layer over the last axis. X [..., C], W [K, C], Y [..., K]: Y = X W^T + b, dX = dY W, dW =
// dY^T X. The weight is stored as [K, 1, 1, C], so that it is a 1x1 convolution over rows for all kernels.
#include "core/check.h"
#include "ops/product_layer.h"

namespace octavo {
namespace {

struct Linear : Attributes {
  std::int64_t out;
  bool bias;
  InitChoice init;
};

std::shared_ptr<const Attributes> parse(AttrReader& reader) {
  auto linear = std::make_shared<Linear>();
  linear->out = reader.integer("out", {}, 1);
  linear->bias = reader.flag("bias", true);
  linear->init = read_init(reader, Initializer::Kind::kaiming);
  return linear;
}

std::vector<TensorType> infer(const Signature& signature) {
  const Shape& x = signature.inputs[0].shape;
  require(x.rank() >= 2 && x.rank() <= 3 && signature.inputs[0].dtype == DType::f32, Errc::config,
          "expects [N, C] or [N, T, C] of f32, got ", x.str(), "; put a `flatten` before it");
  std::vector<std::int64_t> sizes = x.sizes();
  sizes.back() = signature.as<Linear>().out;
  return {{DType::f32, Shape(sizes)}};
}

std::int64_t rows(const Signature& signature) {
  return signature.inputs[0].shape.elements() / signature.inputs[0].shape.back();
}

std::vector<ParameterSpec> parameters(const Signature& signature) {
  const Linear& linear = signature.as<Linear>();
  const std::int64_t c = signature.inputs[0].shape.back();
  return product_parameters({linear.out, 1, 1, c}, linear.init, c, linear.out, linear.bias);
}

ProductShape product(const Signature& signature) {
  const std::int64_t m = rows(signature);
  return {.w = m, .c = signature.inputs[0].shape.back(), .k = signature.as<Linear>().out, .wo = m};
}

}  // namespace

OpDef linear_op() {
  OpDef op;
  op.type = "linear";
  op.help = "fully connected: out, bias true, init kaiming";
  op.parse = parse;
  op.infer = infer;
  op.parameters = parameters;
  op.product = product;
  make_product_layer(op);
  return op;
}

}  // namespace octavo
