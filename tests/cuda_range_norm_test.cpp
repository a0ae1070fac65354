// The sources of the CUDA kernels of range batch normalization, run on the host by fibers, against the op:
// the same bits forward, backward, in evaluation and in the running statistics.
#include "support/cuda_launch.h"
// Before the kernels, whose instructions it holds.
#include "cuda/range_norm_kernels.cuh"
#include "ops/range_norm.h"
#include "support/catch.h"
#include "support/cuda_operands.h"
#include "support/draw.h"
#include "support/norm_on_cpu.h"

using namespace octavo;
using namespace octavo::kernels::test;
using octavo::test::NormOnCpu;
namespace cuda = octavo::kernels::cuda;
using octavo::test::tied_floats;

namespace {

struct CpuNorm : NormOnCpu {
  double factor = 0;
  cuda::RowChunks of;

  CpuNorm(const Shape& shape, int chunks, const std::vector<float>& x, const std::vector<float>& up)
      : NormOnCpu("range_batch_norm", "{eps: 0.001, momentum: 0.3, chunks: " + std::to_string(chunks) + "}",
                  shape, tied_floats(shape.back(), 5), tied_floats(shape.back(), 6), x, up) {
    const RangeNormSizes sizes(*signature);
    factor = sizes.factor();
    of = {sizes.rows, static_cast<int>(sizes.c), static_cast<int>(sizes.chunks)};
  }
};

/// The kernels, with what a chain does between them; two micro-steps like CpuNorm.
struct DeviceNorm {
  std::vector<float> mean, r, minus_mean, a, d, slope, grad_gamma, grad_beta, running_mean, running_deviation;
  std::vector<float> y, dx, evaluated;

  DeviceNorm(const CpuNorm& cpu, const std::vector<float>& x, const std::vector<float>& up)
      : y(x.size()), dx(x.size()), evaluated(x.size()), cpu_(cpu) {
    for (std::vector<float>* v :
         {&mean, &r, &minus_mean, &a, &d, &slope, &grad_gamma, &grad_beta, &running_mean})
      v->assign(cpu.gamma.size(), 0);
    running_deviation.assign(cpu.gamma.size(), 1);
    const auto results = static_cast<std::size_t>(cpu.of.results());
    sum_.resize(results), product_.resize(results), top_.resize(results), bottom_.resize(results);
    for (const bool again : {false, true}) {
      forward(x);
      backward(x, up, again);
    }
    const cuda::RangeNormEvaluation evaluation{
        cpu.of.channels,   0.001,   cpu.gamma.data(), running_mean.data(), running_deviation.data(),
        minus_mean.data(), a.data()};
    finish(evaluation);
    apply(x, evaluated);
  }

  std::vector<float> repeated(const std::vector<float>& x) {
    std::vector<float> z(x.size());
    finish(cuda::RangeNormRepeated{cpu_.of.channels, cpu_.gamma.data(), mean.data(), r.data(),
                                   minus_mean.data(), a.data()});
    apply(x, z);
    return z;
  }

 private:
  template <class Pass>
  void finish(const Pass& pass) {
    launch_threads(pass.channels, cuda::channel_threads, [&] { cuda::finish_channels_kernel(pass); });
  }
  void apply(const std::vector<float>& x, std::vector<float>& z) const {
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t k = i % a.size();
      z[i] = a[k] * (x[i] + minus_mean[k]) + cpu_.beta[k];
    }
  }
  void forward(const std::vector<float>& x) {
    const cuda::RangeNormLook look{cpu_.of, x.data(), sum_.data(), top_.data(), bottom_.data()};
    launch_threads(cpu_.of.results(), cuda::range_norm_threads, [&] { cuda::range_norm_look_kernel(look); });
    finish(cuda::RangeNormForward{.channels = cpu_.of.channels,
                                  .looked = look,
                                  .factor = cpu_.factor,
                                  .eps = 0.001,
                                  .momentum = 0.3F,
                                  .gamma = cpu_.gamma.data(),
                                  .mean = mean.data(),
                                  .r = r.data(),
                                  .running_mean = running_mean.data(),
                                  .running_deviation = running_deviation.data(),
                                  .minus_mean = minus_mean.data(),
                                  .a = a.data()});
    apply(x, y);
  }
  void backward(const std::vector<float>& x, const std::vector<float>& up, bool accumulate) {
    const cuda::RangeNormGradientLook look{cpu_.of,     x.data(),    up.data(),
                                           mean.data(), sum_.data(), product_.data()};
    launch_threads(cpu_.of.results(), cuda::range_norm_threads, [&] { cuda::range_norm_look_kernel(look); });
    finish(cuda::RangeNormBackward{.channels = cpu_.of.channels,
                                   .looked = look,
                                   .factor = cpu_.factor,
                                   .gamma = cpu_.gamma.data(),
                                   .r = r.data(),
                                   .a = a.data(),
                                   .d = d.data(),
                                   .slope = slope.data(),
                                   .grad_gamma = grad_gamma.data(),
                                   .grad_beta = grad_beta.data(),
                                   .accumulate = accumulate});
    for (std::size_t i = 0; i < dx.size(); ++i) dx[i] = a[i % a.size()] * up[i] + d[i % a.size()];
    const cuda::RangeNormExtremes extremes{cpu_.of, top_.data(), bottom_.data(), slope.data(), dx.data()};
    launch_threads(cpu_.of.results(), cuda::range_norm_threads,
                   [&] { cuda::range_norm_extremes_kernel(extremes); });
  }

  const CpuNorm& cpu_;
  std::vector<double> sum_, product_;
  std::vector<std::int64_t> top_, bottom_;
};

}  // namespace

// Ties among extremes, chunks of unequal sizes, of equal values, and a single row.
TEST_CASE("cuda: the sources of range batch normalization give the CPU's bits") {
  for (const Shape& shape : {Shape{4, 5, 6, 3}, Shape{3, 4, 4, 130}, Shape{1, 1, 1, 2}, Shape{37, 5}})
    for (const int chunks : {1, 7, 16, 1000}) {
      std::vector<float> x = tied_floats(shape.elements(), 1);
      const std::vector<float> up = tied_floats(shape.elements(), 2);
      for (std::size_t i = 0; i < x.size() / 3; ++i) x[i] = 0.25F;
      const CpuNorm cpu(shape, chunks, x, up);
      DeviceNorm device(cpu, x, up);
      CAPTURE(shape.str(), chunks);
      CHECK(first_difference(device.y, cpu.y) == none);
      CHECK(first_difference(device.running_mean, cpu.running_mean) == none);
      CHECK(first_difference(device.running_deviation, cpu.running_spread) == none);
      CHECK(first_difference(device.grad_gamma, cpu.grad_gamma) == none);
      CHECK(first_difference(device.grad_beta, cpu.grad_beta) == none);
      CHECK(first_difference(device.evaluated, cpu.evaluated) == none);
      CHECK(first_difference(device.repeated(x), cpu.y) == none);
      std::vector<float> twice = device.dx;  // the op adds up two micro-steps
      for (float& v : twice) v = v + v;
      CHECK(first_difference(twice, cpu.dx) == none);
    }
}
