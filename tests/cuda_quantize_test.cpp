// The CUDA backend's quantize passes, emulated thread by thread from their headers: the bytes and counts of
// the CPU's.
#include <cmath>
#include <limits>

#include "cuda/epilogue.h"
#include "cuda/quantize_checks.h"
#include "cuda/weight_checks.h"
#include "sample_classes.h"
#include "support/cuda_operands.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

std::vector<float> draw_floats(std::int64_t count, unsigned seed, float most) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> any(-most, most);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = any(generator);
  return values;
}

struct Pass {
  cu::ImageLayout layout;
  std::vector<float> x, inverse;
  Granularity granularity = Granularity::tensor;
  cu::QuantizeRule rule;

  cu::QuantizeScales scales() const { return {inverse.data(), granularity}; }
};

/// Plain planes and counts from the chain of kernels/ref.
std::vector<Bytes> quantize_on_cpu(const Pass& p, QuantizeStats& stats) {
  const View view{.n = p.layout.n, .h = p.layout.h, .w = p.layout.w, .c = p.layout.c};
  Buffer target(planes_bytes(view, p.rule.planes));
  void* const targets[] = {target.data()};
  View plain = view;
  plain.zero = p.rule.lowest == 0 ? 0 : 128;
  const Quantize quantize{.granularity = p.granularity,
                          .inverse_scale = p.inverse.data(),
                          .planes = p.rule.planes,
                          .is_unsigned = p.rule.lowest == 0,
                          .grid = p.rule.grid,
                          .qmax = p.rule.qmax,
                          .rounding = p.rule.stochastic ? Rounding::stochastic : Rounding::nearest,
                          .key = p.rule.key,
                          .first_index = p.rule.first_index,
                          .views = {&plain, 1},
                          .targets = targets};
  Chain chain{.n = view.n, .h = view.h, .w = view.w, .c = view.c, .x = p.x.data()};
  chain.quantize = &quantize, chain.stats = &stats;
  std::vector<char> scratch(static_cast<std::size_t>(chain_scratch_bytes(chain)) + 64);
  chain.scratch = scratch.data() + (64 - reinterpret_cast<std::uintptr_t>(scratch.data()) % 64);
  run_chain(Isa::ref, chain, run_in_order);
  std::vector<Bytes> planes;
  for (int plane = 0; plane < p.rule.planes; ++plane) {
    const auto* first = static_cast<const std::int8_t*>(target.data()) + plane * plane_stride(view);
    planes.emplace_back(first, first + p.x.size());
  }
  return planes;
}

struct Copies {
  Bytes pixel, batch;
  cu::SegmentCounts counts;
};

Copies new_copies(const Pass& p) {
  return {unwritten_planes(p.layout.pixel_copy_bytes(), p.rule.planes),
          unwritten_planes(p.layout.batch_copy_bytes(), p.rule.planes),
          {}};
}

/// quantize_both_kernel: every thread of every block, in two phases around the shared tile.
Copies emulate_both(const Pass& p) {
  Copies copies = new_copies(p);
  for (std::int64_t b = 0; b < cu::quantize_blocks(p.layout); ++b) {
    const cu::QuantizeBlock block = cu::quantize_block(p.layout, b);
    std::vector<std::array<std::int32_t, 16>> q(cu::quantize_threads);
    for (int thread = 0; thread < cu::quantize_threads; ++thread) {
      const cu::QuantizeShare in = cu::channel_share(thread);
      std::int32_t values[16];
      cu::quantize_segment(p.layout, p.rule, p.scales(), p.x.data(), block.image + in.image, block.pixel,
                           block.slot + in.slot, values, copies.counts);
      std::copy(values, values + 16, q[static_cast<std::size_t>(thread)].begin());
    }
    for (int plane = 0; plane < p.rule.planes; ++plane) {
      Bytes staged(cu::quantize_tile * cu::quantize_pitch, 0x77);
      for (int thread = 0; thread < cu::quantize_threads; ++thread) {
        const cu::QuantizeShare in = cu::channel_share(thread);
        const auto& values = q[static_cast<std::size_t>(thread)];
        const int image = block.image + in.image, slot = block.slot + in.slot;
        for (int i = 0; i < 16; ++i)
          staged.at(static_cast<std::size_t>(cu::staged_byte(in.slot + i, in.image))) =
              cu::digit_of(values[static_cast<std::size_t>(i)], plane);
        if (image >= p.layout.n || slot >= p.layout.pixel_pitch()) continue;
        for (int j = 0; j < 16; j += 4) {
          const std::uint32_t packed = cu::pack_digits(values.data() + j, plane);
          std::memcpy(&copies.pixel.at(
                          static_cast<std::size_t>(plane * cu::plane_bytes(p.layout.pixel_copy_bytes()) +
                                                   p.layout.pixel_copy_byte(image, block.pixel, slot) + j)),
                      &packed, 4);
        }
      }
      for (int thread = 0; thread < cu::quantize_threads; ++thread) {
        const cu::QuantizeShare out = cu::image_share(thread);
        if (block.slot + out.slot >= p.layout.pixel_pitch()) continue;
        const int channel = p.layout.channel_at(block.slot + out.slot), image = block.image + out.image;
        if (channel < 0 || image >= p.layout.batch_pitch()) continue;
        std::memcpy(
            &copies.batch.at(static_cast<std::size_t>(plane * cu::plane_bytes(p.layout.batch_copy_bytes()) +
                                                      p.layout.batch_copy_byte(channel, block.pixel, image))),
            &staged.at(static_cast<std::size_t>(cu::staged_byte(out.slot, out.image))), 16);
      }
    }
  }
  return copies;
}

void check(const Pass& p) {
  INFO(p.layout.n << "x" << p.layout.h << "x" << p.layout.w << "x" << p.layout.c << " groups "
                  << p.layout.groups << " planes " << p.rule.planes << " stochastic " << p.rule.stochastic
                  << " grid " << static_cast<int>(p.rule.grid));
  QuantizeStats stats;
  const std::vector<Bytes> planes = quantize_on_cpu(p, stats);
  const Copies found = emulate_both(p);
  CHECK(first_difference(found.pixel, device_image(p.layout, planes, false)) == none);
  CHECK(first_difference(found.batch, device_image(p.layout, planes, true)) == none);
  CHECK(found.counts.max_bits == stats.max_bits);
  CHECK(found.counts.saturated == stats.saturated);
  CHECK(Int128{found.counts.sum_square} == stats.sum_square);
}

}  // namespace

TEST_CASE("cuda: quantize passes give the CPU's integers, copies and counts") {
  unsigned seed = 1;
  for (const cu::ImageLayout& layout :
       {cu::ImageLayout{1, 3, 2, 3, 1}, cu::ImageLayout{5, 2, 3, 16, 1}, cu::ImageLayout{17, 1, 1, 70, 1},
        cu::ImageLayout{66, 2, 1, 40, 1}, cu::ImageLayout{33, 1, 3, 36, 3}, cu::ImageLayout{3, 2, 2, 130, 5}})
    for (int planes = 1; planes <= 3; ++planes)
      for (bool stochastic : {false, true})
        for (Granularity granularity : {Granularity::tensor, Granularity::channel, Granularity::sample}) {
          const std::int64_t count = std::int64_t{layout.n} * layout.h * layout.w * layout.c;
          const auto qmax = static_cast<float>(largest_integer(planes));
          Pass p{.layout = layout, .x = draw_floats(count, ++seed, 1.1F)};
          for (int i = 0; i < std::max(layout.n, layout.c); ++i)
            p.inverse.push_back(qmax * (1.0F - 0.001F * static_cast<float>(i)));
          p.granularity = granularity;
          p.rule = {-qmax, qmax, planes, stochastic, random_key(seed, 3, 5), seed * 1000003ULL};
          check(p);
        }
}

TEST_CASE("cuda: ties, NaN, infinities and unsigned integers round as on the CPU") {
  Pass p{.layout = {2, 2, 2, 7, 1}, .inverse = {1.0F}};
  for (int i = 0; i < 56; ++i) p.x.push_back(static_cast<float>(i - 28) * 0.5F);
  const float infinity = std::numeric_limits<float>::infinity();
  p.x[3] = std::numeric_limits<float>::quiet_NaN(), p.x[9] = infinity, p.x[10] = -infinity, p.x[11] = 127.5F;
  p.x[12] = -127.6F, p.x[13] = -0.49999997F, p.x[14] = 0.49999997F, p.x[15] = -0.0F, p.x[16] = 3e9F;
  check(p);
  p.rule.stochastic = true, p.rule.key = random_key(1, 2, 3);
  check(p);
  p.rule.lowest = 0, p.rule.qmax = 255;
  for (float& v : p.x) v = std::fabs(v);
  check(p);
}

TEST_CASE("cuda: odd and flagged integers are the CPU's") {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const Grid grid : {Grid::odd, Grid::flagged})
    for (int planes = 2; planes <= 3; ++planes)
      for (bool stochastic : {false, true}) {
        const float qmax = grid == Grid::flagged ? 16256.0F : planes == 2 ? 511.0F : 8355711.0F;
        Pass p{.layout = {5, 2, 3, 36, 3}, .x = draw_floats(1080, 3, 1.1F), .inverse = {qmax}};
        // Ties and neighbours of the flag's border; values of neither grid.
        for (int i = 0; i < 300; ++i) p.x[static_cast<std::size_t>(i)] = static_cast<float>(i - 150) / qmax;
        for (std::size_t i = 0; i < 80; ++i) p.x[300 + i] = (127.0F + static_cast<float>(i) * 0.5F) / qmax;
        p.x[500] = std::numeric_limits<float>::quiet_NaN(), p.x[501] = infinity, p.x[502] = -infinity;
        p.rule = {-qmax, qmax, planes, stochastic, random_key(5, 3, 5), 77, grid};
        check(p);
        for (float& v : p.x) v = -v;
        check(p);
      }
}

TEST_CASE("cuda: rounding equals the library's over many values") {
  std::mt19937 generator(2);
  std::uniform_real_distribution<float> any(-9e6F, 9e6F), small(-3.0F, 3.0F);
  for (int i = 0; i < 200000; ++i)
    for (float x : {any(generator), small(generator), static_cast<float>(i) * 0.5F - 50000.0F}) {
      if (cu::floor_of(x) != std::floor(x) || cu::nearest_of(x) != std::nearbyint(x))
        FAIL("differs at " << x);
    }
  CHECK(cu::digit_of(-32639, 0) + 256 * cu::digit_of(-32639, 1) == -32639);
}

TEST_CASE("half octaves below the largest scale are the floor of the logarithm") {
  std::mt19937 generator(4);
  std::uniform_real_distribution<float> octaves(-12, 2);
  const auto differs = [](float largest, float scale) {
    const double exact = std::floor(2 * std::log2(double{largest} / scale));
    return halves_below(largest, scale) != static_cast<int>(std::clamp(exact, 0.0, 23.0));
  };
  for (int i = 0; i < 300000; ++i) {
    const float largest = 0.7F + static_cast<float>(i) * 1e-5F, scale = std::exp2(octaves(generator));
    const float next =
        std::bit_cast<float>(std::bit_cast<std::uint32_t>(largest) - static_cast<unsigned>(i % 3));
    for (float each : {scale, next, next * 0.5F, next * 0.0625F})
      if (differs(largest, each)) FAIL(largest << " over " << each);
  }
  // The fractions closest to the root of two that FP32 holds.
  std::int64_t p = 1, q = 1;
  for (; p < 1 << 24; std::tie(p, q) = std::pair(p + 2 * q, p + q))
    for (int shift = 0; shift < 12; ++shift) {
      const auto a = static_cast<float>(p), b = static_cast<float>(q);
      CHECK_FALSE(differs(std::ldexp(a, shift), b));
      CHECK_FALSE(differs(std::ldexp(b, shift + 1), a));
    }
}

TEST_CASE("cuda: the tiles of weights write every byte of each copy once") {
  using cu::WeightCopy;
  for (const cu::WeightLayout& layout :
       {cu::WeightLayout{5, 9, 3, 1}, cu::WeightLayout{16, 1, 33, 1}, cu::WeightLayout{12, 4, 9, 3},
        cu::WeightLayout{40, 9, 40, 40}, cu::WeightLayout{130, 2, 70, 1}, cu::WeightLayout{70, 81, 70, 70}})
    for (const bool depthwise : {false, true}) {
      if (depthwise && layout.inputs() != 1) continue;
      const cu::WeightMatrices m = cu::matrices_of(layout, depthwise);
      const WeightCopy turned = depthwise ? WeightCopy::depthwise : WeightCopy::grad_input;
      std::vector<int> forward_writes(static_cast<std::size_t>(layout.bytes(WeightCopy::forward))),
          turned_writes(static_cast<std::size_t>(layout.bytes(turned)));
      std::vector<int> reads(static_cast<std::size_t>(layout.k * layout.taps * layout.inputs()));
      for (int part = 0; part < m.tiles(); ++part) {
        const cu::WeightTile t = cu::weight_tile(m, part);
        for (int thread = 0; thread < cu::quantize_threads; ++thread) {
          const cu::QuantizeShare in = cu::channel_share(thread), out = cu::image_share(thread);
          const int filter = t.filter + in.image, input = t.input + in.slot;
          for (int i = 0; i < 16 && filter < m.filters && input < m.inputs; ++i) {
            if (!depthwise)
              ++forward_writes.at(
                  static_cast<std::size_t>(m.forward_byte(t.group, t.tap, filter, input) + i));
            if (input + i >= m.inputs) continue;
            const std::int64_t element = m.element(t.group, t.tap, filter, input + i);
            ++reads.at(static_cast<std::size_t>(element));
            const int k = t.group * m.filters + filter, tap = depthwise ? input + i : t.tap,
                      c = depthwise ? 0 : input + i;
            REQUIRE(element == (std::int64_t{k} * layout.taps + tap) * layout.inputs() + c);
            REQUIRE(m.turned_byte(t.group, t.tap, filter, input + i) ==
                    static_cast<std::int64_t>(weight_byte(layout, turned, k, tap, c)));
            if (!depthwise)
              REQUIRE(m.forward_byte(t.group, t.tap, filter, input + i) ==
                      static_cast<std::int64_t>(weight_byte(layout, WeightCopy::forward, k, tap, c)));
          }
          if (t.input + out.slot < m.inputs && t.filter + out.image < m.filter_pitch())
            for (int i = 0; i < 16; ++i)
              ++turned_writes.at(static_cast<std::size_t>(
                  m.turned_byte(t.group, t.tap, t.filter + out.image, t.input + out.slot) + i));
        }
      }
      const auto once = [](const std::vector<int>& counts) {
        return std::ranges::all_of(counts, [](int count) { return count == 1; });
      };
      CHECK((once(reads) && once(turned_writes) && (depthwise || once(forward_writes))));
    }
}

TEST_CASE("cuda: results are stored as the reference stores them") {
  const std::vector<float> a_scale = {0.013F, 0.5F}, b_scale = {0.0071F, 3.0F, 0.11F},
                           bias = {1.5F, -0.3F, 7.0F};
  for (FloatType type : {FloatType::f32, FloatType::bf16})
    for (bool accumulate : {false, true})
      for (std::int64_t sum :
           {std::int64_t{0}, std::int64_t{-123457}, std::int64_t{1} << 40, std::int64_t{16777217}}) {
        std::array<float, 4> found{}, expected{};
        const FloatTarget to(found.data(), type), target(expected.data(), type);
        to.set(1, 0.7F), target.set(1, 0.7F);
        cu::store_result({.out = found.data(),
                          .type = type,
                          .a_scale = a_scale.data(),
                          .b_scale = b_scale.data(),
                          .a_scale_vector = true,
                          .b_scale_vector = true,
                          .bias = bias.data(),
                          .accumulate = accumulate},
                         1, 1, 2, sum);
        const float scale = a_scale[1] * b_scale[2];
        float value = static_cast<float>(sum) * scale;
        value = value + bias[2];
        target.set(1, accumulate ? value + FloatSource(target)[1] : value);
        CHECK(found == expected);
      }
}

TEST_CASE("cuda: quantize passes refuse pointers, rules and sizes by name") {
  alignas(16) float x[64] = {};
  alignas(16) std::int8_t copy[64] = {};
  alignas(16) std::uint32_t bits[16] = {};
  cu::QuantizeCounts counts;
  const cu::QuantizeImage image{.layout = {1, 2, 2, 3, 1},
                                .x = x,
                                .scales = {x, Granularity::tensor},
                                .rule = {},
                                .pixel_copy = copy,
                                .batch_copy = copy,
                                .counts = &counts};
  const auto refused = [](auto pass, const std::string& why) {
    CHECK_THROWS_WITH(cu::check_pass(pass, cu::describe_pass("pass", {1, 2, 2, 3, 1})),
                      ContainsSubstring("cuda/pass of 1x2x2x3: ") && ContainsSubstring(why));
  };
  CHECK_NOTHROW(cu::check_pass(image, ""));
  const auto image_with = [&](auto change) {
    cu::QuantizeImage changed = image;
    change(changed);
    return changed;
  };
  refused(image_with([](auto& p) { p.x = {}; }), "x is null");
  refused(image_with([&](auto& p) { p.x = {copy + 2, FloatType::f32}; }), "x does not start");
  CHECK_NOTHROW(cu::check_pass(image_with([&](auto& p) { p.x = {copy + 2, FloatType::bf16}; }), ""));
  refused(image_with([](auto& p) { p.scales.inverse = nullptr; }), "inverse scales is null");
  refused(image_with([&](auto& p) { p.pixel_copy = copy + 8; }),
          "pixel_copy does not start at a multiple of 16");
  refused(image_with([&](auto& p) { p.batch_copy = copy + 1; }), "batch_copy does not start");
  refused(image_with([](auto& p) { p.pixel_copy = p.batch_copy = nullptr; }), "no copy");
  refused(image_with([](auto& p) { p.rule.planes = 4; }), "1 to 3 planes");
  refused(image_with([](auto& p) { p.rule.grid = Grid::odd; }), "odd and flagged integers take several");
  refused(image_with([](auto& p) { p.rule.qmax = 128; }), "qmax is at most 127");
  refused(image_with([](auto& p) { p.layout.n = 0; }), "sizes start at 1");
  refused(image_with([](auto& p) { p.layout.groups = 2; }), "groups must divide");
  refused(image_with([](auto& p) { p.layout = {1, 1 << 16, 1 << 15, 3, 1}; }), "2^31 pixels");
  refused(image_with([](auto& p) { p.layout = {65, 1 << 15, 1 << 15, 3, 1}; }), "2^31 tiles");

  const auto weights_refused = [&](auto change, const char* why) {
    cu::QuantizeWeights pass{.layout = {4, 1, 3, 1}, .weights = x, .count = 1};
    pass.copies[0] = {.scales = {x, Granularity::channel}, .copy = copy};
    CHECK_NOTHROW(cu::check_pass(pass));
    change(pass, pass.copies[0]);
    CHECK_THROWS_WITH(cu::check_pass(pass),
                      ContainsSubstring("cuda/quantize_weights of 4x") && ContainsSubstring(why));
  };
  weights_refused([](auto& p, auto&) { p.weights = nullptr; }, "4x1x3, 1 groups: weights is null");
  weights_refused([](auto& p, auto&) { p.layout.taps = 0; }, "sizes start at 1");
  weights_refused([](auto& p, auto&) { p.layout.groups = 3; }, "groups must divide");
  weights_refused([](auto& p, auto&) { p.count = 0; }, "1 to 4 copies");
  weights_refused([](auto& p, auto&) { p.count = 5; }, "1 to 4 copies");
  weights_refused([](auto&, auto& c) { c.copy = nullptr; }, "copy is null");
  weights_refused([&](auto&, auto& c) { c.copy = copy + 4; }, "copy does not start");
  weights_refused([](auto&, auto& c) { c.scales.granularity = Granularity::sample; }, "by sample");
  weights_refused([](auto&, auto& c) { c.kind = cu::WeightCopy::depthwise; }, "one input a filter");
  weights_refused([](auto& p, auto& c) { p.count = 2, p.copies[1] = c, c.kind = cu::WeightCopy::depthwise; },
                  "one input a filter");
  weights_refused(
      [](auto& p, auto& c) { p.count = 2, p.copies[1] = c, p.copies[1].kind = cu::WeightCopy::depthwise; },
      "stay among themselves");
  weights_refused([](auto&, auto& c) { c.rule.qmax = 128; }, "qmax is at most 127");

  const auto scales_refused = [&](auto change, const char* why) {
    const auto known = cu::KnownMaxima::none;
    cu::WeightScales pass{.to = {.count = 4, .scale = x, .inverse = x},
                          .layout = {4, 1, 3, 1},
                          .axis = cu::WeightAxis::filter,
                          .weights = x,
                          .known = &known,
                          .ranges = x,
                          .max_bits = bits};
    CHECK_NOTHROW(cu::check_pass(pass));
    change(pass);
    CHECK_THROWS_WITH(cu::check_pass(pass),
                      ContainsSubstring("cuda/weight_scales of 4x1x3, 1 groups: ") && ContainsSubstring(why));
  };
  scales_refused([](auto& p) { p.axis = cu::WeightAxis::input; }, "4 scales for 3 ranges");
  scales_refused([](auto& p) { p.axis = cu::WeightAxis::tensor; }, "4 scales for 1 ranges");
  scales_refused([&](auto& p) { p.to.ranges = x; }, "are those of the pass");
  scales_refused([](auto& p) { p.known = nullptr; }, "known is null");
  scales_refused([](auto& p) { p.ranges = nullptr; }, "ranges is null");
  scales_refused([](auto& p) { p.max_bits = nullptr; }, "max_bits is null");
  scales_refused([](auto& p) { p.to.scale = nullptr; }, "scale is null");

  const auto maxima = [&](cu::ImageLayout layout, const FloatSource& from, std::uint32_t* to) {
    cu::check_maxima(layout, from, Granularity::sample, to, "maxima: ");
  };
  CHECK_NOTHROW(maxima({65535, 1, 1, 3, 1}, x, bits));
  CHECK_THROWS_WITH(maxima({65536, 1, 1, 3, 1}, x, bits), ContainsSubstring("65,535 samples"));
  CHECK_THROWS_WITH(maxima({1, 1, 1, 3, 1}, {}, bits), ContainsSubstring("x is null"));
  CHECK_THROWS_WITH(maxima({1, 1, 1, 3, 1}, x, nullptr), ContainsSubstring("max_bits is null"));
}
