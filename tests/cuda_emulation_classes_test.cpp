// Weight gradients with sample classes, emulated lane by lane: equal to the reference.
#include <cmath>
#include <cstdio>

#include "sample_classes.h"
#include "support/cuda_operands.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

/// The same for a weight gradient with sample classes.
template <class Maps = DeviceMaps>
std::string class_difference(const ConvShape& shape, const cu::ConvOptions& options,
                             const std::vector<std::uint8_t>& classes, Instruction instruction) {
  const cu::ConvPlan plan = cu::plan_conv(shape, Product::grad_weight, options);
  const PlainOperands operands =
      draw_operands(shape, Product::grad_weight, options.a_planes, options.b_planes);
  const HostOrder order(classes, static_cast<int>(plan.shape.n));
  const auto expected = reference_sums(shape, Product::grad_weight, operands, options.a_unsigned,
                                       plan.result_elements(), classes.data());
  return first_difference(emulate<Maps>(plan, device_a(plan, operands, &order),
                                        device_b(plan, operands, &order), instruction, &order.head),
                          expected);
}

ConvShape draw_batch(std::mt19937& generator) {
  ConvShape shape = draw_shape(generator);
  while (shape.macs() > 300'000) shape = draw_shape(generator);
  shape.n = std::uniform_int_distribution<int>(1, 40)(generator);
  return shape;
}

}  // namespace

TEST_CASE("cuda: weight gradients with sample classes equal the reference over drawn shapes") {
  std::mt19937 generator(21);
  const auto draw = [&](int count) { return std::uniform_int_distribution<int>(0, count - 1)(generator); };
  for (int i = 0; i < 120; ++i) {
    const ConvShape shape = draw_batch(generator);
    cu::ConvOptions options{.a_planes = 1 + (draw(4) == 0), .b_planes = 1 + (draw(4) == 0)};
    const int below = options.a_planes * options.b_planes == 1 && draw(2) == 0 ? 48 : 24;
    options.sample_classes = below, options.processors = draw(2) == 0 ? 132 : 1;
    options.tile = all_tiles[static_cast<std::size_t>(draw(3))];
    options.least_splits = 1 + draw(4);
    options.a_unsigned = options.a_planes == 1 && draw(3) == 0;
    const auto classes = draw_classes(shape.n, below, generator);
    INFO(describe(shape) << " below " << below << " splits " << options.least_splits);
    CHECK(class_difference(shape, options, classes, all_instructions[static_cast<std::size_t>(i % 4)]) ==
          none);
  }
}

TEST_CASE(
    "cuda: an order holds each sample as often as it counts, in no more segments than there is room for") {
  std::mt19937 generator(23);
  for (int time = 0; time < 3000; ++time) {
    const int n = std::uniform_int_distribution<int>(1, 300)(generator), below = time % 2 == 0 ? 24 : 48;
    const auto classes = draw_classes(n, below, generator);
    const HostOrder order(classes);
    std::array<int, cu::most_ranges> count{};
    for (const std::uint8_t c : classes) ++count[c];
    int padded = 0;
    for (const int samples : count) padded += (samples + 15) / 16;
    REQUIRE((order.head.segments <= padded && padded <= cu::most_segments(n, below)));
    std::vector<int> weight(classes.size()), firsts(classes.size());  // of a sample, in units of its range
    for (int i = 0; i < order.head.ranges; ++i) {
      const cu::ClassRange range = order.head.range[i];
      for (int at = range.first * 16; at < (range.first + range.segments) * 16; ++at) {
        const std::int32_t entry = order.entries[static_cast<std::size_t>(at)];
        if (entry < 0) continue;
        const auto sample = static_cast<std::size_t>(cu::sample_of(entry));
        REQUIRE(classes[sample] % 2 == range.odd);
        weight[sample] += 1 << range.octave, firsts[sample] += cu::is_first(entry) ? 1 : 0;
      }
    }
    for (std::size_t i = 0; i < classes.size(); ++i)
      REQUIRE((weight[i] == 1 << (classes[i] / 2) && firsts[i] == 1));
  }
}

TEST_CASE("cuda: sums of sample classes that leave an int32 no room are cut at the octaves") {
  // Of -128 by -128, 15 samples a class, which move nowhere: parts of 745 and 800 steps have room for two
  // octaves.
  for (const int pixels : {8190, 2400, 1600}) {
    const ConvShape shape = conv(60, 1, pixels, 1, 2, 1, 1);
    const cu::ConvPlan plan =
        cu::plan_conv(shape, Product::grad_weight, {.sample_classes = 7, .processors = 1});
    std::vector<std::uint8_t> classes;
    classes.reserve(60);
    for (int i = 0; i < 60; ++i) classes.push_back(static_cast<std::uint8_t>(i % 4 * 2));
    const HostOrder order(classes);
    CHECK(cu::class_steps(plan.gemm, order.head).octaves == 2);
    PlainOperands operands = draw_operands(shape, Product::grad_weight, 1, 1);
    for (Bytes* bytes : {&operands.a[0], &operands.b[0]}) std::fill(bytes->begin(), bytes->end(), -128);
    const auto expected =
        reference_sums(shape, Product::grad_weight, operands, false, plan.result_elements(), classes.data());
    for (Instruction instruction : {Instruction::m16n8k32, Instruction::wgmma})
      CHECK(first_difference(emulate(plan, device_a(plan, operands, &order), device_b(plan, operands, &order),
                                     instruction, &order.head),
                             expected) == none);
  }
}

TEST_CASE("cuda: linear rows have the class of their one sample") {
  for (std::uint8_t sample_class : {0, 5, 23})
    CHECK(class_difference(linear(37, 20, 30), {.sample_classes = 24}, {sample_class}, Instruction::dp4a) ==
          none);
}

namespace {

struct LostOctave : DeviceMaps {
  static int octaves(int from, int to) { return from > to ? from - to - 1 : 0; }
};

}  // namespace

TEST_CASE("cuda: the emulation notices a lost octave") {
  const std::vector<std::uint8_t> classes = {6, 0, 8, 3, 6, 0, 0};
  const ConvShape batch = conv(7, 7, 6, 20, 24, 3, 3, 2, 1);
  CHECK(class_difference(batch, {.sample_classes = 24}, classes, Instruction::m16n8k32) == none);
  CHECK(class_difference<LostOctave>(batch, {.sample_classes = 24}, classes, Instruction::m16n8k32) != none);
}

// The table of docs/gpu.md: segments relative to those without classes, for log-normal maxima of samples.
TEST_CASE("cuda: what sample classes cost in padding", "[.padding]") {
  for (const int n : {128, 256})
    for (const float deviation : {0.25F, 0.5F, 1.0F}) {  // octaves
      std::mt19937 generator(1);
      std::normal_distribution<float> octaves(0, deviation);
      std::int64_t classes_in_use = 0, padded = 0, moved = 0;
      constexpr int times = 1000;
      for (int time = 0; time < times; ++time) {
        std::vector<float> scales(static_cast<std::size_t>(n));
        for (float& scale : scales) scale = std::exp2(octaves(generator));
        const float largest = *std::max_element(scales.begin(), scales.end());
        int lowest = 0;
        for (const float scale : scales) lowest = std::max(lowest, halves_below(largest, scale));
        std::vector<std::uint8_t> classes(scales.size());
        std::array<int, cu::most_ranges> count{};
        for (std::size_t i = 0; i < scales.size(); ++i) {
          classes[i] = static_cast<std::uint8_t>(lowest - halves_below(largest, scales[i]));
          ++count[classes[i]];
        }
        for (const int samples : count) classes_in_use += samples > 0 ? 1 : 0, padded += (samples + 15) / 16;
        moved += HostOrder(classes).head.segments;
      }
      std::printf("| %d | %g | %.0f | %.2f | %.2f |\n", n, deviation,
                  static_cast<double>(classes_in_use) / times, static_cast<double>(padded) * 16 / n / times,
                  static_cast<double>(moved) * 16 / n / times);
      CHECK(moved <= padded);
    }
}
