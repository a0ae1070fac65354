// Operands of the device's products in its layouts, and what the reference makes of the plain ones.
#pragma once

#include <random>

#include "cuda/depthwise_plan.h"
#include "support/conv_shapes.h"
#include "support/cuda_emulation.h"

namespace octavo::kernels::test {

inline Bytes draw_bytes(std::int64_t count, unsigned seed, int lowest = -128) {
  std::mt19937 generator(seed);
  std::uniform_int_distribution<int> any(lowest, 127), coin(0, 15);
  Bytes bytes(static_cast<std::size_t>(count));
  for (std::int8_t& v : bytes) v = static_cast<std::int8_t>(coin(generator) == 0 ? lowest : any(generator));
  return bytes;
}

/// Plain operands of a product, one Bytes for each plane.
struct PlainOperands {
  std::vector<Bytes> a, b;
};

inline PlainOperands draw_operands(const ConvShape& shape, Product product, int a_planes, int b_planes) {
  PlainOperands operands;
  const std::int64_t a = product == Product::grad_input ? y_elements(shape) : x_elements(shape);
  const std::int64_t b = product == Product::grad_weight ? y_elements(shape) : w_elements(shape);
  for (int i = 0; i < a_planes; ++i) operands.a.push_back(draw_bytes(a, 10 + static_cast<unsigned>(i)));
  for (int i = 0; i < b_planes; ++i) operands.b.push_back(draw_bytes(b, 20 + static_cast<unsigned>(i)));
  return operands;
}

inline void run_in_order(std::int64_t chunks, FunctionRef<void(std::int64_t)> body) {
  for (std::int64_t i = 0; i < chunks; ++i) body(i);
}

/// The sums of kernels/ref, whose loops are plain and in int64; pairs of planes joined here.
inline std::vector<std::int64_t> reference_sums(const ConvShape& shape, Product product,
                                                const PlainOperands& operands, bool a_unsigned,
                                                std::int64_t results) {
  const ConvS8Candidate& reference = conv_s8_candidates().back();
  View a_view = reference.a_view(shape, product);
  if (a_unsigned) a_view.zero = 0;
  const auto kernel = reference.make(shape, product, a_view, reference.b_view(shape, product));
  std::vector<std::int64_t> total(static_cast<std::size_t>(results)), sums(total.size());
  for (std::size_t i = 0; i < operands.a.size(); ++i)
    for (std::size_t j = 0; j < operands.b.size(); ++j) {
      ConvArgs args{.a = operands.a[i].data(), .b = operands.b[j].data()};  // ref packs nothing
      args.integers = sums.data();
      kernel->run(args, run_in_order);
      for (std::size_t r = 0; r < total.size(); ++r) total[r] += sums[r] << (8 * (i + j));
    }
  return total;
}

/// [n, h, w, c] to the copy with pixels outermost or with the batch innermost; padding is 0.
inline Bytes device_image(const cu::ImageLayout& layout, const std::vector<Bytes>& planes, bool batch_copy) {
  const std::int64_t bytes = batch_copy ? layout.batch_copy_bytes() : layout.pixel_copy_bytes();
  Bytes out(static_cast<std::size_t>((planes.size() - 1) * cu::plane_bytes(bytes) + bytes));
  for (std::size_t p = 0; p < planes.size(); ++p)
    for (int m = 0; m < layout.n; ++m)
      for (int pixel = 0; pixel < layout.h * layout.w; ++pixel)
        for (int slot = 0; slot < layout.pixel_pitch(); ++slot) {
          const int channel = layout.channel_at(slot);
          if (channel < 0) continue;
          const std::int64_t at =
              batch_copy ? layout.batch_copy_byte(channel, pixel, m) : layout.pixel_copy_byte(m, pixel, slot);
          out[static_cast<std::size_t>(p * cu::plane_bytes(bytes) + at)] =
              planes[p][static_cast<std::size_t>(layout.element(m, pixel, channel))];
        }
  return out;
}

inline Bytes device_weights(const cu::WeightLayout& layout, const std::vector<Bytes>& planes,
                            cu::WeightCopy copy) {
  const std::int64_t bytes = layout.bytes(copy);
  Bytes out(static_cast<std::size_t>((planes.size() - 1) * cu::plane_bytes(bytes) + bytes));
  for (std::size_t p = 0; p < planes.size(); ++p)
    for (std::int64_t at = 0; at < bytes; ++at) {
      const std::int64_t element = layout.at(copy, at).element;
      if (element >= 0)
        out[static_cast<std::size_t>(p * cu::plane_bytes(bytes) + at)] =
            planes[p][static_cast<std::size_t>(element)];
    }
  return out;
}

inline Bytes device_a(const cu::ConvPlan& plan, const PlainOperands& operands) {
  const bool weight = plan.product == Product::grad_weight;
  return device_image(
      plan.product == Product::grad_input ? cu::y_layout(plan.shape) : cu::x_layout(plan.shape), operands.a,
      weight);
}
inline Bytes device_b(const cu::ConvPlan& plan, const PlainOperands& operands) {
  if (plan.product == Product::grad_weight) return device_image(cu::y_layout(plan.shape), operands.b, true);
  return device_weights(
      cu::weight_layout(plan.shape), operands.b,
      plan.product == Product::forward ? cu::WeightCopy::forward : cu::WeightCopy::grad_input);
}

inline Bytes depthwise_a(const cu::DepthwisePlan& plan, const PlainOperands& operands) {
  const ConvShape& shape = plan.conv.shape;
  return device_image(
      plan.conv.product == Product::grad_input ? cu::depthwise_y(shape) : cu::depthwise_x(shape), operands.a,
      plan.conv.product == Product::grad_weight);
}
inline Bytes depthwise_b(const cu::DepthwisePlan& plan, const PlainOperands& operands) {
  const ConvShape& shape = plan.conv.shape;
  if (plan.conv.product == Product::grad_weight)
    return device_image(cu::depthwise_y(shape), operands.b, true);
  return device_weights(cu::weight_layout(shape), operands.b, cu::WeightCopy::depthwise);
}

inline std::vector<ConvShape> depthwise_shapes() {
  return {conv(2, 9, 9, 16, 16, 3, 3, 1, 1, 1, 16), conv(17, 9, 8, 10, 10, 3, 3, 2, 1, 1, 10),
          conv(1, 8, 8, 6, 6, 5, 5, 1, 2, 1, 6),    conv(3, 9, 7, 18, 18, 3, 3, 1, 2, 2, 18),
          conv(33, 6, 5, 3, 3, 3, 3, 2, 0, 1, 3),   conv(2, 12, 11, 2, 2, 7, 7, 3, 3, 1, 2),
          conv(5, 10, 10, 9, 9, 3, 3, 2, 2, 3, 9)};
}

/// C, K 1 to 80, odd and even images, strides 1 to 3, padding 0 to 3, dilation, groups, batch 1 to 33, taps 1
/// to 7.
inline ConvShape draw_shape(std::mt19937& generator) {
  const auto draw = [&](std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(generator);
  };
  for (;;) {
    const std::int64_t groups = draw(0, 2) > 0 ? 1 : draw(2, 5);
    ConvShape s = conv(draw(1, 33), draw(1, 15), draw(1, 15), groups * draw(1, 80 / groups),
                       groups * draw(1, 80 / groups), draw(1, 7), draw(1, 7));
    s.groups = groups;
    s.stride_h = draw(1, 3), s.stride_w = draw(1, 2), s.pad_h = draw(0, 3), s.pad_w = draw(0, 3);
    s.dilation_h = draw(1, 3), s.dilation_w = draw(1, 2);
    const std::int64_t rest_h = s.h + 2 * s.pad_h - (s.r - 1) * s.dilation_h - 1;
    const std::int64_t rest_w = s.w + 2 * s.pad_w - (s.s - 1) * s.dilation_w - 1;
    if (rest_h < 0 || rest_w < 0) continue;
    s.ho = rest_h / s.stride_h + 1, s.wo = rest_w / s.stride_w + 1;
    if (s.macs() < 1'000'000) return s;
  }
}

}  // namespace octavo::kernels::test
