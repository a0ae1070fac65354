// The quantize kernels' sources on fibers.
#include "support/cuda_launch.h"
// Before the kernels, whose instructions it holds.
#include "cuda/quantize_checks.h"
#include "cuda/quantize_kernels.cuh"
#include "cuda/weight_kernels.cuh"
#include "support/cuda_operands.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

TEST_CASE("cuda: the quantize kernels' sources write both copies and count") {
  for (const cu::ImageLayout& layout : {cu::ImageLayout{5, 2, 3, 16, 1}, cu::ImageLayout{66, 2, 1, 40, 1},
                                        cu::ImageLayout{33, 1, 2, 36, 3}, cu::ImageLayout{17, 1, 1, 70, 1}})
    for (int planes = 1; planes <= 2; ++planes) {
      std::mt19937 generator(7);
      std::uniform_real_distribution<float> any(-1.1F, 1.1F);
      std::vector<float> x(static_cast<std::size_t>(layout.n * layout.h * layout.w * layout.c));
      for (float& v : x) v = any(generator);
      const auto qmax = static_cast<float>(largest_integer(planes));
      const cu::Draws draws{random_key(1, 2, 3), 77};
      cu::QuantizeRule fixed{-qmax, qmax, planes, true};
      if (planes == 2) fixed.grid = Grid::odd;
      const cu::QuantizeRule rule = cu::with_draws(fixed, &draws);
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
                                     .rule = fixed,
                                     .pixel_copy = found_pixel.data(),
                                     .batch_copy = both ? found_batch.data() : nullptr,
                                     .counts = &found,
                                     .draws = &draws};
        if (both)
          launch({static_cast<unsigned>(cu::quantize_blocks(layout))}, cu::quantize_threads, 1,
                 [&] { cu::quantize_both_kernel<float>(pass); });
        else
          launch({2}, cu::quantize_threads, 1, [&] { cu::quantize_pixels_kernel<float>(pass); });
        CHECK(first_difference(found_pixel, pixel) == none);
        if (both) CHECK(first_difference(found_batch, batch) == none);
        CHECK((found.max_bits == counts.max_bits && found.saturated == counts.saturated));
        CHECK((found.square_low + (found.square_high << 32) == counts.sum_square));
      }
    }
}

TEST_CASE("cuda: passes write the batch copy in the order of sample classes") {
  std::mt19937 generator(51);
  for (cu::ImageLayout layout : {cu::ImageLayout{5, 2, 3, 16, 1}, cu::ImageLayout{40, 2, 1, 40, 1},
                                 cu::ImageLayout{33, 1, 2, 36, 3}, cu::ImageLayout{70, 1, 1, 70, 1}})
    for (int planes = 1; planes <= 2; ++planes) {
      layout.places = cu::most_segments(layout.n, 24) * 16;
      const HostOrder order(draw_classes(layout.n, 24, generator));
      REQUIRE(static_cast<int>(order.entries.size()) <= layout.places);
      std::vector<float> x = draw_floats(std::int64_t{layout.n} * layout.h * layout.w * layout.c, 9, -1, 1);
      std::vector<float> inverse;
      inverse.reserve(static_cast<std::size_t>(layout.n));
      const auto qmax = static_cast<float>(largest_integer(planes));
      for (int i = 0; i < layout.n; ++i) inverse.push_back(qmax / static_cast<float>(1 + i % 3));
      const cu::QuantizeRule rule{-qmax, qmax, planes, true, random_key(1, 2, 3), 77};
      std::vector<Bytes> plain(static_cast<std::size_t>(planes), Bytes(x.size()));
      cu::SegmentCounts counts;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const std::size_t sample = i / (x.size() / static_cast<std::size_t>(layout.n));
        const cu::QuantizedValue q = cu::quantize_value(rule, x[i], inverse[sample], i);
        counts.add(x[i], q);
        for (int plane = 0; plane < planes; ++plane)
          plain[static_cast<std::size_t>(plane)][i] = cu::digit_of(q.integer, plane);
      }
      const Bytes pixel = device_image(layout, plain, false),
                  batch = device_image(layout, plain, true, &order);
      const cu::BatchOrder of{&order.head, order.entries.data()};
      Bytes found_pixel = unwritten_planes(layout.pixel_copy_bytes(), planes);
      Bytes found_batch = unwritten_planes(layout.batch_copy_bytes(), planes), turned = found_batch;
      cu::QuantizeCounts found;
      const cu::QuantizeImage pass{.layout = layout,
                                   .x = x.data(),
                                   .scales = {inverse.data(), Granularity::sample},
                                   .rule = rule,
                                   .pixel_copy = found_pixel.data(),
                                   .batch_copy = found_batch.data(),
                                   .counts = &found,
                                   .order = of};
      CHECK_NOTHROW(cu::check_pass(pass, ""));
      const Dim3 grid{static_cast<unsigned>(cu::quantize_blocks(layout))};
      launch(grid, cu::quantize_threads, 1, [&] { cu::quantize_both_kernel<float>(pass); });
      CHECK(first_difference(found_pixel, pixel) == none);
      CHECK(first_difference(found_batch, batch) == none);
      CHECK((found.max_bits == counts.max_bits && found.saturated == counts.saturated));
      CHECK((found.square_low + (found.square_high << 32) == counts.sum_square));
      const cu::TurnImage turn{layout, planes, found_pixel.data(), turned.data(), of};
      CHECK_NOTHROW(cu::check_pass(turn, ""));
      launch(grid, cu::quantize_threads, 1, [&] { cu::turn_image_kernel(turn); });
      CHECK(first_difference(turned, batch) == none);
    }
}

TEST_CASE("cuda: the sources of maxima") {
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
}

TEST_CASE("cuda: the source of weights' copies, two passes in one launch") {
  const cu::WeightLayout w{10, 4, 12, 2}, deep{70, 9, 70, 70};
  const float inverse = 0.25F, half = 0.125F;
  const std::vector<float> weights = draw_floats(std::int64_t{70} * 9, 3, -500, 500);
  std::vector<cu::QuantizeWeights> passes(2);
  passes[0].layout = deep, passes[0].weights = weights.data(), passes[0].count = 1;
  passes[1].layout = w, passes[1].weights = weights.data(), passes[1].count = 3;
  std::vector<cu::QuantizeCounts> counts(4);
  const auto copy_as = [&](cu::WeightCopy kind, const float* scale, std::size_t i) {
    return cu::CopyOfWeights{
        .kind = kind, .scales = {scale, Granularity::tensor}, .copy = nullptr, .counts = &counts[i]};
  };
  passes[0].copies[0] = copy_as(cu::WeightCopy::depthwise, &half, 0);
  passes[1].copies[0] = copy_as(cu::WeightCopy::grad_input, &half, 1);
  passes[1].copies[1] = copy_as(cu::WeightCopy::forward, &inverse, 2);
  passes[1].copies[2] = copy_as(cu::WeightCopy::grad_input, &inverse, 3);
  passes[1].copies[1].rule = {-255 * 128.0F, 255 * 128.0F, 2};
  std::vector<Bytes> copies;
  for (cu::QuantizeWeights& pass : passes)
    for (int i = 0; i < pass.count; ++i) {
      cu::CopyOfWeights& copy = pass.copies[i];
      copies.push_back(unwritten_planes(pass.layout.bytes(copy.kind), copy.rule.planes));
    }
  for (std::size_t i = 0; i < 4; ++i)
    (i == 0 ? passes[0].copies[0] : passes[1].copies[i - 1]).copy = copies[i].data();
  const std::vector<cu::ListBlock> blocks =
      cu::cut_passes(std::span<const cu::QuantizeWeights>(passes), "",
                     [](const cu::QuantizeWeights& pass) { return pass.matrices().tiles(); });
  launch({static_cast<unsigned>(blocks.size())}, cu::quantize_threads, 1,
         [&] { cu::quantize_weights_kernel(passes.data(), blocks.data()); });
  for (std::size_t i = 0; i < 4; ++i) {
    const cu::QuantizeWeights& pass = passes[i == 0 ? 0 : 1];
    const cu::CopyOfWeights& copy = pass.copies[i == 0 ? 0 : i - 1];
    std::vector<Bytes> plain(static_cast<std::size_t>(copy.rule.planes));
    cu::SegmentCounts seen;
    for (std::int64_t e = 0; e < std::int64_t{pass.layout.k} * pass.layout.taps * pass.layout.inputs(); ++e) {
      const float v = weights[static_cast<std::size_t>(e)];
      const cu::QuantizedValue q = cu::quantize_value(copy.rule, v, *copy.scales.inverse, e);
      seen.add(v, q);
      for (std::size_t plane = 0; plane < plain.size(); ++plane)
        plain[plane].push_back(cu::digit_of(q.integer, static_cast<int>(plane)));
    }
    CHECK(first_difference(copies[i], device_weights(pass.layout, plain, copy.kind)) == none);
    CHECK((counts[i].max_bits == seen.max_bits && counts[i].saturated == seen.saturated));
    CHECK((counts[i].square_low + (counts[i].square_high << 32) == seen.sum_square));
  }
}
