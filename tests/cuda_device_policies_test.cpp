// Range batch normalization, the integer update and squeezed weights on a device, through their host
// functions: the bits of their formulas on the host, which cuda_range_norm_test.cpp and
// cuda_integer_update_test.cpp hold against the CPU. A device's tanh may differ in its last bits.
#include <cmath>

#include "cuda/fixed_point.h"
#include "cuda/range_norm.h"
#include "cuda/squeeze.h"
#include "support/cuda_chains.h"
#include "support/cuda_device_memory.h"
#include "support/draw.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;
using octavo::test::normal_floats;
using octavo::test::tied_floats;

namespace {

void synchronize() { cu::check(cudaDeviceSynchronize(), "test: synchronize"); }

template <class Memory>
struct Norm {
  Memory& memory;
  cu::RowChunks of;
  std::size_t c = static_cast<std::size_t>(of.channels), results = static_cast<std::size_t>(of.results());
  std::vector<float> x = tied_floats(of.rows * of.channels, 1), dz = tied_floats(of.rows * of.channels, 2),
                     gamma = tied_floats(of.channels, 3);

  float* vector() { return memory.put(std::vector<float>(c, 0.5F)); }
  cu::RangeNormLook look{of, memory.put(x), memory.put(std::vector<double>(results)),
                         memory.put(std::vector<std::int64_t>(results)),
                         memory.put(std::vector<std::int64_t>(results))};
  cu::RangeNormForward forward{.channels = of.channels,
                               .looked = look,
                               .factor = 0.3,
                               .gamma = memory.put(gamma),
                               .mean = vector(),
                               .r = vector(),
                               .running_mean = vector(),
                               .running_deviation = vector(),
                               .minus_mean = vector(),
                               .a = vector()};
  cu::RangeNormGradientLook gradients{of,           look.x,   memory.put(dz),
                                      forward.mean, look.sum, memory.put(std::vector<double>(results))};
  cu::RangeNormBackward backward{.channels = of.channels,
                                 .looked = gradients,
                                 .factor = 0.3,
                                 .gamma = forward.gamma,
                                 .r = forward.r,
                                 .a = forward.a,
                                 .d = vector(),
                                 .slope = vector(),
                                 .grad_gamma = vector(),
                                 .grad_beta = vector(),
                                 .accumulate = true};
  cu::RangeNormExtremes extremes{of, look.top, look.bottom, backward.slope, memory.put(dz)};
};

}  // namespace

TEST_CASE("range batch normalization around its chains") {
  for (const cu::RowChunks& of : {cu::RowChunks{200, 70, 16}, cu::RowChunks{1, 3, 1}}) {
    HostMemory host;
    DeviceMemory device;
    Norm<HostMemory> a{host, of};
    Norm<DeviceMemory> b{device, of};
    for (std::int64_t at = 0; at < of.results(); ++at) cu::look_at_chunk(a.look, at);
    for (int k = 0; k < of.channels; ++k) cu::finish_channel(a.forward, k);
    for (std::int64_t at = 0; at < of.results(); ++at) cu::look_at_chunk(a.gradients, at);
    for (int k = 0; k < of.channels; ++k) cu::finish_channel(a.backward, k);
    for (std::int64_t at = 0; at < of.results(); ++at) cu::add_slopes(a.extremes, at);
    cu::look_at_chunks(b.look, nullptr);
    cu::finish_channels(b.forward, nullptr);
    cu::look_at_chunks(b.gradients, nullptr);
    cu::finish_channels(b.backward, nullptr);
    cu::add_slopes(b.extremes, nullptr);
    synchronize();
    const auto same = [&](const float* of_host, const float* of_device, std::size_t count) {
      CHECK(first_difference(device.get(of_device, count), host.get(of_host, count)) == none);
    };
    same(a.forward.mean, b.forward.mean, a.c);
    same(a.forward.r, b.forward.r, a.c);
    same(a.forward.running_mean, b.forward.running_mean, a.c);
    same(a.forward.running_deviation, b.forward.running_deviation, a.c);
    same(a.forward.minus_mean, b.forward.minus_mean, a.c);
    same(a.backward.a, b.backward.a, a.c);
    same(a.backward.d, b.backward.d, a.c);
    same(a.backward.grad_gamma, b.backward.grad_gamma, a.c);
    same(a.backward.grad_beta, b.backward.grad_beta, a.c);
    same(a.extremes.dx, b.extremes.dx, a.dz.size());
  }
  float value = 0;
  double sum = 0;
  std::int64_t row = 0;
  CHECK_THROWS_WITH(cu::look_at_chunks(cu::RangeNormLook{{4, 3, 5}, &value, &sum, &row, &row}, nullptr),
                    ContainsSubstring("cuda/range_norm_look of 3 channels: 4 rows in 5 chunks"));
  CHECK_THROWS_WITH(cu::add_slopes({{4, 3, 2}, nullptr, &row, &value, &value}, nullptr),
                    ContainsSubstring("top is null"));
}

TEST_CASE("the integer update, and weights squeezed by tanh") {
  const std::int64_t rows = 30, columns = 21, size = rows * columns;
  std::vector<float> value = normal_floats(size, 1, 0, 0.3F);
  for (float& v : value) v = std::nearbyint(v * 8388608.0F) / 8388608.0F;
  const std::vector<float> gradient = normal_floats(size, 2, 0, 0.01F),
                           factor = normal_floats(rows, 3, 1, 0.1F);
  const auto update_in = [&](auto& memory) {
    return cu::FixedPointUpdate{
        .value = memory.put(value),
        .gradient = memory.put(gradient),
        .accumulator = memory.put(std::vector<std::int32_t>(static_cast<std::size_t>(size), 5)),
        .rows = rows,
        .columns = columns,
        .elements = size,
        .momentum = 1,
        .decay = 1e-3F,
        .random = {memory.put(std::vector<cu::StepCounter>{{1, 2, 0}}), 99},
        .rate_factor = memory.put(std::vector<double>{1.0}),
        .range = memory.put(std::vector<std::uint32_t>{0}),
        .row_max = memory.put(std::vector<std::uint32_t>(static_cast<std::size_t>(rows))),
        .row_factor = memory.put(factor),
        .column_max = memory.put(std::vector<std::uint32_t>(static_cast<std::size_t>(columns)))};
  };
  HostMemory host;
  DeviceMemory device;
  const cu::FixedPointUpdate a = update_in(host), b = update_in(device);
  const cu::StepScalars step{.learning_rate = 0.1, .gradient_scale = 0.5};
  cu::FixedPointUpdate bias = update_in(device);  // a pass beside it, without a range
  bias.is_norm_or_bias = true;
  const std::vector<cu::FixedPointUpdate> both{bias, b};
  cu::update_fixed_point(device.list(both, cu::update_blocks(both)),
                         device.put(std::vector<cu::StepScalars>{step}), nullptr);
  synchronize();
  for (std::int64_t i = 0; i < size; ++i)
    *a.range = std::max(*a.range, cu::magnitude_of(a.gradient_at(i, 0.5F)));
  const cu::FixedPointFactors factors(a, step);
  for (std::int64_t i = 0; i < size; ++i) {
    const float w = a.value[i] = cu::updated(a, factors, i);
    a.row_max[i / columns] = std::max(a.row_max[i / columns], cu::magnitude_of(w));
    a.column_max[i % columns] = std::max(a.column_max[i % columns],
                                         cu::magnitude_of(w * factor[static_cast<std::size_t>(i / columns)]));
  }
  const auto same = [&](const auto* of_host, const auto* of_device, std::int64_t count) {
    const auto n = static_cast<std::size_t>(count);
    CHECK(first_difference(device.get(of_device, n), host.get(of_host, n)) == none);
  };
  same(a.value, b.value, size);
  same(a.accumulator, b.accumulator, size);
  same(a.row_max, b.row_max, rows);
  same(a.column_max, b.column_max, columns);
  CHECK(device.get(bias.range, 1)[0] == 0);
  CHECK(device.get(bias.value, 1)[0] != value[0]);

  const std::uint32_t bits = std::bit_cast<std::uint32_t>(0.9F);
  const cu::Squeezed of{b.gradient, size, device.put(std::vector<std::uint32_t>{bits})};
  float* const squeezed = device.put(std::vector<float>(gradient.size()));
  float* const slopes = device.put(value);
  cu::squeeze_weights(of, squeezed, nullptr);
  cu::squeeze_gradient(of, slopes, nullptr);
  synchronize();
  const std::vector<float> w = device.get(squeezed, gradient.size()), g = device.get(slopes, value.size());
  float worst = 0;
  for (std::size_t i = 0; i < w.size(); ++i) {
    const double t = std::tanh(double{gradient[i]}), largest = std::tanh(double{0.9F});
    worst = std::max(worst, static_cast<float>(std::fabs(w[i] / (t / largest) - 1)));
    worst = std::max(worst, static_cast<float>(std::fabs(g[i] / (value[i] * (1 - t * t) / largest) - 1)));
  }
  CHECK(worst <= 8 * 6e-8F);  // two errors of tanh of at most 2 units each, and the roundings after them

  CHECK_THROWS_WITH(cu::squeeze_weights({nullptr, 4, &bits}, squeezed, nullptr),
                    ContainsSubstring("cuda/squeeze_weights of 4: weights is null"));
  cu::FixedPointUpdate bad = b;
  bad.range = nullptr;
  CHECK_THROWS_WITH(cu::update_blocks({&bad, 1}),
                    ContainsSubstring("cuda/update_fixed_point of 630 values in 30 rows: range is null"));
  CHECK_THROWS_WITH(cu::update_fixed_point(device.list(both, cu::update_blocks(both)), nullptr, nullptr),
                    ContainsSubstring("of 2 passes in 2 blocks: step is null"));
}
