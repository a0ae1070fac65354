// The CUDA kernels' sources themselves, run on the host by fibers: pipelines, barriers and waits included.
// Built once for each form of the pipeline: OCTAVO_ARCH 800 (asynchronous copies) and 750 (copies through
// registers).
#include "support/cuda_fibers.h"
// Before the kernels, whose instructions it holds.
#include "cuda/arguments.h"
#include "cuda/conv_s8_kernel.cuh"
#include "cuda/depthwise_kernels.cuh"
#include "cuda/quantize_kernels.cuh"
#include "support/cuda_operands.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

constexpr std::array all_products = {Product::forward, Product::grad_input, Product::grad_weight};

/// What a launch does: every block, each with its own drawn order of warps.
template <class Body>
void launch(Dim3 grid, int threads, unsigned seed, const Body& body) {
  FiberBlock block(threads, seed, seed % 2 == 0);
  gridDim = grid;
  for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
    for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x) block.run(body);
}

template <class Shape, class Math>
void launch_conv(const cu::ConvPlan& plan, const cu::ConvRun& run, unsigned seed) {
  const Dim3 grid{static_cast<unsigned>(plan.grid.blocks()), static_cast<unsigned>(plan.parts())};
  launch(grid, Shape::threads, seed, [&] {
    if (plan.options.a_unsigned)
      cu::conv_s8_kernel<Shape, Math, true>(plan.gemm, plan.grid, run);
    else
      cu::conv_s8_kernel<Shape, Math, false>(plan.gemm, plan.grid, run);
  });
}

/// The kernels of a product as run_conv() launches them.
void run_kernels(const cu::ConvPlan& plan, const Bytes& a, const Bytes& b, bool dot, unsigned seed,
                 const cu::Epilogue& epilogue) {
  std::vector<std::int32_t> parts(static_cast<std::size_t>(plan.workspace_bytes() / 4), 123456789);
  const cu::ConvRun run{.a = a.data(),
                        .b = b.data(),
                        .a_plane = cu::plane_bytes(plan.a_bytes()),
                        .b_plane = cu::plane_bytes(plan.b_bytes()),
                        .b_planes = plan.options.b_planes,
                        .parts = plan.direct() ? nullptr : parts.data(),
                        .epilogue = epilogue};
  if (dot)
    launch_conv<cu::SmallTile, cu::DotMath>(plan, run, seed);
  else if (plan.tile == cu::TileKind::wide)
    launch_conv<cu::WideTile, cu::MatrixMath>(plan, run, seed);
  else if (plan.tile == cu::TileKind::narrow)
    launch_conv<cu::NarrowTile, cu::MatrixMath>(plan, run, seed);
  else
    launch_conv<cu::SmallTile, cu::MatrixMath>(plan, run, seed);
  if (!plan.direct())
    launch({3}, cu::join_threads, seed, [&] { cu::join_parts_kernel(plan.gemm, run, plan.parts()); });
}

void check(const ConvShape& shape, Product product, const cu::ConvOptions& options, bool dot, unsigned seed) {
  INFO(product_name(product) << " " << describe(shape) << " dot " << dot << " seed " << seed);
  const cu::ConvPlan plan = cu::plan_conv(shape, product, options);
  const PlainOperands operands = draw_operands(shape, product, options.a_planes, options.b_planes);
  std::vector<std::int64_t> sums(static_cast<std::size_t>(plan.result_elements()), -1);
  run_kernels(plan, device_a(plan, operands), device_b(plan, operands), dot, seed, {.integers = sums.data()});
  CHECK(first_difference(sums, reference_sums(shape, product, operands, options.a_unsigned,
                                              plan.result_elements())) == none);
}

}  // namespace

TEST_CASE("cuda: the kernels' sources give the reference's integers") {
  std::mt19937 generator(11);
  for (unsigned i = 0; i < 9; ++i) {
    ConvShape shape = draw_shape(generator);
    while (shape.macs() > 200'000) shape = draw_shape(generator);
    for (Product product : all_products)
      check(shape, product, {.tile = cu::TileKind::small, .least_splits = 1 + static_cast<int>(i) % 3},
            i % 4 == 3, i);
  }
  for (cu::TileKind tile : {cu::TileKind::wide, cu::TileKind::narrow})
    for (unsigned seed : {0U, 1U})
      check(conv(3, 7, 7, 70, 70, 3, 3, 2, 1), seed == 0 ? Product::forward : Product::grad_weight,
            {.tile = tile}, false, seed);
}

TEST_CASE("cuda: the kernels' sources with unsigned operands and several planes") {
  const ConvShape shape = conv(3, 6, 5, 20, 24, 3, 3, 2, 1);
  for (unsigned seed : {0U, 1U}) {
    check(shape, Product::forward, {.a_unsigned = true}, false, seed);
    check(shape, Product::grad_weight, {.a_unsigned = true, .tile = cu::TileKind::small}, true, seed);
    check(shape, Product::grad_input, {.a_planes = 2, .b_planes = 3}, false, seed);
    check(linear(7, 300, 9), Product::forward, {.a_planes = 3}, false, seed);
  }
}

namespace {

void launch_depthwise(const cu::DepthwisePlan& plan, const Bytes& a, const Bytes& b,
                      const cu::Epilogue& epilogue) {
  const cu::ConvOptions& options = plan.conv.options;
  const cu::DepthwiseRun run{.a = a.data(),
                             .b = b.data(),
                             .a_plane = cu::plane_bytes(plan.a_bytes),
                             .b_plane = cu::plane_bytes(plan.b_bytes),
                             .a_planes = options.a_planes,
                             .b_planes = options.b_planes,
                             .epilogue = epilogue};
  const bool weight = plan.conv.product == Product::grad_weight;
  const auto body = [&] {
    if (weight)
      options.a_unsigned ? cu::depthwise_grad_weight_kernel<true>(plan.sizes, run)
                         : cu::depthwise_grad_weight_kernel<false>(plan.sizes, run);
    else
      options.a_unsigned ? cu::depthwise_pixels_kernel<true>(plan.sizes, run)
                         : cu::depthwise_pixels_kernel<false>(plan.sizes, run);
  };
  launch({weight ? static_cast<unsigned>(plan.sizes.filters_taps()) : 3U}, cu::depthwise_threads, 1, body);
}

void check_depthwise(const ConvShape& shape, Product product, const cu::ConvOptions& options) {
  INFO(product_name(product) << " " << describe(shape));
  const cu::DepthwisePlan plan = cu::plan_depthwise(shape, product, options);
  const PlainOperands operands = draw_operands(shape, product, options.a_planes, options.b_planes);
  const Bytes a = depthwise_a(plan, operands), b = depthwise_b(plan, operands);
  REQUIRE(static_cast<std::int64_t>(a.size()) ==
          (options.a_planes - 1) * cu::plane_bytes(plan.a_bytes) + plan.a_bytes);
  REQUIRE(static_cast<std::int64_t>(b.size()) ==
          (options.b_planes - 1) * cu::plane_bytes(plan.b_bytes) + plan.b_bytes);
  std::vector<std::int64_t> sums(static_cast<std::size_t>(plan.conv.result_elements()), -1);
  launch_depthwise(plan, a, b, {.integers = sums.data()});
  CHECK(first_difference(sums, reference_sums(shape, product, operands, options.a_unsigned,
                                              plan.conv.result_elements())) == none);
}

/// Stores drawn.start, gives an epilogue with it to run, and compares.
template <class Run>
void check_epilogue(const ConvShape& shape, const cu::ConvPlan& plan, const PlainOperands& operands,
                    unsigned bits, const Run& run) {
  const Product product = plan.product;
  INFO(product_name(product) << " " << describe(shape) << " " << bits);
  const FloatCase drawn(shape, product, plan.result_elements(), bits);
  const auto expected = reference_floats(shape, product, operands, drawn.args, drawn.start);
  for (FloatType type : types_of(product)) {
    auto out = stored_as(drawn.start, type);
    ConvArgs args = drawn.args;
    args.out = FloatTarget(out.data(), type);
    run(cu::epilogue_of(plan, args));
    CHECK(first_difference(out, stored_as(expected, type)) == none);
  }
}

}  // namespace

TEST_CASE("cuda: the depthwise kernels' sources give the reference's integers") {
  for (const ConvShape& shape : depthwise_shapes())
    for (Product product : all_products) {
      check_depthwise(shape, product, {});
      check_depthwise(shape, product, {.a_planes = 2, .b_planes = 2});
      if (product != Product::grad_input) check_depthwise(shape, product, {.a_unsigned = true});
    }
  CHECK_THAT(cu::refuse_depthwise(conv(2, 5, 5, 16, 16, 3, 3), Product::forward, {}),
             ContainsSubstring("depthwise"));
  const ConvShape taps = conv(1, 400, 400, 2, 2, 400, 400, 1, 0, 1, 2);  // 160,000, above both bounds
  const ConvShape fewer = conv(1, 300, 300, 2, 2, 300, 300, 1, 0, 1, 2);
  for (Product product : {Product::forward, Product::grad_input})
    CHECK_THAT(cu::refuse_depthwise(taps, product, {}), ContainsSubstring("more than 131071 taps"));
  CHECK(cu::refuse_depthwise(taps, Product::grad_weight, {}).empty());
  CHECK(cu::refuse_depthwise(fewer, Product::forward, {}).empty());
  CHECK_THAT(cu::refuse_depthwise(fewer, Product::forward, {.a_unsigned = true}),
             ContainsSubstring("more than 65793 taps"));
  CHECK(cu::refuse_depthwise(fewer, Product::grad_weight, {.a_unsigned = true}).empty());
}

TEST_CASE("cuda: the depthwise kernels' sources store the reference's floats") {
  for (const ConvShape& shape :
       {conv(17, 9, 8, 10, 10, 3, 3, 2, 1, 1, 10), conv(1, 1, 19, 18, 18, 1, 1, 1, 0, 1, 18)})
    for (Product product : all_products) {
      const cu::DepthwisePlan plan = cu::plan_depthwise(shape, product, {});
      const PlainOperands operands = draw_operands(shape, product, 1, 1);
      const Bytes a = depthwise_a(plan, operands), b = depthwise_b(plan, operands);
      for (unsigned bits = 0; bits < (product == Product::forward ? float_cases : 8); ++bits)
        check_epilogue(shape, plan.conv, operands, bits,
                       [&](const cu::Epilogue& epilogue) { launch_depthwise(plan, a, b, epilogue); });
    }
}

TEST_CASE("cuda: the convolution's source stores the reference's floats") {
  for (const ConvShape& shape : {conv(3, 6, 5, 20, 24, 3, 3, 2, 1, 1, 2), linear(7, 70, 9)})
    for (Product product : all_products)
      for (int splits : {1, 2}) {
        const cu::ConvPlan plan = cu::plan_conv(shape, product, {.least_splits = splits});
        const PlainOperands operands = draw_operands(shape, product, 1, 1);
        const Bytes a = device_a(plan, operands), b = device_b(plan, operands);
        for (unsigned bits = 0; bits < (product == Product::forward ? float_cases : 8); ++bits)
          check_epilogue(shape, plan, operands, bits, [&](const cu::Epilogue& epilogue) {
            run_kernels(plan, a, b, bits % 2 != 0, bits, epilogue);
          });
      }
}

TEST_CASE("cuda: fibers notice a barrier that not all reach") {
  FiberBlock block(64, 1, false);
  CHECK_THROWS_AS(block.run([] {
    if (threadIdx.x != 5) __syncthreads();
  }),
                  std::logic_error);
}

TEST_CASE("cuda: the quantize kernels' sources write both copies and count") {
  for (const cu::ImageLayout& layout : {cu::ImageLayout{5, 2, 3, 16, 1}, cu::ImageLayout{66, 2, 1, 40, 1},
                                        cu::ImageLayout{33, 1, 2, 36, 3}, cu::ImageLayout{17, 1, 1, 70, 1}})
    for (int planes = 1; planes <= 2; ++planes) {
      std::mt19937 generator(7);
      std::uniform_real_distribution<float> any(-1.1F, 1.1F);
      std::vector<float> x(static_cast<std::size_t>(layout.n * layout.h * layout.w * layout.c));
      for (float& v : x) v = any(generator);
      const auto qmax = static_cast<float>(largest_integer(planes));
      const cu::QuantizeRule rule{-qmax, qmax, planes, true, random_key(1, 2, 3), 77};
      std::vector<Bytes> plain(static_cast<std::size_t>(planes), Bytes(x.size()));
      cu::SegmentCounts counts;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const cu::QuantizedValue q = cu::quantize_value(rule, x[i], qmax, i);
        counts.add(x[i], q);
        for (int plane = 0; plane < planes; ++plane)
          plain[static_cast<std::size_t>(plane)][i] = cu::digit_of(q.integer, plane);
      }
      const Bytes pixel = device_image(layout, plain, false), batch = device_image(layout, plain, true);
      for (bool both : {true, false}) {
        Bytes found_pixel = unwritten_planes(layout.pixel_copy_bytes(), planes);
        Bytes found_batch = unwritten_planes(layout.batch_copy_bytes(), planes);
        cu::QuantizeCounts found;
        const cu::QuantizeImage pass{.layout = layout,
                                     .x = x.data(),
                                     .scales = {&qmax, Granularity::tensor},
                                     .rule = rule,
                                     .pixel_copy = found_pixel.data(),
                                     .batch_copy = both ? found_batch.data() : nullptr,
                                     .counts = &found};
        if (both)
          launch({static_cast<unsigned>(cu::quantize_blocks(layout))}, cu::quantize_threads, 1,
                 [&] { cu::quantize_both_kernel<float>(pass); });
        else
          launch({2}, cu::quantize_threads, 1, [&] { cu::quantize_pixels_kernel<float>(pass); });
        CHECK(first_difference(found_pixel, pixel) == none);
        if (both) CHECK(first_difference(found_batch, batch) == none);
        CHECK((found.max_bits == counts.max_bits && found.saturated == counts.saturated));
        CHECK((found.sum_abs == counts.sum_abs &&
               found.square_low + (found.square_high << 32) == counts.sum_square));
      }
    }
}

TEST_CASE("cuda: the sources of maxima and of weights") {
  const cu::ImageLayout l{3, 4, 5, 37, 1};
  std::vector<float> x(static_cast<std::size_t>(l.n * l.h * l.w * l.c));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>((i * 7919) % 1009) - 500.0F;
  x[50] = std::numeric_limits<float>::quiet_NaN();
  std::vector<std::uint32_t> by_sample(3), by_channel(37), samples(3), channels(37);
  for (std::size_t i = 0; i < x.size(); ++i)
    if (x[i] == x[i]) {
      const std::uint32_t bits = std::bit_cast<std::uint32_t>(std::fabs(x[i]));
      by_sample[i / 740] = std::max(by_sample[i / 740], bits);
      by_channel[i % 37] = std::max(by_channel[i % 37], bits);
    }
  launch({2, 3}, cu::quantize_threads, 1,
         [&] { cu::max_pieces_kernel<float>(x.data(), 740, samples.data()); });
  launch({1, 7}, cu::quantize_threads, 1,
         [&] { cu::max_channels_kernel<float>(x.data(), 60, 37, channels.data()); });
  CHECK((samples == by_sample && channels == by_channel));
  std::vector<Bf16> rounded(x.size());
  std::transform(x.begin(), x.end(), rounded.begin(), to_bf16);
  std::vector<std::uint32_t> bf16_samples(3), bf16_channels(37), expected(3), expected_channels(37);
  for (std::size_t i = 0; i < x.size(); ++i)
    if (x[i] == x[i]) {
      const std::uint32_t bits = std::bit_cast<std::uint32_t>(std::fabs(to_float(rounded[i])));
      expected[i / 740] = std::max(expected[i / 740], bits);
      expected_channels[i % 37] = std::max(expected_channels[i % 37], bits);
    }
  launch({2, 3}, cu::quantize_threads, 1,
         [&] { cu::max_pieces_kernel<Bf16>(rounded.data(), 740, bf16_samples.data()); });
  launch({1, 7}, cu::quantize_threads, 1,
         [&] { cu::max_channels_kernel<Bf16>(rounded.data(), 60, 37, bf16_channels.data()); });
  CHECK((bf16_samples == expected && bf16_channels == expected_channels));

  const cu::WeightLayout w{10, 4, 12, 2};
  const float inverse = 0.25F;
  std::vector<float> weights(x.begin() + 60, x.begin() + 60 + 10 * 4 * 6);
  Bytes plain(weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i)
    plain[i] = static_cast<std::int8_t>(cu::quantize_value({}, weights[i], inverse, i).integer);
  for (cu::WeightCopy kind : {cu::WeightCopy::forward, cu::WeightCopy::grad_input}) {
    Bytes copy(static_cast<std::size_t>(w.bytes(kind)), 99);
    const cu::QuantizeWeights pass{.layout = w,
                                   .kind = kind,
                                   .weights = weights.data(),
                                   .scales = {&inverse, Granularity::tensor},
                                   .copy = copy.data()};
    launch({2}, cu::quantize_threads, 1, [&] { cu::quantize_weights_kernel(pass); });
    CHECK(first_difference(copy, device_weights(w, {plain}, kind)) == none);
  }
}
