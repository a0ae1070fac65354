// Host side of a depthwise product on the device. Plain C++: tests use it without CUDA.
#pragma once

#include "conv_plan.h"
#include "depthwise.h"

namespace octavo::kernels::cuda {

struct DepthwisePlan {
  ConvPlan
      conv;  // shape, product and options; its tiles are not used. Operands have the layouts of conv.shape
  Depthwise sizes;
  std::int64_t a_bytes = 0, b_bytes = 0;  // of one plane; planes lie plane_bytes() of it apart

  /// The layouts of the operands: those of `conv` with one group of channels.
  ImageLayout x() const;
  ImageLayout y() const;
};

/// Empty, or why the kernels cannot do it and what to change.
std::string refuse_depthwise(const ConvShape& shape, Product product, const ConvOptions& options);
/// Throws std::invalid_argument with the text of refuse_depthwise.
DepthwisePlan plan_depthwise(const ConvShape& shape, Product product, const ConvOptions& options);

}  // namespace octavo::kernels::cuda
