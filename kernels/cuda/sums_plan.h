// Which forward products take the sums by channel that batch norm begins with, and what these need.
#pragma once

#include <string>

#include "chain_sums.h"
#include "conv_plan.h"

namespace octavo::kernels::cuda {

struct SumsPlan {
  SumsWalk walk;
  int piece = 1, channels = 1;  // pixels of a piece

  std::int64_t pieces() const {
    return ceil_div(std::int64_t{walk.images} * walk.image_lines * walk.line, piece);
  }
  /// Sums of lanes, then FP64 ones of chunks.
  std::int64_t lane_floats() const { return pieces() * walk.lanes * 2 * channels; }
  std::int64_t scratch_bytes() const {
    return plane_bytes(lane_floats() * 4) + std::int64_t{walk.chunks} * 2 * channels * 8;
  }
};

/// Empty, or why a product's epilogue cannot take the sums that a chain over `y`, its results, would. `y` has
/// the sizes by which a chain is cut: of a linear layer one image whose width are the rows.
std::string refuse_sums(const ConvPlan& plan, const ImageLayout& y);
/// Throws std::invalid_argument with the text of refuse_sums.
SumsPlan plan_sums(const ConvPlan& plan, const ImageLayout& y);
/// Whether writing and reading the sums of lanes moves less than reading results of this type once more.
bool sums_pay(const SumsPlan& plan, FloatType type);

/// What run_conv() makes beside the results; pointers of the device.
struct ConvSums {
  SumsPlan plan;
  float* minus_pivot = nullptr;               // per channel: minus the first pixel's y, as it is stored
  double *sum = nullptr, *squares = nullptr;  // per channel, of y + minus_pivot
  void* scratch = nullptr;                    // plan.scratch_bytes()
};

}  // namespace octavo::kernels::cuda
