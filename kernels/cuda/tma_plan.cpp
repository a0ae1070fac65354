// Sizes to steps of TMA.
#include "tma_plan.h"

#include <numeric>

namespace octavo::kernels::cuda {
namespace {

/// Both operands are matrices whose rows lie in memory as they are multiplied.
bool is_flat(const ConvPlan& plan) {
  const ConvShape& s = plan.shape;
  return is_matrix_product(s) && s.h == s.ho && s.w == s.wo;
}

/// Segments that steps of so many would multiply for each tap.
std::int64_t copied_segments(std::int64_t segments, int step) { return ceil_div(segments, step) * step; }

/// 128 bytes, so that a step has half as many barriers a byte, unless that multiplies an eighth more zeros.
int step_bytes(std::int64_t segments) {
  return copied_segments(segments, 8) * 8 <= copied_segments(segments, 4) * 9 ? 128 : 64;
}

/// Rows of A that lie in memory at one distance: in a weight gradient channels of one pixel of the filter.
int box_rows(const ConvPlan& plan, bool flat) {
  const int rows = tile_rows(plan.tile);
  if (flat || plan.product != Product::grad_weight || plan.shape.r * plan.shape.s == 1) return rows;
  return std::gcd(rows, plan.gemm.images);
}

/// Two, so that a step of 128 x 128 x 128 reads 24 KiB in place of 32 from L2, unless a block without rows
/// would cost more than a ninth.
int cluster_blocks(const TileGrid& grid) { return grid.m_tiles % 2 == 0 || grid.m_tiles > 8 ? 2 : 1; }

/// What cuTensorMapEncodeIm2col and the instruction take of four dimensions.
bool fits_im2col(const AxisClass& axis, int in) {
  const Im2colAxis corners = im2col_axis(axis, in);
  const int furthest = im2col_offset(axis, axis.in_tap < 0 ? 0 : axis.taps - 1);
  return corners.lower >= -128 && corners.upper <= 127 && corners.lower <= 127 && corners.upper >= -128 &&
         furthest <= 255 && axis.in_step <= 8;
}

}  // namespace

std::string refuse_tma(const ConvPlan& plan) {
  const ConvOptions& options = plan.options;
  const ImplicitGemm& g = plan.gemm;
  if (options.a_planes * options.b_planes > 1) return "operands of several planes";
  if (plan.by_class()) return "ranges of sample classes, which lie in device memory";
  const bool flat = is_flat(plan);
  const std::int64_t segments = tap_segments(g, flat);
  if (segments * 2 <= copied_segments(segments, 4)) return "a tap that fills at most half of a step";
  if (plan.product == Product::grad_weight)
    return box_rows(plan, flat) < 16 ? "channels that are no multiple of 16 of a larger filter" : "";
  if (g.classes() > most_tma_classes) return "more than 4 classes of pixels";
  for (int which = 0; which < g.classes(); ++which) {
    const GemmClass c = gemm_class(g, which);
    if (!flat && is_read(g, c) && !(fits_im2col(c.h, g.h.in) && fits_im2col(c.w, g.w.in)))
      return "padding, dilation or strides beyond the range of im2col";
  }
  return {};
}

TmaSteps plan_tma(const ConvPlan& plan) {
  const bool flat = is_flat(plan);
  const std::int64_t segments = tap_segments(plan.gemm, flat);
  const int bytes = step_bytes(segments);
  return {.step_bytes = bytes,
          .im2col = !flat && plan.product != Product::grad_weight,
          .flat = flat,
          .blocks = static_cast<int>(ceil_div(segments * segment_bytes, bytes)),
          .box_rows = box_rows(plan, flat),
          .cluster = cluster_blocks(plan.grid)};
}

}  // namespace octavo::kernels::cuda
