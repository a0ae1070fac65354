// How concat cuts its tensors, on every device.
#pragma once

#include "core/check.h"
#include "octavo/op.h"

namespace octavo {

struct Concat : Attributes {
  std::int64_t axis;
};

inline int concat_axis(const Signature& signature) {
  const std::int64_t axis = signature.as<Concat>().axis, rank = signature.inputs[0].shape.rank();
  require(axis >= -rank && axis < rank, Errc::config, "axis ", axis, " of tensors of rank ", rank);
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

/// body(input, offset of its block in an outer row, block length) in elements; `outer` rows of the joined
/// length.
template <class Body>
void each_concat_block(const Signature& signature, const Body& body) {
  const int axis = concat_axis(signature);
  const Shape& joined = signature.outputs[0].shape;
  std::int64_t outer = 1, inner = 1, offset = 0;
  for (int a = 0; a < axis; ++a) outer *= joined[a];
  for (int a = axis + 1; a < joined.rank(); ++a) inner *= joined[a];
  for (std::size_t i = 0; i < signature.inputs.size(); ++i) {
    const std::int64_t block = signature.inputs[i].shape[axis] * inner;
    body(static_cast<int>(i), outer, offset, block, joined[axis] * inner);
    offset += block;
  }
}

}  // namespace octavo
