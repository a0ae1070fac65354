// Quantize passes and maxima on a device against the formula of their headers.
#include <limits>

#include "cuda/quantize.h"
#include "support/cuda_device.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

struct ImagePass {
  cu::ImageLayout layout;
  cu::QuantizeRule rule;
  Granularity granularity;
  FloatType type;
};

/// Both kernels of the pass against the headers, which tests/cuda_quantize_test.cpp holds against the CPU's
/// chain.
void check_image(const ImagePass& p, unsigned seed) {
  const cu::ImageLayout& l = p.layout;
  INFO(l.n << "x" << l.h << "x" << l.w << "x" << l.c << " groups " << l.groups << " planes "
           << p.rule.planes);
  std::vector<float> x = draw_floats(std::int64_t{l.n} * l.h * l.w * l.c, seed, -1.1F, 1.1F);
  for (float& v : x) v = to_float(to_bf16(v));
  std::vector<float> inverse;
  inverse.reserve(static_cast<std::size_t>(std::max(l.n, l.c)));
  for (int i = 0; i < std::max(l.n, l.c); ++i)
    inverse.push_back(p.rule.qmax * (1.0F - 0.001F * static_cast<float>(i)));
  const cu::QuantizeScales scales{inverse.data(), p.granularity};
  std::vector<Bytes> planes(static_cast<std::size_t>(p.rule.planes), Bytes(x.size()));
  cu::SegmentCounts counts;
  for (int m = 0; m < l.n; ++m)
    for (int pixel = 0; pixel < l.h * l.w; ++pixel)
      for (int c = 0; c < l.c; ++c) {
        const auto element = static_cast<std::size_t>(l.element(m, pixel, c));
        const cu::QuantizedValue q = cu::quantize_value(p.rule, x[element], scales.at(m, c), element);
        counts.add(x[element], q);
        for (int plane = 0; plane < p.rule.planes; ++plane)
          planes[static_cast<std::size_t>(plane)][element] = cu::digit_of(q.integer, plane);
      }
  DeviceArray<std::uint8_t> device_x(stored_as(x, p.type));
  DeviceArray<float> device_inverse(inverse);
  const Bytes pixel = device_image(l, planes, false), batch = device_image(l, planes, true);
  for (bool both : {true, false}) {
    DeviceArray<std::int8_t> pixel_copy(unwritten_planes(l.pixel_copy_bytes(), p.rule.planes));
    DeviceArray<std::int8_t> batch_copy(unwritten_planes(l.batch_copy_bytes(), p.rule.planes));
    DeviceArray<cu::QuantizeCounts> device_counts(std::vector<cu::QuantizeCounts>(1));
    cu::quantize_image({.layout = l,
                        .x = {device_x.data(), p.type},
                        .scales = {device_inverse.data(), p.granularity},
                        .rule = p.rule,
                        .pixel_copy = pixel_copy.data(),
                        .batch_copy = both ? batch_copy.data() : nullptr,
                        .counts = device_counts.data()},
                       nullptr);
    cu::check(cudaDeviceSynchronize(), "test: quantize_image");
    CHECK(first_difference(pixel_copy.values(), pixel) == none);
    if (both) CHECK(first_difference(batch_copy.values(), batch) == none);
    const QuantizeStats stats = device_counts.values()[0].stats();
    CHECK((stats.max_bits == counts.max_bits && stats.saturated == counts.saturated));
    CHECK(stats.sum_square == Int128{counts.sum_square});
  }
}

}  // namespace

TEST_CASE("quantize passes write the CPU's integers, copies and counts") {
  unsigned seed = 1;
  for (const cu::ImageLayout& layout : {cu::ImageLayout{1, 3, 2, 3, 1}, cu::ImageLayout{5, 7, 3, 16, 1},
                                        cu::ImageLayout{170, 1, 1, 70, 1}, cu::ImageLayout{66, 5, 4, 40, 1},
                                        cu::ImageLayout{33, 1, 3, 36, 3}, cu::ImageLayout{32, 9, 9, 256, 1}})
    for (int planes = 1; planes <= 3; ++planes)
      for (bool stochastic : {false, true})
        for (Granularity granularity : {Granularity::tensor, Granularity::channel, Granularity::sample})
          for (FloatType type : {FloatType::f32, FloatType::bf16}) {
            const Grid grid = planes == 1 ? Grid::every : static_cast<Grid>(++seed % 3);
            const float qmax = grid == Grid::flagged ? 16256.0F : static_cast<float>(largest_integer(planes));
            ++seed;
            check_image({layout,
                         {-qmax, qmax, planes, stochastic, random_key(seed, 3, 5), seed * 1000003ULL, grid},
                         granularity,
                         type},
                        seed);
          }
}

TEST_CASE("largest magnitudes by tensor, channel and sample") {
  const cu::ImageLayout l{5, 7, 3, 37, 1};
  std::vector<float> x = draw_floats(std::int64_t{l.n} * l.h * l.w * l.c, 9, -3, 3);
  for (float& v : x) v = to_float(to_bf16(v));
  x[100] = std::numeric_limits<float>::quiet_NaN();
  for (FloatType type : {FloatType::f32, FloatType::bf16}) {
    DeviceArray<std::uint8_t> device_x(stored_as(x, type));
    for (Granularity granularity : {Granularity::tensor, Granularity::channel, Granularity::sample}) {
      std::vector<std::uint32_t> expected(
          granularity == Granularity::tensor
              ? 1
              : static_cast<std::size_t>(granularity == Granularity::channel ? l.c : l.n));
      for (std::size_t i = 0; i < x.size(); ++i) {
        const std::size_t at = granularity == Granularity::tensor ? 0
                               : granularity == Granularity::channel
                                   ? i % static_cast<std::size_t>(l.c)
                                   : i / (x.size() / static_cast<std::size_t>(l.n));
        if (x[i] == x[i])
          expected[at] = std::max(expected[at], std::bit_cast<std::uint32_t>(x[i]) & 0x7FFFFFFFu);
      }
      DeviceArray<std::uint32_t> found(std::vector<std::uint32_t>(expected.size()));
      cu::largest_magnitudes(l, {device_x.data(), type}, granularity, found.data(), nullptr);
      cu::check(cudaDeviceSynchronize(), "test: largest_magnitudes");
      CHECK(first_difference(found.values(), expected) == none);
    }
  }
}
