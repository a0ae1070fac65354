// Host side of an FP32 product on the device: which sizes it takes and how it is cut. Plain C++: tests use it
// without CUDA.
#pragma once

#include <optional>
#include <string>

#include "../conv_f32.h"
#include "conv_f32_tiles.h"
#include "conv_plan.h"

namespace octavo::kernels::cuda {

/// Tiles of 128 x 128, 128 x 64 or 64 x 64 results, or a result a thread.
enum class F32Kernel : std::uint8_t { wide, narrow, small, direct };

/// In evaluation sums have an order that the contraction alone decides, so that an image's results do not
/// depend on its batch. In training processors change it too.
struct ConvF32Options {
  ConvPhase phase = ConvPhase::training;
  int processors = 132;  // multiprocessors to keep busy
  // For tests; more parts change the order of sums.
  std::optional<F32Kernel> kernel = {};
  int least_splits = 1;
};

/// One FP32 product of one convolution.
struct ConvF32Plan {
  ConvShape shape;
  Product product = Product::forward;
  F32Kernel kernel = F32Kernel::wide;
  ConvF32Gemm gemm;
  TileGrid grid;
  std::string name;  // the beginning of every message

  int splits() const { return gemm.splits; }
  /// FP32 sums of the parts, where there are several.
  std::int64_t workspace_bytes() const { return splits() == 1 ? 0 : splits() * gemm.results * 4; }
};

/// Empty, or why the kernels cannot do it and what to change.
std::string refuse_conv_f32(const ConvShape& shape, Product product, const ConvF32Options& options = {});
/// Throws std::invalid_argument with the text of refuse_conv_f32.
ConvF32Plan plan_conv_f32(const ConvShape& shape, Product product, const ConvF32Options& options = {});

}  // namespace octavo::kernels::cuda
