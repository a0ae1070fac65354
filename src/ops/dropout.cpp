// Inverted dropout (Srivastava et al. 2014): y = x keep / (1 - p) in training, y = x in evaluation. The mask
// is drawn again in backward: a draw depends on (seed, step, node, element) alone.
#include "exec/chain.h"
#include "exec/context.h"
#include "ops/common.h"

namespace octavo {
namespace {

struct Dropout : Attributes {
  double p;
};

void apply(OpContext& context, ChainBuilder& chain) {
  if (context.signature().phase != Phase::train) return;
  const auto p = static_cast<float>(context.signature().as<Dropout>().p);
  chain.drop(static_cast<const NodeContext&>(context).random_key(), p, 1 / (1 - p));
}

}  // namespace

OpDef dropout_op() {
  OpDef op;
  op.type = "dropout";
  op.help = "sets a share p of the elements to 0 in training: p";
  op.keeps_non_negative = true;
  op.parse = [](AttrReader& reader) -> std::shared_ptr<const Attributes> {
    auto dropout = std::make_shared<Dropout>();
    dropout->p = reader.number("p", 0.5, 0, 0.999);
    return dropout;
  };
  op.infer = same_type;
  op.needs = {.inputs = false, .outputs = false};
  op.chain_forward = apply;
  op.chain_backward = apply;
  return op;
}

}  // namespace octavo
