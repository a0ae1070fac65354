// The sources of the integer update and of squeezed weights, run on the host by fibers, against the CPU's
// optimizer and its transform: the same bits, since the host has one tanh for both.
#include "support/cuda_launch.h"
// Before the kernels, whose instructions it holds.
#include <random>

#include "core/stream.h"
#include "core/thread_pool.h"
#include "cuda/fixed_point_kernels.cuh"
#include "cuda/squeeze_kernels.cuh"
#include "exec/weight_transform.h"
#include "optim/optimizer.h"
#include "support/catch.h"
#include "support/cuda_operands.h"
#include "support/draw.h"

using namespace octavo;
using namespace octavo::kernels::test;
namespace cuda = octavo::kernels::cuda;

namespace {

/// Values of a 2^-23 grid, some at its ends.
std::vector<float> grid_floats(std::int64_t count, unsigned seed) {
  std::vector<float> values = octavo::test::normal_floats(count, seed, 0, 0.6F);
  for (float& v : values) v = std::nearbyint(std::clamp(v, -1.0F, 1.0F) * 8388607.0F) / 8388608.0F;
  return values;
}

struct Case {
  Shape shape;
  bool norm_or_bias;
  double momentum;
  float size;  // of gradients
};

}  // namespace

TEST_CASE("cuda: the source of the integer update gives the CPU's integers and maxima") {
  ThreadPool pool(1);
  const kernels::Parallel parallel = [&](std::int64_t count, const auto& body) { pool.run(count, body); };
  for (const Case& c :
       {Case{{7, 3, 3, 5}, false, 0.25, 1e-3F}, Case{{40, 33}, false, 0.75, 3.0F},
        Case{{70}, true, 0.25, 0.1F}, Case{{3, 5}, false, 0, 0.0F}, Case{{64, 9}, false, 0.5, 1e-41F}}) {
    const std::int64_t size = c.shape.elements(), rows = c.shape.rank() > 1 ? c.shape[0] : 1;
    const auto optimizer = make_optimizer(
        "fixed_point", {{"momentum", c.momentum}, {"weight_decay", 5e-4}},
        {{.name = "w", .shape = c.shape, .decay = c.size > 1e-20F, .is_norm_or_bias = c.norm_or_bias}});
    std::vector<float> expected = grid_floats(size, 1), found = expected;
    std::vector<std::int32_t> accumulator(expected.size());
    const std::vector<float> factor = octavo::test::normal_floats(rows, 7, 1, 0.2F);
    const double rate_factor = 1.5;
    for (std::int64_t step = 0; step < 4; ++step) {
      const std::vector<float> gradient =
          octavo::test::normal_floats(size, 20U + static_cast<unsigned>(step), 0, 1);
      std::vector<float> scaled(gradient.size());
      for (std::size_t i = 0; i < scaled.size(); ++i) scaled[i] = gradient[i] * c.size;
      ParameterMaxima maxima;
      const ParameterUpdate update{expected.data(), scaled.data(), rate_factor, factor.data(), &maxima};
      optimizer->step({&update, 1}, {.learning_rate = 0.05, .gradient_scale = 0.7, .seed = 11, .step = step},
                      parallel);

      const cuda::StepCounter counter{11, static_cast<std::uint64_t>(step), 2};
      const cuda::StepScalars scalars{.learning_rate = 0.05, .gradient_scale = 0.7};
      std::uint32_t range = 0;
      std::vector<std::uint32_t> row_max(static_cast<std::size_t>(rows)),
          column_max(static_cast<std::size_t>(c.shape.back()));
      const cuda::FixedPointUpdate run{.value = found.data(),
                                       .gradient = scaled.data(),
                                       .accumulator = accumulator.data(),
                                       .rows = rows,
                                       .columns = c.shape.back(),
                                       .elements = size,
                                       .momentum = std::llrint(c.momentum * 4),
                                       .decay = c.size > 1e-20F ? 5e-4F : 0.0F,
                                       .is_norm_or_bias = c.norm_or_bias,
                                       .random = {&counter, stream_of("w update")},
                                       .rate_factor = &rate_factor,
                                       .range = &range,
                                       .row_max = row_max.data(),
                                       .row_factor = factor.data(),
                                       .column_max = column_max.data()};
      const std::vector<cuda::ListBlock> blocks =
          cuda::cut_passes(std::span(&run, 1), "", cuda::update_parts<cuda::FixedPointUpdate>);
      const auto count = static_cast<unsigned>(blocks.size());
      launch(count, cuda::update_threads,
             [&] { cuda::fixed_point_range_kernel(&run, blocks.data(), &scalars); });
      CHECK((range == 0) == (c.norm_or_bias || c.size == 0));
      launch(count, cuda::update_threads, [&] { cuda::fixed_point_kernel(&run, blocks.data(), &scalars); });
      CAPTURE(c.shape.str(), step);
      CHECK(first_difference(found, expected) == none);
      const auto kept = optimizer->state()[0].tensor.as<std::int32_t>();
      CHECK(std::equal(kept.begin(), kept.end(), accumulator.begin()));
      CHECK((row_max == maxima.rows && column_max == maxima.columns));
    }
  }
}

TEST_CASE("cuda: without a finite norm the integer update changes nothing") {
  const std::vector<float> gradient(100, 1.0F), before = grid_floats(100, 1);
  std::vector<float> value = before;
  std::vector<std::int32_t> accumulator(100, 3);
  const double rate_factor = 1;
  const cuda::StepCounter counter;
  std::uint32_t range = 0;
  const cuda::StepScalars scalars{.learning_rate = 1, .gradient_norm = std::nan("")};
  const cuda::FixedPointUpdate run{.value = value.data(),
                                   .gradient = gradient.data(),
                                   .accumulator = accumulator.data(),
                                   .elements = 100,
                                   .random = {&counter, 1},
                                   .rate_factor = &rate_factor,
                                   .range = &range};
  const cuda::ListBlock all;
  launch(1, cuda::update_threads, [&] { cuda::fixed_point_range_kernel(&run, &all, &scalars); });
  launch(1, cuda::update_threads, [&] { cuda::fixed_point_kernel(&run, &all, &scalars); });
  CHECK(first_difference(value, before) == none);
  CHECK((range == 0 && accumulator == std::vector<std::int32_t>(100, 3)));
}

TEST_CASE("the power of two next to a range is that of its logarithm") {
  std::mt19937 generator(3);
  for (int i = 0; i < 200000; ++i) {
    float range = std::bit_cast<float>(static_cast<std::uint32_t>(generator() & 0x7FFFFFFFU));
    if (i < 512) range = std::ldexp(1.41421354F, i / 2 - 127);
    if (i < 512 && i % 2 != 0) range = std::nextafter(range, INFINITY);
    if (!(range > 0) || !std::isfinite(range)) continue;
    const double expected = std::exp2(-std::round(std::log2(double{range})));
    if (cuda::inverse_power_near(range) != expected) FAIL("differs at " << range);
  }
}

TEST_CASE("cuda: the sources of squeezed weights and their gradients give the CPU's bits") {
  for (const float size : {0.0F, 0.01F, 1.0F, 30.0F}) {
    std::vector<float> w = octavo::test::normal_floats(1000, 5, 0, 1), expected(w.size()), found(w.size());
    for (float& v : w) v *= size;
    std::uint32_t bits = 0;
    for (const float v : w) bits = std::max(bits, cuda::magnitude_of(v));
    squeeze_weights(w.data(), 1000, expected.data());
    const cuda::Squeezed of{w.data(), 1000, &bits};
    launch(2, cuda::squeeze_threads, [&] { cuda::squeeze_weights_kernel(of, found.data()); });
    CHECK(first_difference(found, expected) == none);
    std::vector<float> gradient = octavo::test::normal_floats(1000, 6, 0, 1), same = gradient;
    squeeze_gradient(w.data(), 1000, gradient.data());
    launch(2, cuda::squeeze_threads, [&] { cuda::squeeze_gradient_kernel(of, same.data()); });
    CHECK(first_difference(same, gradient) == none);
  }
}
