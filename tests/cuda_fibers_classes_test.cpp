// Weight gradients with sample classes: the kernels' sources on fibers, from the order of samples to results.
#include "support/cuda_products.h"
// After the instructions.
#include "cuda/sample_order_kernel.cuh"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

/// The order as its kernel makes it, which must be that of the headers.
HostOrder order_by_kernel(std::vector<std::uint8_t> classes, int places, unsigned seed) {
  HostOrder expected(classes, places), found = expected;
  found.head = {};
  std::fill(found.entries.begin(), found.entries.end(), 77);
  const cu::OrderSamples pass{.samples = static_cast<int>(classes.size()),
                              .places = places,
                              .sample_class = classes.data(),
                              .order = &found.head,
                              .entries = found.entries.data()};
  launch({1}, cu::order_threads, seed, [&] { cu::order_samples_kernel(pass); });
  CHECK(first_difference(found.entries, expected.entries) == none);
  CHECK((found.head.ranges == expected.head.ranges && found.head.segments == expected.head.segments));
  return found;
}

void check_classes(const ConvShape& shape, const cu::ConvOptions& options,
                   const std::vector<std::uint8_t>& classes, bool dot, unsigned seed) {
  INFO(describe(shape) << " dot " << dot << " seed " << seed);
  const cu::ConvPlan plan = cu::plan_conv(shape, Product::grad_weight, options);
  const PlainOperands operands =
      draw_operands(shape, Product::grad_weight, options.a_planes, options.b_planes);
  const HostOrder order = order_by_kernel(classes, static_cast<int>(plan.shape.n), seed);
  std::vector<std::int64_t> sums(static_cast<std::size_t>(2 * plan.result_elements()), -1);
  run_kernels(plan, device_a(plan, operands, &order), device_b(plan, operands, &order), dot, seed,
              {.integers = sums.data(), .odd_integers = plan.result_elements()}, &order.head);
  CHECK(first_difference(sums, reference_sums(shape, Product::grad_weight, operands, options.a_unsigned,
                                              plan.result_elements(), classes.data())) == none);
}

}  // namespace

TEST_CASE("cuda: the kernels' sources with sample classes give the reference's integers") {
  std::mt19937 generator(31);
  const auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(generator);
  };
  for (unsigned i = 0; i < 16; ++i) {
    ConvShape shape = draw_shape(generator);
    while (shape.macs() > 100'000) shape = draw_shape(generator);
    shape.n = draw(1, 40);
    cu::ConvOptions options{.a_planes = 1 + (i % 5 == 0), .b_planes = 1 + (i % 7 == 0)};
    const int below = options.a_planes * options.b_planes == 1 && i % 3 == 0 ? 48 : 24;
    options.a_unsigned = i % 5 == 1, options.sample_classes = below;
    options.tile = i % 4 == 0 ? cu::TileKind::wide : i % 4 == 1 ? cu::TileKind::narrow : cu::TileKind::small;
    options.least_splits = draw(1, 4);
    check_classes(shape, options, draw_classes(shape.n, below, generator), i % 4 == 3, i);
  }
  check_classes(linear(37, 20, 30), {.sample_classes = 24}, {5}, false, 0);
#if OCTAVO_WGMMA
  const ConvShape shape = conv(21, 5, 4, 20, 300, 3, 3, 2, 1);
  for (unsigned seed = 0; seed < 4; ++seed)
    check_classes(shape, {.sample_classes = 24, .tile = cu::TileKind::broad}, draw_classes(21, 24, generator),
                  false, seed);
#endif
}

namespace {

void check_depthwise_classes(const ConvShape& shape, const cu::ConvOptions& options,
                             const std::vector<std::uint8_t>& classes) {
  INFO(describe(shape));
  const cu::DepthwisePlan plan = cu::plan_depthwise(shape, Product::grad_weight, options);
  const std::int64_t results = plan.conv.result_elements();
  const PlainOperands operands =
      draw_operands(shape, Product::grad_weight, options.a_planes, options.b_planes);
  const HostOrder order(classes, static_cast<int>(plan.conv.shape.n));
  std::vector<std::int64_t> sums(static_cast<std::size_t>(2 * results), -1);
  launch_depthwise(plan, depthwise_a(plan, operands, &order), depthwise_b(plan, operands, &order),
                   {.integers = sums.data(), .odd_integers = results}, &order.head);
  CHECK(first_difference(sums, reference_sums(shape, Product::grad_weight, operands, options.a_unsigned,
                                              results, classes.data())) == none);
}

}  // namespace

TEST_CASE("cuda: depthwise weight gradients with sample classes give the reference's integers") {
  std::mt19937 generator(41);
  for (ConvShape shape : depthwise_shapes())
    for (int time = 0; time < 2; ++time) {
      if (shape.h > 1) shape.n = std::uniform_int_distribution<int>(1, 40)(generator);
      check_depthwise_classes(shape, {.sample_classes = 24}, draw_classes(shape.n, 24, generator));
      check_depthwise_classes(shape, {.a_planes = 2, .b_planes = 2, .sample_classes = 24},
                              draw_classes(shape.n, 24, generator));
    }
}

TEST_CASE("cuda: sums of sample classes are stored as the reference stores them") {
  const std::vector<std::uint8_t> classes = {7, 0, 3, 4, 4, 0, 1, 23, 0, 2, 4, 4, 4, 4, 4, 4, 4};
  const ConvShape shape = conv(17, 6, 5, 20, 24, 3, 3, 2, 1, 1, 2);
  const ConvShape depthwise = conv(17, 6, 5, 10, 10, 3, 3, 2, 1, 1, 10);
  const HostOrder order(classes);
  for (unsigned bits = 0; bits < 8; ++bits) {
    const cu::ConvPlan plan = cu::plan_conv(shape, Product::grad_weight, {.sample_classes = 24});
    PlainOperands operands = draw_operands(shape, Product::grad_weight, 1, 1);
    const Bytes a = device_a(plan, operands, &order), b = device_b(plan, operands, &order);
    check_epilogue(
        shape, plan, operands, bits,
        [&](const cu::Epilogue& e) { run_kernels(plan, a, b, bits % 2 != 0, bits, e, &order.head); },
        classes.data());
    const cu::DepthwisePlan by_channel =
        cu::plan_depthwise(depthwise, Product::grad_weight, {.sample_classes = 24});
    operands = draw_operands(depthwise, Product::grad_weight, 1, 1);
    const Bytes x = depthwise_a(by_channel, operands, &order), g = depthwise_b(by_channel, operands, &order);
    check_epilogue(
        depthwise, by_channel.conv, operands, bits,
        [&](const cu::Epilogue& e) { launch_depthwise(by_channel, x, g, e, &order.head); }, classes.data());
  }
}

namespace {

constexpr std::array all_products = {Product::forward, Product::grad_input, Product::grad_weight};

/// round_to_classes() of src/exec/quantize.cpp in its words, with the double logarithm that the exact
/// comparison of kernels/sample_classes.h stands for.
struct ClassedSamples {
  std::vector<std::uint8_t> sample_class;
  std::vector<float> scale, inverse;
  float class_scale;

  ClassedSamples(const std::vector<std::uint32_t>& maxima, float cap, float qmax, bool has_zero)
      : sample_class(maxima.size()),
        scale(maxima.size(), has_zero ? 1.0F : 0.0F),
        inverse(maxima.size(), 1),
        class_scale(scale[0]) {
    std::vector<float> ranges;
    ranges.reserve(maxima.size());
    for (const std::uint32_t bits : maxima) ranges.push_back(std::min(cap, std::bit_cast<float>(bits)));
    float largest = 0;
    for (float range : ranges)
      if (range >= 1e-30F) largest = std::max(largest, range / qmax);
    if (!(largest > 0)) return;
    int lowest = 0;
    std::vector<int> below(ranges.size(), 23);
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      const bool usable = ranges[i] >= 1e-30F;
      const double ratio = usable ? double{largest} / (ranges[i] / qmax) : 0;
      if (usable) below[i] = static_cast<int>(std::clamp(std::floor(2 * std::log2(ratio)), 0.0, 23.0));
      if (usable || !has_zero) lowest = std::max(lowest, below[i]);
    }
    class_scale = scale_of(largest, -lowest);
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      sample_class[i] = static_cast<std::uint8_t>(lowest - std::min(lowest, below[i]));
      scale[i] = scale_of(class_scale, sample_class[i]), inverse[i] = 1.0F / scale[i];
    }
  }
  static float scale_of(float smallest, int halves) {
    const bool odd = halves % 2 != 0;
    return std::ldexp(odd ? smallest * sqrt2 : smallest, (halves - (odd ? 1 : 0)) / 2);
  }
};

}  // namespace

TEST_CASE("cuda: the order's source chooses the classes of the executor's rule") {
  std::mt19937 generator(61);
  for (unsigned time = 0; time < 40; ++time) {
    const int n = std::uniform_int_distribution<int>(1, 300)(generator);
    std::normal_distribution<float> octaves(0, 0.5F + static_cast<float>(time % 8));
    std::vector<std::uint32_t> maxima;
    maxima.reserve(static_cast<std::size_t>(n));
    for (int i = 0; i < n; ++i)
      maxima.push_back(std::bit_cast<std::uint32_t>(i % 9 == 8 ? 0.0F : std::exp2(octaves(generator))));
    if (time == 7) std::fill(maxima.begin(), maxima.end(), 0U);
    const float cap = time % 3 == 0 ? 1.5F : std::numeric_limits<float>::max(), qmax = 127;
    const Grid grid = time % 4 == 3 ? Grid::odd : Grid::every;
    const ClassedSamples expected(maxima, cap, qmax, grid == Grid::every);
    const auto count = static_cast<std::size_t>(n);
    std::vector<std::uint8_t> classes(count);
    std::vector<float> scale(count), inverse(count);
    float class_scale = -1;
    HostOrder order(expected.sample_class);
    const cu::SampleOrder head = std::exchange(order.head, {});
    const std::vector<std::int32_t> entries = order.entries;
    launch({1}, cu::order_threads, time, [&] {
      cu::order_samples_kernel({.samples = n,
                                .places = n,
                                .max_bits = maxima.data(),
                                .cap = &cap,
                                .qmax = qmax,
                                .grid = grid,
                                .sample_class = classes.data(),
                                .class_scale = &class_scale,
                                .scale = scale.data(),
                                .inverse_scale = inverse.data(),
                                .order = &order.head,
                                .entries = order.entries.data()});
    });
    CHECK(first_difference(classes, expected.sample_class) == none);
    CHECK((class_scale == expected.class_scale && scale == expected.scale && inverse == expected.inverse));
    CHECK((order.head.segments == head.segments && order.entries == entries));
  }
}
