// What conv2d and linear share: a weight and perhaps a bias, and three products that run in the formats of
// the plan.
#pragma once

#include "ops/common.h"

namespace octavo {

/// Weight of this shape, initialized for `fan_in` inputs per output, and a bias [K] where wanted.
std::vector<ParameterSpec> product_parameters(const Shape& weight, const InitChoice& init,
                                              std::int64_t fan_in, std::int64_t fan_out, bool bias);

/// forward: Y = X W (+ b). backward: dW, db (dY summed over all but the last axis), dX.
void make_product_layer(OpDef& op);

}  // namespace octavo
