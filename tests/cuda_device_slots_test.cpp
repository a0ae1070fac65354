// Scales and ranges of slots on a device: against the CPU's rule where it has one source, else the formula.
#include <cmath>
#include <limits>

#include "cuda/slots.h"
#include "precision/slots.h"
#include "support/cuda_chain_runs.h"
#include "support/cuda_device_memory.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

void synchronize() { cu::check(cudaDeviceSynchronize(), "test: synchronize"); }

std::vector<std::uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits;
  bits.reserve(values.size());
  for (const float v : values) bits.push_back(std::bit_cast<std::uint32_t>(v));
  return bits;
}

/// Ranges of n samples or channels, every third of them none.
std::vector<float> some_ranges(int n, bool any) {
  std::vector<float> ranges = draw_floats(n, 5, 0.001F, 9.0F);
  for (std::size_t i = 0; i < ranges.size(); ++i)
    if (i % 3 == 1 || !any) ranges[i] = i % 2 == 0 ? 0.0F : 1e-35F;
  return ranges;
}

struct Scales {
  std::vector<float> scale, inverse;
  float largest = 0;
};

// src/exec/quantize_slot.cpp: set_scale() of each, then scales_from_ranges() for maxima.
Scales expected_scales(const std::vector<float>& ranges, const octavo::SlotFormat& format, bool maxima) {
  Scales to;
  float smallest = std::numeric_limits<float>::max();
  const bool has_zero = format.grid != octavo::IntegerGrid::odd;
  for (const float range : ranges) {
    const bool usable = range >= 1e-30F;
    const RangeScale s = usable     ? octavo::scale_of_range(format, range)
                         : has_zero ? RangeScale{1, 1}
                                    : RangeScale{0, 1};
    to.scale.push_back(s.scale), to.inverse.push_back(s.inverse);
    if (usable) smallest = std::min(smallest, s.scale);
  }
  if (maxima && has_zero && smallest < std::numeric_limits<float>::max())
    for (std::size_t i = 0; i < ranges.size(); ++i)
      if (ranges[i] < 1e-30F) to.scale[i] = smallest, to.inverse[i] = 1.0F / smallest;
  to.largest = *std::max_element(to.scale.begin(), to.scale.end()) *
               static_cast<float>(octavo::largest_integer(format));
  return to;
}

}  // namespace

TEST_CASE("scales of slots are the CPU's") {
  using octavo::IntegerGrid;
  std::vector<octavo::SlotFormat> formats{{.bits = 9, .grid = IntegerGrid::odd},
                                          {.bits = 15, .grid = IntegerGrid::flagged}};
  for (const int bits : {4, 8, 16, 24})
    for (const bool power_of_two : {false, true})
      formats.push_back({.bits = bits, .power_of_two = power_of_two});
  for (const int count : {1, 2, 7, 128, 129, 1000})
    for (const bool any : {true, false})
      for (const bool maxima : {true, false})
        for (const octavo::SlotFormat& format : formats)
          for (const float cap : {0.0F, 2.5F}) {
            std::vector<float> ranges = some_ranges(count, any);
            DeviceMemory memory;
            cu::SlotScales pass{.count = count,
                                .qmax = static_cast<float>(octavo::largest_integer(format)),
                                .power_of_two = format.power_of_two,
                                .grid = static_cast<Grid>(format.grid),
                                .scale = memory.put(std::vector<float>(ranges.size())),
                                .inverse = memory.put(std::vector<float>(ranges.size())),
                                .largest = memory.put(std::vector<std::uint32_t>{7})};
            if (maxima) {
              pass.max_bits = memory.put(bits_of(ranges));
              if (cap > 0) pass.cap = memory.put(std::vector<float>{cap});
              for (float& range : ranges) range = cap > 0 ? std::min(range, cap) : range;
            } else {
              pass.ranges = memory.put(ranges);
            }
            cu::make_scales(pass, nullptr);
            synchronize();
            const Scales expected = expected_scales(ranges, format, maxima);
            INFO(count << " any " << any << " maxima " << maxima << " " << octavo::format_name(format)
                       << " cap " << cap);
            CHECK(memory.get(pass.scale, ranges.size()) == expected.scale);
            CHECK(memory.get(pass.inverse, ranges.size()) == expected.inverse);
            CHECK(memory.get(pass.largest, 1)[0] ==
                  std::max(7U, std::bit_cast<std::uint32_t>(expected.largest)));
          }
}

TEST_CASE("scales by sample class, and vectors of channels times factors") {
  DeviceMemory memory;
  const std::vector<float> scale = draw_floats(300, 3, 0.1F, 4.0F), factor = draw_floats(150, 4, 0.1F, 1.0F),
                           other = draw_floats(150, 6, -2.0F, 2.0F);
  const cu::ClassScales pass{.samples = 300,
                             .scale = memory.put(scale),
                             .qmax = 127,
                             .largest = memory.put(std::vector<std::uint32_t>{0}),
                             .channels = 150,
                             .factor = memory.put(factor),
                             .class_scale = memory.put(std::vector<float>{0.3F}),
                             .channel_scale = memory.put(std::vector<float>(150))};
  cu::make_scales(pass, nullptr);
  cu::ChannelProducts products{.channels = 150, .factor = pass.factor};
  products.from[1] = memory.put(other);
  products.to[0] = memory.put(std::vector<float>(150));
  products.to[1] = memory.put(std::vector<float>(150));
  cu::multiply_channels(products, nullptr);
  synchronize();
  const float largest = *std::max_element(scale.begin(), scale.end()) * 127.0F;
  CHECK(memory.get(pass.largest, 1)[0] == std::bit_cast<std::uint32_t>(largest));
  const auto channel_scale = memory.get(pass.channel_scale, 150), ones = memory.get(products.to[0], 150),
             times = memory.get(products.to[1], 150);
  for (std::size_t i = 0; i < 150; ++i) {
    CHECK(channel_scale[i] == 0.3F * factor[i]);
    CHECK(ones[i] == factor[i]);
    CHECK(times[i] == other[i] * factor[i]);
  }
}

TEST_CASE("a step with Inf, NaN or a bad label is not taken") {
  const auto norm_after = [](std::uint32_t max_bits, unsigned bad_sample, float loss) {
    DeviceMemory memory;
    std::vector<cu::QuantizeCounts> counts(200);
    counts[150].max_bits = max_bits;
    cu::StepScalars* const step = memory.put(std::vector<cu::StepScalars>{{.gradient_norm = 3}});
    cu::guard_step({.counts = memory.put(counts),
                    .slots = 200,
                    .bad_samples = memory.put(std::vector<unsigned>{~0u, bad_sample}),
                    .results = memory.put(std::vector<float>{1, loss}),
                    .losses = 2,
                    .step = step},
                   nullptr);
    synchronize();
    return memory.get(step, 1)[0].gradient_norm;
  };
  CHECK(norm_after(0x7F7FFFFF, ~0u, 2) == 3);
  CHECK(std::isnan(norm_after(0x7F800000, ~0u, 2)));
  CHECK(std::isnan(norm_after(0x7FC00001, ~0u, 2)));
  CHECK(std::isnan(norm_after(0, 4, 2)));
  CHECK(std::isnan(norm_after(0, ~0u, INFINITY)));
  CHECK(std::isnan(norm_after(0, ~0u, std::nanf(""))));
}

TEST_CASE("scales and guards that make no sense are refused") {
  DeviceMemory memory;
  float* const values = memory.put(std::vector<float>(8));
  auto* const bits = memory.put(std::vector<std::uint32_t>(8));
  CHECK_THROWS_WITH(cu::make_scales(cu::SlotScales{.scale = values, .inverse = values}, nullptr),
                    ContainsSubstring("either ranges or maxima"));
  CHECK_THROWS_WITH(
      cu::make_scales(cu::SlotScales{.ranges = values, .scale = nullptr, .inverse = values}, nullptr),
      ContainsSubstring("scale is null"));
  CHECK_THROWS_WITH(
      cu::make_scales(cu::ClassScales{.scale = values, .largest = bits, .channel_scale = values}, nullptr),
      ContainsSubstring("no channels"));
  CHECK_THROWS_WITH(cu::multiply_channels({.channels = 0, .factor = values}, nullptr),
                    ContainsSubstring("sizes start at 1"));
  CHECK_THROWS_WITH(cu::guard_step({.slots = 1}, nullptr), ContainsSubstring("counts is null"));
}
