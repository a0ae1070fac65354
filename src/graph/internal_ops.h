// Nodes that the passes insert; they are OpDefs like any other, so the executor treats all nodes alike.
#pragma once

#include "octavo/op.h"

namespace octavo {

const OpDef& quantize_op();  // float edge -> its integer views
const OpDef& chain_op();     // fused pointwise nodes, with an optional quantize tail

}  // namespace octavo
