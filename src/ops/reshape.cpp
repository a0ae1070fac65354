// Other sizes for the same elements: no code runs, the value is an alias.
#include "core/check.h"
#include "ops/common.h"

namespace octavo {
namespace {

struct Reshape : Attributes {
  std::vector<std::int64_t> sizes;  // without the batch axis
};

std::vector<TensorType> infer_flatten(const Signature& signature) {
  const TensorType& x = signature.inputs[0];
  require(x.shape.rank() >= 1 && x.shape[0] > 0, Errc::config, "flattens [N, ...], got ", x.shape.str());
  return {{x.dtype, {x.shape[0], x.shape.elements() / x.shape[0]}}};
}

std::vector<TensorType> infer_reshape(const Signature& signature) {
  const TensorType& x = signature.inputs[0];
  std::vector<std::int64_t> sizes = signature.as<Reshape>().sizes;
  sizes.insert(sizes.begin(), x.shape[0]);
  const Shape shape(sizes);
  require(shape.elements() == x.shape.elements(), Errc::config, "reshapes ", x.shape.str(), " into ",
          shape.str(), ", which has another number of elements");
  return {{x.dtype, shape}};
}

}  // namespace

OpDef flatten_op() {
  OpDef op;
  op.type = "flatten";
  op.help = "[N, ...] -> [N, all]";
  op.keeps_non_negative = true;
  op.infer = infer_flatten;
  op.is_reshape = true;
  return op;
}

OpDef reshape_op() {
  OpDef op;
  op.type = "reshape";
  op.help = "other sizes behind the batch axis: shape [...]";
  op.keeps_non_negative = true;
  op.parse = [](AttrReader& reader) -> std::shared_ptr<const Attributes> {
    auto reshape = std::make_shared<Reshape>();
    reshape->sizes = reader.integers("shape", 1);
    return reshape;
  };
  op.infer = infer_reshape;
  op.is_reshape = true;
  return op;
}

}  // namespace octavo
