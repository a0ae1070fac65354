// Inverted dropout (Srivastava et al. 2014): y = x keep / (1 - p) in training, y = x in evaluation. The mask
// is drawn again in backward: a draw depends on (seed, step, node, element) alone.
#include "ops/common.h"

namespace octavo {
namespace {

struct Dropout : Attributes {
  double p;
};

void apply(OpContext& context, const float* in, float* out) {
  const auto p = static_cast<float>(context.signature().as<Dropout>().p);
  const std::int64_t size = context.signature().inputs[0].shape.elements();
  const bool train = context.signature().phase == Phase::train;
  const float factor = train ? 1 / (1 - p) : 1;
  constexpr std::int64_t chunk = 1 << 14;
  context.parallel((size + chunk - 1) / chunk, [&](std::int64_t part) {
    for (std::int64_t i = part * chunk; i < std::min(size, (part + 1) * chunk); ++i)
      out[i] = train && context.uniform(static_cast<std::uint32_t>(i)) < p ? 0.0f : in[i] * factor;
  });
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
  op.forward = [](OpContext& context) { apply(context, context.in<float>(0), context.out<float>(0)); };
  op.backward = [](OpContext& context) { apply(context, context.grad_output(0), context.grad_input(0)); };
  op.needs = {.inputs = false, .outputs = false};
  return op;
}

}  // namespace octavo
