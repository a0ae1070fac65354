#include "device/products.h"

#include "core/check.h"
#include "cuda/depthwise_plan.h"

namespace octavo::device {
namespace {

using kernels::ConvS8Candidate;
using kernels::ConvShape;
using kernels::Product;
using kernels::View;
using kernels::cuda::ImageLayout;

ImageLayout layout_of(const ConvShape& shape, bool x) {
  ImageLayout layout = x ? kernels::cuda::x_layout(shape) : kernels::cuda::y_layout(shape);
  if (shape.depthwise()) layout.groups = 1;
  return layout;
}

View image(const ImageLayout& layout) { return {.n = layout.n, .h = layout.h, .w = layout.w, .c = layout.c}; }

View pixel_view(const ConvShape& shape, bool x) {
  const ImageLayout layout = layout_of(shape, x);
  View view = image(layout);
  view.layout = kernels::Layout::pixels;
  view.groups = layout.groups;
  view.channel_pitch = layout.channel_pitch();
  return view;
}

View batch_view(const ConvShape& shape, bool x) {
  View view = image(layout_of(shape, x));
  const ImageLayout batch = layout_of(kernels::cuda::rows_as_batch(shape), x);
  view.layout = kernels::Layout::batch;
  view.pitch = std::int64_t{batch.h} * batch.w;
  view.plane = batch.batch_pitch();
  return view;
}

View a_view(const ConvShape& shape, Product product) {
  return product == Product::grad_weight ? batch_view(shape, true)
                                         : pixel_view(shape, product == Product::forward);
}
View b_view(const ConvShape& shape, Product product) {
  return product == Product::grad_weight ? batch_view(shape, false) : View{};
}
// With sample classes both batch copies are made of pixel copies when the order of samples is known.
View class_a_view(const ConvShape& shape, Product) { return pixel_view(shape, true); }
View class_b_view(const ConvShape& shape, Product) { return pixel_view(shape, false); }

std::string refuse(const ConvShape& shape, Product product) {
  return shape.depthwise() ? kernels::cuda::refuse_depthwise(shape, product, {})
                           : kernels::cuda::refuse_conv(shape, product, {});
}

constexpr ConvS8Candidate conv{"cuda/conv_s8", kernels::Isa::ref, refuse, a_view, b_view, nullptr};
constexpr ConvS8Candidate depthwise{"cuda/depthwise_s8", kernels::Isa::ref, refuse, a_view, b_view, nullptr};
constexpr ConvS8Candidate conv_classes{
    "cuda/conv_s8 by class", kernels::Isa::ref, refuse, class_a_view, class_b_view, nullptr};
constexpr ConvS8Candidate depthwise_classes{
    "cuda/depthwise_s8 by class", kernels::Isa::ref, refuse, class_a_view, class_b_view, nullptr};

void require_format(const SlotFormat& format) {
  require(format.granularity != ScaleGranularity::sample_class ||
              (format.fixed_clip == 0 && !format.power_of_two),
          Errc::config,
          "train.device: sample classes of a fixed range or of powers of two have no kernels on the device");
}

}  // namespace

KernelChoice kernel_choice() {
  return [](const ConvShape& shape, Product product, const ProductFormat& format) -> const ConvS8Candidate* {
    require_format(format.data);
    require_format(format.other);
    const std::string reason = refuse(shape, product);
    require(reason.empty(), Errc::config, "train.device: ", reason);
    const bool by_class =
        product == Product::grad_weight && format.other.granularity == ScaleGranularity::sample_class;
    if (shape.depthwise()) return by_class ? &depthwise_classes : &depthwise;
    return by_class ? &conv_classes : &conv;
  };
}

}  // namespace octavo::device
