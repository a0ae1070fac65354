// ReLU z = max(y, 0) and ReLU6 z = min(max(y, 0), 6), or with another upper end: max. The gradient passes
// where 0 < y < max; that mask is kept exactly, one bit per element. As in PyTorch the gradient at a kink is
// 0.
#include "exec/chain.h"
#include "ops/common.h"

namespace octavo {
namespace {

constexpr float no_limit = 3.0e38f;

struct Relu : Attributes {
  float max;
};

void forward(OpContext& context, ChainBuilder& chain) {
  const float max = context.signature().as<Relu>().max;
  if (auto* bits = static_cast<std::uint8_t*>(context.saved(0))) chain.store_bits(bits, 0, max);
  if (max < no_limit)
    chain.clamp(max);
  else
    chain.relu();
}

void backward(OpContext& context, ChainBuilder& chain) {
  chain.keep_bits(static_cast<const std::uint8_t*>(context.saved(0)));
}

OpDef make(const char* type, const char* help, double max) {
  OpDef op;
  op.type = type;
  op.help = help;
  op.parse = [max](AttrReader& reader) -> std::shared_ptr<const Attributes> {
    auto relu = std::make_shared<Relu>();
    const double limit = reader.number("max", max, 0, 1e30);
    relu->max = limit > 0 ? static_cast<float>(limit) : no_limit;
    return relu;
  };
  op.infer = same_type;
  op.saved = [](const Signature& signature) { return std::vector{bit_mask(signature)}; };
  op.needs = {.inputs = false, .outputs = false};
  op.non_negative = true;
  op.chain_forward = forward;
  op.chain_backward = backward;
  return op;
}

}  // namespace

OpDef relu_op() { return make("relu", "max(x, 0), at most max (0: no limit)", 0); }
OpDef relu6_op() { return make("relu6", "min(max(x, 0), max): max 6 (0: no limit)", 6); }

}  // namespace octavo
