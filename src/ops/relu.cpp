// ReLU z = max(y, 0) and ReLU6 z = min(max(y, 0), 6). The gradient passes where 0 < y (and y < 6); that mask
// is kept exactly, one bit per element. As in PyTorch the gradient at a kink is 0.
#include "exec/chain.h"
#include "ops/common.h"

namespace octavo {
namespace {

constexpr float no_limit = 3.0e38f;

void forward(OpContext& context, ChainBuilder& chain, bool six) {
  if (auto* bits = static_cast<std::uint8_t*>(context.saved(0)))
    chain.store_bits(bits, 0, six ? 6 : no_limit);
  if (six)
    chain.clamp6();
  else
    chain.relu();
}

void backward(OpContext& context, ChainBuilder& chain) {
  chain.keep_bits(static_cast<const std::uint8_t*>(context.saved(0)));
}

OpDef make(const char* type, const char* help, bool six) {
  OpDef op;
  op.type = type;
  op.help = help;
  op.infer = same_type;
  op.saved = [](const Signature& signature) { return std::vector{bit_mask(signature)}; };
  op.needs = {.inputs = false, .outputs = false};
  op.non_negative = true;
  op.chain_forward = [six](OpContext& context, ChainBuilder& chain) { forward(context, chain, six); };
  op.chain_backward = backward;
  return op;
}

}  // namespace

OpDef relu_op() { return make("relu", "max(x, 0)", false); }
OpDef relu6_op() { return make("relu6", "min(max(x, 0), 6)", true); }

}  // namespace octavo
