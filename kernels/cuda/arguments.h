// From ConvArgs with pointers of the device to what kernels take.
#pragma once

#include <stdexcept>

#include "conv_plan.h"
#include "epilogue.h"

namespace octavo::kernels::cuda {

/// Throws std::invalid_argument, beginning with the plan's name.
inline void check_arguments(const ConvPlan& plan, const ConvArgs& args) {
  const std::string& what = plan.name;
  const auto aligned = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % segment_bytes == 0; };
  if (args.sample_class != nullptr)
    throw std::invalid_argument(what + "sample classes are not supported; run the product class by class");
  if (args.a_planes != plan.options.a_planes || args.b_planes != plan.options.b_planes)
    throw std::invalid_argument(what + "the plan was made for other planes");
  if (!aligned(args.a) || !aligned(args.b))
    throw std::invalid_argument(what + "operands start at multiples of 16 bytes");
  if (args.integers == nullptr && (!args.out || args.a_scale == nullptr || args.b_scale == nullptr))
    throw std::invalid_argument(what + "neither integers nor out with both scales");
}

inline Epilogue epilogue_of(const ConvPlan& plan, const ConvArgs& args) {
  const bool row_scales = args.a_scale_vector && !(plan.one_sample && plan.product != Product::grad_weight);
  return {.integers = args.integers,
          .out = args.out.data,
          .type = args.out.type,
          .a_scale = args.a_scale,
          .b_scale = args.b_scale,
          .a_scale_vector = row_scales,
          .b_scale_vector = args.b_scale_vector,
          .bias = plan.product == Product::forward ? args.bias : nullptr,
          .accumulate = args.accumulate};
}

}  // namespace octavo::kernels::cuda
