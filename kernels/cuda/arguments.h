// From ConvArgs with pointers of the device to what kernels take.
#pragma once

#include <stdexcept>

#include "conv_plan.h"
#include "epilogue.h"
#include "pointers.h"

namespace octavo::kernels::cuda {

/// Throws std::invalid_argument, beginning with the plan's name.
inline void check_arguments(const ConvPlan& plan, const ConvArgs& args, const SampleOrder* order) {
  const std::string& what = plan.name;
  if (args.sample_class != nullptr)
    throw std::invalid_argument(what + "sample classes come with the order of samples, not as sample_class");
  if (plan.by_class() != (order != nullptr))
    throw std::invalid_argument(what + "an order of samples is for plans with sample classes, which need it");
  check_optional_pointer(order, "order", what, alignof(SampleOrder));
  if (args.a_planes != plan.options.a_planes || args.b_planes != plan.options.b_planes)
    throw std::invalid_argument(what + "the plan was made for other planes");
  check_pointer(args.a, "a", what, segment_bytes);
  check_pointer(args.b, "b", what, segment_bytes);
  check_optional_pointer(args.integers, "integers", what, alignof(std::int64_t));
  if (args.integers != nullptr) return;
  if (!args.out) throw std::invalid_argument(what + "neither integers nor out");
  check_pointer(args.out.data, "out", what, static_cast<std::size_t>(float_bytes(args.out.type)));
  check_pointer(args.a_scale, "a_scale", what, alignof(float));
  check_pointer(args.b_scale, "b_scale", what, alignof(float));
  check_optional_pointer(args.bias, "bias", what, alignof(float));
}

inline Epilogue epilogue_of(const ConvPlan& plan, const ConvArgs& args) {
  const bool row_scales = args.a_scale_vector && !(plan.one_sample && plan.product != Product::grad_weight);
  return {.integers = args.integers,
          .odd_integers = plan.result_elements(),
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
