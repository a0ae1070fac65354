// Stages filled by TMA: the kernel's source on fibers gives the reference's integers and floats, and what the
// driver or the instructions refuse is refused.
#include <set>

#include "cuda/tma_plan.h"
#include "support/cuda_products.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

/// What a plan does, so that a test can tell that it met everything.
struct Kind {
  int product, step_bytes, form, cluster;  // form: 0 flat, 1 im2col, 2 tiled
};

Kind kind_of(const cu::ConvPlan& plan) {
  return {static_cast<int>(plan.product), plan.tma.step_bytes,
          plan.tma.flat     ? 0
          : plan.tma.im2col ? 1
                            : 2,
          plan.tma.cluster};
}

/// Runs a product that must take TMA.
Kind check(const ConvShape& shape, Product product, cu::ConvOptions options, unsigned seed) {
  options.tma = true;
  INFO(product_name(product) << " " << describe(shape) << " seed " << seed);
  const cu::ConvPlan plan = cu::plan_conv(shape, product, options);
  REQUIRE(cu::refuse_tma(plan).empty());
  REQUIRE(plan.by_tma());
  const PlainOperands operands = draw_operands(shape, product, 1, 1);
  std::vector<std::int64_t> sums(static_cast<std::size_t>(plan.result_elements()), -1);
  run_kernels(plan, device_a(plan, operands), device_b(plan, operands), false, seed,
              {.integers = sums.data()});
  CHECK(first_difference(sums, reference_sums(shape, product, operands, options.a_unsigned,
                                              plan.result_elements())) == none);
  return kind_of(plan);
}

/// Shapes whose taps fill steps: 33 to 200 channels and filters, or batches of 33 to 150.
ConvShape draw_filled_shape(std::mt19937& generator, Product product) {
  const auto draw = [&](std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(generator);
  };
  for (;;) {
    const bool weight = product == Product::grad_weight;
    const std::int64_t groups = draw(0, 3) > 0 ? 1 : 2;
    ConvShape s = conv(weight ? draw(33, 150) : draw(1, 9), draw(1, 9), draw(1, 9),
                       groups * (weight ? 16 * draw(1, 5) : draw(33, 140)),
                       groups * (weight ? draw(1, 70) : draw(33, 140)), draw(1, 4), draw(1, 4));
    s.groups = groups;
    s.stride_h = draw(1, 2), s.stride_w = draw(1, 2), s.pad_h = draw(0, 3), s.pad_w = draw(0, 3);
    s.dilation_h = draw(1, 3), s.dilation_w = draw(1, 2);
    if (draw(0, 4) == 0) s.r = s.s = 1, s.stride_h = s.stride_w = 1, s.pad_h = s.pad_w = 0, s.groups = 1;
    const std::int64_t rest_h = s.h + 2 * s.pad_h - (s.r - 1) * s.dilation_h - 1;
    const std::int64_t rest_w = s.w + 2 * s.pad_w - (s.s - 1) * s.dilation_w - 1;
    if (rest_h < 0 || rest_w < 0) continue;
    s.ho = rest_h / s.stride_h + 1, s.wo = rest_w / s.stride_w + 1;
    if (s.macs() < 4'000'000) return s;
  }
}

}  // namespace

TEST_CASE("cuda: stages filled by TMA give the reference's integers") {
  std::mt19937 generator(3);
  std::set<std::array<int, 3>> kinds;
  std::set<std::array<int, 2>> clusters;
  const auto note = [&](const Kind& kind) {
    kinds.insert({kind.product, kind.step_bytes, kind.form});
    clusters.insert({kind.product, kind.cluster});
  };
  constexpr std::array tiles = {cu::TileKind::small, cu::TileKind::narrow, cu::TileKind::wide,
                                cu::TileKind::broad};
  for (unsigned i = 0; i < 40; ++i)
    for (Product product : all_products) {
      const cu::ConvOptions options{.a_unsigned = i % 5 == 4 && product != Product::grad_input,
                                    .tile = tiles[i % 8 < 5 ? 0 : i % 8 - 4],
                                    .least_splits = 1 + static_cast<int>(i) % 3};
      note(check(draw_filled_shape(generator, product), product, options, i));
    }
  note(check(linear(60, 48, 30), Product::grad_weight, {}, 1));
  CHECK(kinds.size() == 3 * 2 * 2);  // flat or not
  CHECK(clusters.size() == 3 * 2);
}

TEST_CASE("cuda: TMA fills more steps than there are stages, of every tile") {
  for (cu::TileKind tile :
       {cu::TileKind::small, cu::TileKind::narrow, cu::TileKind::wide, cu::TileKind::broad})
    for (unsigned seed = 0; seed < 4; ++seed) {
      CHECK(check(conv(2, 7, 6, 120, 70, 3, 3, 2, 1), Product::forward, {.tile = tile}, seed).step_bytes ==
            128);
      CHECK(check(conv(2, 7, 6, 60, 70, 3, 3, 1, 1), Product::forward, {.tile = tile}, seed).step_bytes ==
            64);
      check(conv(2, 7, 6, 70, 64, 3, 3, 2, 1), Product::grad_input, {.tile = tile}, seed);
      check(conv(50, 5, 5, 48, 70, 3, 3, 1, 1), Product::grad_weight, {.tile = tile}, seed);
      check(linear(130, 1100, 70), Product::forward, {.tile = tile}, seed);
    }
}

TEST_CASE("cuda: classes of pixels that no tap reaches are zeros without TMA") {
  for (unsigned seed = 0; seed < 2; ++seed)
    CHECK(check(conv(2, 9, 8, 70, 64, 1, 1, 2), Product::grad_input, {.tile = cu::TileKind::small}, seed)
              .form == 1);
}

TEST_CASE("cuda: blocks without rows bring their cluster the filters that it shares") {
  for (unsigned seed = 0; seed < 4; ++seed) {
    // 11 tiles of rows, and classes of pixels with four and three.
    CHECK(check(linear(700, 70, 90), Product::forward, {.tile = cu::TileKind::small}, seed).cluster == 2);
    CHECK(check(conv(3, 17, 17, 20, 64, 3, 3, 2, 1), Product::grad_input, {.tile = cu::TileKind::small}, seed)
              .cluster == 2);
    // The same with every tile.
    for (cu::TileKind tile : {cu::TileKind::narrow, cu::TileKind::wide, cu::TileKind::broad})
      CHECK(check(linear(1400, 70, 40), Product::forward, {.tile = tile}, seed).cluster == 2);
  }
}

TEST_CASE("cuda: persistent blocks of TMA go on from tile to tile") {
  // By seed a cluster takes one to five of them: tiles of one and of many steps, with columns that nobody
  // stores, in parts, and with classes that no tap reaches between others.
  for (cu::TileKind tile :
       {cu::TileKind::small, cu::TileKind::narrow, cu::TileKind::wide, cu::TileKind::broad})
    for (unsigned seed = 0; seed < 12; ++seed) {
      check(linear(1300, 70, 40), Product::forward, {.tile = tile}, seed);
      check(conv(5, 9, 9, 70, 330, 3, 3, 1, 1), Product::forward, {.tile = tile, .least_splits = 3}, seed);
      check(conv(9, 9, 8, 70, 64, 1, 1, 2), Product::grad_input, {.tile = tile}, seed);
      check(conv(40, 5, 5, 48, 70, 3, 3, 1, 1), Product::grad_weight, {.tile = tile}, seed);
    }
}

TEST_CASE("cuda: TMA's results are the reference's floats") {
  for (const ConvShape& shape : {conv(3, 6, 5, 80, 96, 3, 3, 2, 1, 1, 2), linear(70, 70, 60)})
    for (Product product : {Product::forward, Product::grad_input})
      for (int splits : {1, 2}) {
        const cu::ConvPlan plan = cu::plan_conv(shape, product, {.least_splits = splits, .tma = true});
        REQUIRE(plan.by_tma());
        const PlainOperands operands = draw_operands(shape, product, 1, 1);
        const Bytes a = device_a(plan, operands), b = device_b(plan, operands);
        for (unsigned bits = 0; bits < (product == Product::forward ? float_cases : 8); ++bits)
          check_epilogue(shape, plan, operands, bits, [&](const cu::Epilogue& epilogue) {
            run_kernels(plan, a, b, false, bits, epilogue);
          });
      }
}

TEST_CASE("cuda: fibers notice barriers of TMA that are used wrongly") {
  alignas(16) static const std::int8_t source[64] = {1};
  CUtensorMap map;
  const cuuint64_t size[] = {64}, distance[] = {64};
  const cuuint32_t box[] = {64}, step[] = {1};
  REQUIRE(cuTensorMapEncodeTiled(&map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 1, const_cast<std::int8_t*>(source),
                                 size, distance, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                 CU_TENSOR_MAP_SWIZZLE_64B, CU_TENSOR_MAP_L2_PROMOTION_NONE,
                                 CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS);
  constexpr std::uint32_t barrier = 4096;
  for (const bool late : {false, true}) {
    FiberBlock block(32, 1, late);
    const auto run = [&](bool fence, int expected, int parity, bool wait, bool shows = true) {
      block.run([&] {
        block.shared()[512] = 0;
        if (shows) cu::show_to_copies();
        if (threadIdx.x == 0) cu::init_barrier(barrier, 1);
        if (threadIdx.x == 0 && fence) cu::show_barriers();
        __syncthreads();
        if (threadIdx.x == 0) {
          cu::arrive_expecting(barrier, expected);
          cu::copy_box(512, map, barrier, 0);
        }
        if (wait) cu::wait_phase(barrier, parity);
        if (wait && block.shared()[512] != 1) throw std::logic_error("nothing has arrived");
        if (wait) cu::wait_phase(barrier, parity);  // and stays so
      });
    };
    CHECK_NOTHROW(run(true, 64, 0, true));
    CHECK_THROWS_WITH(run(false, 64, 0, true), ContainsSubstring("does not see"));
    CHECK_THROWS_WITH(run(true, 80, 0, true), ContainsSubstring("wait for each other for ever"));
    CHECK_THROWS(run(true, 48, 0, true));
    CHECK_THROWS_WITH(run(true, 64, 0, true, false), ContainsSubstring("has not shown it"));
    if (late) CHECK_THROWS_WITH(run(true, 64, 1, true), ContainsSubstring("nothing has arrived"));
    if (late) CHECK_THROWS_WITH(run(true, 64, 0, false), ContainsSubstring("before its boxes arrived"));
  }
}

TEST_CASE("cuda: fibers notice a block that leaves its cluster too early") {
  FiberBlock block(32, 1, false, false, 2);
  const auto run = [&](bool stays) {
    blockIdx = {0, 0, 0};
    block.run([&] {
      if (threadIdx.x == 0) cu::init_barrier(4096, 1);
      cu::sync_cluster();
      if (blockIdx.x % 2 == 1 && threadIdx.x == 0) cu::arrive_at(4096, 0);
      if (blockIdx.x % 2 == 0 && stays) cu::wait_phase(4096, 0);
    });
  };
  CHECK_NOTHROW(run(true));
  int noticed = 0;
  for (int i = 0; i < 20; ++i) try {
      run(false);
    } catch (const std::logic_error&) {
      ++noticed;
    }
  CHECK((noticed > 0 && noticed < 20));  // in some orders of warps
}
