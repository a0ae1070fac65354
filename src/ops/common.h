// Small parts that several ops share: initializers from attributes, column sums, shape checks.
#pragma once

#include <string>

#include "floats.h"
#include "octavo/op.h"

namespace octavo {

/// `init: kaiming | xavier | zero | {constant: x}`.
struct InitChoice {
  Initializer::Kind kind = Initializer::Kind::kaiming;
  double value = 0;
  Initializer with_fans(std::int64_t fan_in, std::int64_t fan_out) const {
    return {kind, value, fan_in, fan_out};
  }
};
InitChoice read_init(const AttrReader& reader, Initializer::Kind fallback);

/// Errc::config unless input `index` has this rank.
void require_rank(const Signature& signature, int index, int rank, const char* layout);

/// gradient[c] (+)= sum over rows of values[row, c]: FP32 inside fixed tiles of rows, FP64 across them, in
/// their order. Takes column_sums_bytes() of the op's scratch.
std::int64_t column_sums_bytes(std::int64_t rows, std::int64_t columns);
void column_sums(const OpContext& context, kernels::FloatSource values, std::int64_t rows,
                 std::int64_t columns, float* gradient, bool accumulate);

inline std::vector<TensorType> same_type(const Signature& signature) { return {signature.inputs[0]}; }

/// Bytes of one bit per element of the first input.
inline TensorType bit_mask(const Signature& signature) {
  return {DType::u8, Shape({(signature.inputs[0].shape.elements() + 7) / 8})};
}

}  // namespace octavo
