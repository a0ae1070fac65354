// The op leaky_relu: y = x for x > 0, else slope * x.
#include <octavo/op.h>

#include <algorithm>

#include "parts.h"

namespace {

struct LeakyRelu : octavo::Attributes {
  float slope;
};

// to[i] = from[i], times the slope where x[i] is not positive. Forward reads x itself, backward the gradient.
void scale_negative(octavo::OpContext& context, const float* x, const float* from, float* to) {
  const octavo::Signature& types = context.signature();
  const float slope = types.as<LeakyRelu>().slope;
  const std::int64_t size = types.inputs[0].shape.elements();
  constexpr std::int64_t chunk = 1 << 14;  // fixed, so that results do not depend on the number of threads
  context.parallel((size + chunk - 1) / chunk, [&](std::int64_t part) {
    for (std::int64_t i = part * chunk; i < std::min(size, (part + 1) * chunk); ++i)
      to[i] = x[i] > 0 ? from[i] : slope * from[i];
  });
}

}  // namespace

void register_leaky_relu() {
  octavo::OpDef op;
  op.type = "leaky_relu";
  op.help = "x where positive, else slope * x: slope";
  op.parse = [](octavo::AttrReader& reader) -> std::shared_ptr<const octavo::Attributes> {
    auto attributes = std::make_shared<LeakyRelu>();
    attributes->slope = static_cast<float>(reader.number("slope", 0.01, 0, 1));
    return attributes;
  };
  op.infer = [](const octavo::Signature& types) { return std::vector{types.inputs[0]}; };
  op.forward = [](octavo::OpContext& context) {
    scale_negative(context, context.in<float>(0), context.in<float>(0), context.out<float>(0));
  };
  op.backward = [](octavo::OpContext& context) {
    scale_negative(context, context.in<float>(0), context.grad_output(0), context.grad_input(0));
  };
  op.needs = {.inputs = true, .outputs = false};
  octavo::register_op(op);
}
