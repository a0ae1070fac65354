// Sizes to the description that the depthwise kernels walk by.
#include "depthwise_plan.h"

#include <stdexcept>

namespace octavo::kernels::cuda {
namespace {

ImageLayout one_group(ImageLayout layout) {
  layout.groups = 1;
  return layout;
}

}  // namespace

ImageLayout DepthwisePlan::x() const { return one_group(conv.x()); }
ImageLayout DepthwisePlan::y() const { return one_group(conv.y()); }

std::string refuse_depthwise(const ConvShape& shape, Product product, const ConvOptions& options) {
  const std::string reason = refuse_conv(shape, product, options);
  if (!reason.empty()) return reason;
  const auto because = [&](const std::string& text) { return describe_conv(shape, product) + text; };
  if (!shape.depthwise()) return because("not depthwise; take the convolution");
  // Forward and grad_input keep the sum of all taps in an int32. The blocks of grad_weight, one for each
  // weight, are below 2^31 as an image of 16 bytes a channel that holds the filter is.
  const std::int64_t bound = options.a_unsigned ? longest_unsigned_sum : longest_signed_sum;
  if (product != Product::grad_weight && shape.r * shape.s > bound)
    return because("more than " + std::to_string(bound) + " taps; use smaller filters");
  return {};
}

DepthwisePlan plan_depthwise(const ConvShape& shape, Product product, const ConvOptions& options) {
  const std::string reason = refuse_depthwise(shape, product, options);
  if (!reason.empty()) throw std::invalid_argument(reason);
  DepthwisePlan plan{.conv = plan_conv(shape, product, options)};
  plan.conv.name = "depthwise " + plan.conv.name;
  const ImageLayout x = plan.x(), y = plan.y();
  const bool weight = product == Product::grad_weight;
  plan.sizes = {plan.conv.gemm.h, plan.conv.gemm.w, x.n, x.c, weight ? x.batch_pitch() : x.pixel_pitch()};
  plan.a_bytes = weight                        ? x.batch_copy_bytes()
                 : product == Product::forward ? x.pixel_copy_bytes()
                                               : y.pixel_copy_bytes();
  plan.b_bytes = weight ? y.batch_copy_bytes() : weight_layout(plan.conv.shape).bytes(WeightCopy::depthwise);
  return plan;
}

}  // namespace octavo::kernels::cuda
