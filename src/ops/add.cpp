// Sum of tensors of one shape. The gradient of every term is the gradient of the sum, so backward needs no
// code.
#include "core/check.h"
#include "exec/chain.h"
#include "exec/context.h"
#include "ops/common.h"

namespace octavo {
namespace {

std::vector<TensorType> infer(const Signature& signature) {
  for (const TensorType& type : signature.inputs)
    require(type == signature.inputs[0], Errc::config, "adds tensors of one shape, got ",
            signature.inputs[0].shape.str(), " and ", type.shape.str());
  return {signature.inputs[0]};
}

void chain_forward(OpContext& context, ChainBuilder& chain) {
  for (int i = 1; i < static_cast<int>(context.signature().inputs.size()); ++i)
    chain.add(float_input(context, i));
}

}  // namespace

OpDef add_op() {
  OpDef op;
  op.type = "add";
  op.help = "sum of tensors of one shape: from [a, b, ...]";
  op.keeps_non_negative = true;
  op.min_inputs = 2;
  op.max_inputs = 64;
  op.infer = infer;
  op.passes_gradient = true;
  op.chain_forward = chain_forward;
  return op;
}

}  // namespace octavo
