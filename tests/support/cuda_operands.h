// Operands of the device's products in its layouts, and what the reference makes of the plain ones.
#pragma once

#include <cstring>
#include <random>
#include <sstream>

#include "cuda/depthwise_plan.h"
#include "support/conv_shapes.h"
#include "support/cuda_emulation.h"

namespace octavo::kernels::test {

inline constexpr std::array all_products = {Product::forward, Product::grad_input, Product::grad_weight};
inline constexpr std::array all_tiles = {cu::TileKind::wide, cu::TileKind::narrow, cu::TileKind::small};
inline constexpr std::array all_instructions = {Instruction::m16n8k32, Instruction::m8n8k16,
                                                Instruction::dp4a, Instruction::wgmma};

inline Bytes draw_bytes(std::int64_t count, unsigned seed, int lowest = -128) {
  std::mt19937 generator(seed);
  std::uniform_int_distribution<int> any(lowest, 127), coin(0, 15);
  Bytes bytes(static_cast<std::size_t>(count));
  for (std::int8_t& v : bytes) v = static_cast<std::int8_t>(coin(generator) == 0 ? lowest : any(generator));
  return bytes;
}

constexpr const char* none = "no difference";
/// `none`, or the first place where two vectors differ: a failing CHECK prints a line, not both vectors.
template <class T>
std::string first_difference(const std::vector<T>& found, const std::vector<T>& expected) {
  std::ostringstream text;
  if (found.size() != expected.size()) {
    text << found.size() << " elements, expected " << expected.size();
    return text.str();
  }
  std::size_t at = 0, count = 0;
  for (std::size_t i = found.size(); i-- > 0;)
    if (found[i] != expected[i]) at = i, ++count;
  if (count == 0) return none;
  text << count << " of " << found.size() << " differ, the first at " << at << ": " << +found[at]
       << ", expected " << +expected[at];
  return text.str();
}

/// A copy before a pass writes it: every byte of a plane is poison, those between planes, which nothing
/// writes, are 0.
inline Bytes unwritten_planes(std::int64_t bytes, int planes) {
  Bytes out(static_cast<std::size_t>((planes - 1) * cu::plane_bytes(bytes) + bytes));
  for (int plane = 0; plane < planes; ++plane)
    std::memset(out.data() + plane * cu::plane_bytes(bytes), 0x5b, static_cast<std::size_t>(bytes));
  return out;
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

/// The sums of kernels/ref, whose loops are plain and in int64; pairs of planes joined here. With classes the
/// even sums, then the odd ones.
inline std::vector<std::int64_t> reference_sums(const ConvShape& shape, Product product,
                                                const PlainOperands& operands, bool a_unsigned,
                                                std::int64_t results, const std::uint8_t* classes = nullptr) {
  results *= classes != nullptr ? 2 : 1;
  const ConvS8Candidate& reference = conv_s8_candidates().back();
  View a_view = reference.a_view(shape, product);
  if (a_unsigned) a_view.zero = 0;
  const auto kernel = reference.make(shape, product, a_view, reference.b_view(shape, product));
  std::vector<std::int64_t> total(static_cast<std::size_t>(results)), sums(total.size());
  for (std::size_t i = 0; i < operands.a.size(); ++i)
    for (std::size_t j = 0; j < operands.b.size(); ++j) {
      ConvArgs args{.a = operands.a[i].data(), .b = operands.b[j].data()};  // ref packs nothing
      args.integers = sums.data(), args.sample_class = classes;
      kernel->run(args, run_in_order);
      for (std::size_t r = 0; r < total.size(); ++r) total[r] += sums[r] << (8 * (i + j));
    }
  return total;
}

inline std::vector<float> draw_floats(std::int64_t count, unsigned seed, float low, float high) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> any(low, high);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = any(generator);
  return values;
}

constexpr unsigned float_cases = 16;  // bits: scales of A and B as vectors, accumulation, bias

/// What an epilogue takes, drawn for a shape.
struct FloatCase {
  std::vector<float> a_scale, b_scale, bias, start;
  ConvArgs args;  // with pointers of the host

  FloatCase(const ConvShape& shape, Product product, std::int64_t results, unsigned bits)
      : a_scale(draw_floats(std::max({shape.n, shape.c, shape.k}), 1, 0.001F, 0.1F)),
        b_scale(draw_floats(std::max({shape.n, shape.c, shape.k}), 2, 0.001F, 0.1F)),
        bias(draw_floats(shape.k, 3, -9, 9)),
        start(draw_floats(results, 4, -9, 9)) {
    for (float& v : start) v = to_float(to_bf16(v));
    args.a_scale_vector = (bits & 1) != 0, args.b_scale_vector = (bits & 2) != 0;
    args.accumulate = (bits & 4) != 0;
    args.a_scale = a_scale.data(), args.b_scale = b_scale.data();
    args.bias = product == Product::forward && (bits & 8) != 0 ? bias.data() : nullptr;
  }
};

/// The floats of kernels/ref, in FP32; `start` is what accumulation adds to.
inline std::vector<float> reference_floats(const ConvShape& shape, Product product,
                                           const PlainOperands& operands, ConvArgs args,
                                           std::vector<float> start) {
  const ConvS8Candidate& reference = conv_s8_candidates().back();
  const View a_view = reference.a_view(shape, product);
  const auto kernel = reference.make(shape, product, a_view, reference.b_view(shape, product));
  args.a = operands.a[0].data(), args.b = operands.b[0].data();
  args.out = start.data();
  kernel->run(args, run_in_order);
  return start;
}

inline std::vector<std::uint8_t> stored_as(const std::vector<float>& values, FloatType type) {
  std::vector<std::uint8_t> bytes(values.size() * static_cast<std::size_t>(float_bytes(type)));
  const FloatTarget target(bytes.data(), type);
  for (std::size_t i = 0; i < values.size(); ++i) target.set(static_cast<std::int64_t>(i), values[i]);
  return bytes;
}

/// Results of a product are stored as.
inline std::vector<FloatType> types_of(Product product) {
  if (product == Product::grad_weight) return {FloatType::f32};
  return {FloatType::f32, FloatType::bf16};
}

/// An order of samples as the device has it.
struct HostOrder {
  cu::SampleOrder head{};
  std::vector<std::int32_t> entries;

  /// Of samples with these classes; `places` rows where there is one sample (rows_as_batch).
  explicit HostOrder(const std::vector<std::uint8_t>& classes, int places = 0) {
    const auto count = std::max(static_cast<std::size_t>(places), classes.size());
    const auto class_of = [&](std::size_t i) { return int{classes[classes.size() == 1 ? 0 : i]}; };
    cu::ClassPlaces to{};
    for (std::size_t i = 0; i < count; ++i) ++to.samples[class_of(i)];
    cu::place_classes(head, to);
    entries.assign(static_cast<std::size_t>(head.segments) * 16, cu::no_sample);
    std::array<int, cu::most_ranges> ranks{};
    for (std::size_t i = 0; i < count; ++i) {
      int& rank = ranks[static_cast<std::size_t>(class_of(i))];
      cu::enter_sample(to, class_of(i), rank++, static_cast<int>(i), entries.data());
    }
  }
};

inline Bytes ordered_image(const cu::ImageLayout& layout, const std::vector<Bytes>& planes,
                           const HostOrder& order) {
  Bytes out = unwritten_planes(layout.batch_copy_bytes(), static_cast<int>(planes.size()));
  for (std::size_t p = 0; p < planes.size(); ++p)
    for (std::size_t place = 0; place < order.entries.size(); ++place)
      for (int pixel = 0; pixel < layout.h * layout.w; ++pixel)
        for (int channel = 0; channel < layout.c; ++channel) {
          const int sample = cu::sample_of(order.entries[place]);
          const std::int64_t at = layout.batch_copy_byte(channel, pixel, static_cast<int>(place));
          out.at(p * static_cast<std::size_t>(cu::plane_bytes(layout.batch_copy_bytes())) +
                 static_cast<std::size_t>(at)) =
              sample < 0 ? std::int8_t{0}
                         : planes[p][static_cast<std::size_t>(layout.element(sample, pixel, channel))];
        }
  return out;
}

/// [n, h, w, c] to the copy with pixels outermost or with the batch innermost; padding is 0. With an order of
/// samples the batch copy has theirs, and poison behind the last segment in use.
inline Bytes device_image(const cu::ImageLayout& layout, const std::vector<Bytes>& planes, bool batch_copy,
                          const HostOrder* order = nullptr) {
  const std::int64_t bytes = batch_copy ? layout.batch_copy_bytes() : layout.pixel_copy_bytes();
  Bytes out(static_cast<std::size_t>((planes.size() - 1) * cu::plane_bytes(bytes) + bytes));
  if (order != nullptr) return ordered_image(layout, planes, *order);
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

/// Where a copy has a weight.
inline std::size_t weight_byte(const cu::WeightLayout& l, cu::WeightCopy copy, int k, int tap, int input) {
  const int row = k / l.outputs() * l.inputs() + input;
  const int line = copy == cu::WeightCopy::forward      ? k * l.taps + tap
                   : copy == cu::WeightCopy::grad_input ? row * l.taps + tap
                                                        : tap;
  const int inner = copy == cu::WeightCopy::forward      ? input
                    : copy == cu::WeightCopy::grad_input ? k % l.outputs()
                                                         : k;
  return static_cast<std::size_t>(std::int64_t{line} * l.pitch(copy) + inner);
}

inline Bytes device_weights(const cu::WeightLayout& layout, const std::vector<Bytes>& planes,
                            cu::WeightCopy copy) {
  const std::int64_t bytes = layout.bytes(copy);
  const int inputs = layout.inputs();
  Bytes out(static_cast<std::size_t>((planes.size() - 1) * cu::plane_bytes(bytes) + bytes));
  for (std::size_t p = 0; p < planes.size(); ++p)
    for (int k = 0; k < layout.k; ++k)
      for (int tap = 0; tap < layout.taps; ++tap)
        for (int input = 0; input < inputs; ++input)
          out[p * static_cast<std::size_t>(cu::plane_bytes(bytes)) +
              weight_byte(layout, copy, k, tap, input)] =
              planes[p][static_cast<std::size_t>((k * layout.taps + tap) * inputs + input)];
  return out;
}

inline Bytes device_a(const cu::ConvPlan& plan, const PlainOperands& operands,
                      const HostOrder* order = nullptr) {
  return device_image(plan.product == Product::grad_input ? plan.y() : plan.x(), operands.a,
                      plan.product == Product::grad_weight, order);
}
inline Bytes device_b(const cu::ConvPlan& plan, const PlainOperands& operands,
                      const HostOrder* order = nullptr) {
  if (plan.product == Product::grad_weight) return device_image(plan.y(), operands.b, true, order);
  return device_weights(
      cu::weight_layout(plan.shape), operands.b,
      plan.product == Product::forward ? cu::WeightCopy::forward : cu::WeightCopy::grad_input);
}

inline Bytes depthwise_a(const cu::DepthwisePlan& plan, const PlainOperands& operands,
                         const HostOrder* order = nullptr) {
  return device_image(plan.conv.product == Product::grad_input ? plan.y() : plan.x(), operands.a,
                      plan.conv.product == Product::grad_weight, order);
}
inline Bytes depthwise_b(const cu::DepthwisePlan& plan, const PlainOperands& operands,
                         const HostOrder* order = nullptr) {
  if (plan.conv.product == Product::grad_weight) return device_image(plan.y(), operands.b, true, order);
  return device_weights(cu::weight_layout(plan.conv.shape), operands.b, cu::WeightCopy::depthwise);
}

/// Classes of a batch: all the same, each its own, or drawn from `count` neighbours, near the lowest or not.
inline std::vector<std::uint8_t> draw_classes(std::int64_t samples, int below, std::mt19937& generator) {
  const auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(generator);
  };
  std::vector<std::uint8_t> classes(static_cast<std::size_t>(samples));
  const int kind = draw(0, 5), count = std::min(draw(1, 24), below), first = draw(0, below - count);
  for (std::size_t i = 0; i < classes.size(); ++i)
    classes[i] = static_cast<std::uint8_t>(kind == 0   ? first
                                           : kind == 1 ? static_cast<int>(i) % below
                                                       : first + draw(0, draw(0, count - 1)));
  return classes;
}

inline std::vector<ConvShape> depthwise_shapes() {
  return {conv(2, 9, 9, 16, 16, 3, 3, 1, 1, 1, 16), conv(17, 9, 8, 10, 10, 3, 3, 2, 1, 1, 10),
          conv(1, 8, 8, 6, 6, 5, 5, 1, 2, 1, 6),    conv(3, 9, 7, 18, 18, 3, 3, 1, 2, 2, 18),
          conv(33, 6, 5, 3, 3, 3, 3, 2, 0, 1, 3),   conv(2, 12, 11, 2, 2, 7, 7, 3, 3, 1, 2),
          conv(5, 10, 10, 9, 9, 3, 3, 2, 2, 3, 9),  conv(1, 1, 5, 16, 16, 1, 1, 1, 0, 1, 16),
          conv(1, 1, 19, 10, 10, 1, 1, 1, 0, 1, 10)};
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
