// Linear layers and 1x1 convolutions as products of two matrices whose rows are contracted with each other,
// as libraries take them, and the parts that int32 sums need.
#pragma once

#include <algorithm>

#include "conv_plan.h"

namespace octavo::kernels::cuda {

/// Rows of results and columns, which lie one after the other in memory, and bytes of a row of an operand.
struct Matrices {
  std::int64_t rows, columns, contraction;
};

inline Matrices matrices_of(const ConvShape& s, Product product) {
  const std::int64_t pixels = s.n * s.ho * s.wo;
  if (product == Product::forward) return {pixels, s.k, whole_segments(s.c)};
  if (product == Product::grad_input) return {pixels, s.c, whole_segments(s.k)};
  return {s.k, s.c, s.h * s.w * whole_segments(s.n)};
}

/// Cuts a contraction into parts that int32 sums hold, or as many as the plan's options ask for; returns the
/// bytes of each but the last.
inline std::int64_t cut_contraction(ConvPlan& plan, std::int64_t contraction) {
  constexpr int part_step = 64;  // parts begin at multiples, as tiles of libraries do
  const std::int64_t steps = ceil_div(contraction, part_step);
  const std::int64_t needed = ceil_div(steps, longest_signed_sum / part_step);
  const std::int64_t parts = std::min(steps, std::max<std::int64_t>(needed, plan.options.least_splits));
  const std::int64_t part_bytes = ceil_div(steps, parts) * part_step;
  plan.gemm.splits = plan.gemm.sums = static_cast<int>(ceil_div(contraction, part_bytes));
  return part_bytes;
}

/// The operands of a part as matrices; rows those of results.
struct PartOperands {
  const std::int8_t *rows, *columns;
};
inline PartOperands part_operands(const ConvPlan& plan, const ConvArgs& args, int part,
                                  std::int64_t part_bytes) {
  const PartAt at = part_at(plan.gemm, args.b_planes, part);
  const std::int64_t first = at.split * part_bytes;
  const auto* a = static_cast<const std::int8_t*>(args.a) + at.a_plane * plane_bytes(plan.a_bytes()) + first;
  const auto* b = static_cast<const std::int8_t*>(args.b) + at.b_plane * plane_bytes(plan.b_bytes()) + first;
  return plan.product == Product::grad_weight ? PartOperands{b, a} : PartOperands{a, b};
}

}  // namespace octavo::kernels::cuda
