// The CUDA kernels' sources themselves, run on the host by fibers: pipelines, barriers and waits included.
// Built once for each form of the pipeline: OCTAVO_ARCH 900 (warpgroups), 800 (asynchronous copies) and 750
// (copies through registers).
#include "support/cuda_products.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

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
  // More steps than stages, of every tile and with both kinds of delays.
  for (cu::TileKind tile : all_tiles)
    for (unsigned seed = 0; seed < 4; ++seed) {
      check(conv(3, 7, 7, 70, 70, 3, 3, 2, 1), Product::forward, {.tile = tile}, false, seed);
      check(conv(40, 5, 5, 20, 70, 3, 3, 1, 1), Product::grad_weight, {.tile = tile}, false, seed);
    }
}

#if OCTAVO_WGMMA
TEST_CASE("cuda: the broad tile's source gives the reference's integers") {
  for (unsigned seed = 0; seed < 4; ++seed)
    for (Product product : all_products)
      check(conv(3, 7, 7, 70, 300, 3, 3, 2, 1), product,
            {.a_unsigned = seed == 1 && product != Product::grad_input,
             .tile = cu::TileKind::broad,
             .least_splits = seed < 2 ? 1 : 2},
            false, seed);
}
#endif

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
