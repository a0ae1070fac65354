// The sources of the CUDA kernels of batch norm, run on the host by fibers between chains of the CPU, against
// the op: the same bits forward, backward, in evaluation and in the running statistics.
#include "support/cuda_launch.h"
// Before the kernels, whose instructions it holds.
#include <random>

#include "cuda/batch_norm_kernels.cuh"
#include "support/catch.h"
#include "support/cuda_operands.h"
#include "support/draw.h"
#include "support/norm_on_cpu.h"

using namespace octavo;
using namespace octavo::kernels::test;
using octavo::test::NormOnCpu;
namespace cuda = octavo::kernels::cuda;
using kernels::Step;
using kernels::StepKind;

namespace {

template <class Body>
void launch(int channels, const Body& body) {
  launch_threads(channels, cuda::channel_threads, body);
}

std::vector<float> draw(std::int64_t count, unsigned seed) {
  return octavo::test::normal_floats(count, seed, 0.3F, 1.2F);
}

struct CpuNorm : NormOnCpu {
  CpuNorm(const Shape& shape, const std::vector<float>& x, const std::vector<float>& up)
      : NormOnCpu("batch_norm", "{eps: 0.001, momentum: 0.3}", shape, draw(shape.back(), 5),
                  draw(shape.back(), 6), x, up) {}
};

/// A chain of the CPU; one channel sum's worth of results where `sums` are wanted.
struct Sums {
  std::vector<double> v, vx;
};
Sums run(const Shape& shape, const std::vector<float>& x, std::vector<Step> steps, std::vector<float>* out,
         bool sums) {
  Sums found;
  kernels::Chain chain{.n = shape[0], .h = shape[1], .w = shape[2], .c = shape[3], .x = x.data()};
  if (out != nullptr) steps.push_back({.kind = StepKind::store, .out = out->data()});
  chain.steps = steps;
  if (sums) {
    found.v.resize(static_cast<std::size_t>(shape[3])), found.vx = found.v;
    chain.sum_v = found.v.data(), chain.sum_vx = found.vx.data();
  }
  std::vector<char> scratch(static_cast<std::size_t>(kernels::chain_scratch_bytes(chain)) + 64);
  chain.scratch = scratch.data();
  kernels::run_chain(chain, [](std::int64_t chunks, const auto& body) {
    for (std::int64_t i = 0; i < chunks; ++i) body(i);
  });
  return found;
}

/// The device's kernels with the CPU's chains around them, two steps like CpuNorm.
struct DeviceNorm {
  std::vector<float> a, b, d, mean, r, minus_pivot, margin, grad_gamma, grad_beta, running_mean, running_var;
  std::vector<float> y, dx, evaluated;

  DeviceNorm(const Shape& shape, const std::vector<float>& x, const std::vector<float>& up,
             const CpuNorm& cpu)
      : y(x.size()), dx(x.size()), evaluated(x.size()) {
    const int c = static_cast<int>(shape.back());
    for (std::vector<float>* v :
         {&a, &b, &d, &mean, &r, &minus_pivot, &margin, &grad_gamma, &grad_beta, &running_mean})
      v->assign(static_cast<std::size_t>(c), 0);
    running_var.assign(static_cast<std::size_t>(c), 1);
    const double pixels = static_cast<double>(shape.elements()) / c;
    for (int step = 0; step < 2; ++step) {
      launch(c, [&] { cuda::take_pivots_kernel<float>(x.data(), c, minus_pivot.data()); });
      const Sums sums =
          run(shape, x, {{.kind = StepKind::scale_shift, .b = minus_pivot.data()}, {.kind = StepKind::sums}},
              nullptr, true);
      const cuda::BatchNormForward forward{.channels = c,
                                           .pixels = pixels,
                                           .sum = sums.v.data(),
                                           .squares = sums.vx.data(),
                                           .minus_pivot = minus_pivot.data(),
                                           .gamma = cpu.gamma.data(),
                                           .beta = cpu.beta.data(),
                                           .eps = 0.001,
                                           .momentum = 0.3F,
                                           .mean = mean.data(),
                                           .r = r.data(),
                                           .running_mean = running_mean.data(),
                                           .running_var = running_var.data(),
                                           .a = a.data(),
                                           .b = b.data()};
      launch(c, [&] { cuda::finish_channels_kernel(forward); });
      run(shape, x, {{.kind = StepKind::scale_shift, .a = a.data(), .b = b.data()}}, &y, false);
      backward(shape, x, up, cpu, step > 0);
    }
    const cuda::BatchNormEvaluation evaluation{
        c,     cpu.gamma.data(), cpu.beta.data(), running_mean.data(), running_var.data(),
        0.001, a.data(),         b.data()};
    launch(c, [&] { cuda::finish_channels_kernel(evaluation); });
    run(shape, x, {{.kind = StepKind::scale_shift, .a = a.data(), .b = b.data()}}, &evaluated, false);
  }

 private:
  void backward(const Shape& shape, const std::vector<float>& x, const std::vector<float>& up,
                const CpuNorm& cpu, bool accumulate) {
    const int c = static_cast<int>(shape.back());
    launch(c, [&] { cuda::slopes_kernel(cpu.gamma.data(), r.data(), nullptr, c, a.data(), nullptr); });
    const Sums sums =
        run(shape, up, {{.kind = StepKind::sums, .b = mean.data(), .x = x.data()}}, nullptr, true);
    const cuda::BatchNormBackward pass{.channels = c,
                                       .pixels = static_cast<double>(shape.elements()) / c,
                                       .sum = sums.v.data(),
                                       .products = sums.vx.data(),
                                       .gamma = cpu.gamma.data(),
                                       .mean = mean.data(),
                                       .r = r.data(),
                                       .a = a.data(),
                                       .b = b.data(),
                                       .d = d.data(),
                                       .margin = margin.data(),
                                       .grad_gamma = grad_gamma.data(),
                                       .grad_beta = grad_beta.data(),
                                       .accumulate = accumulate};
    launch(c, [&] { cuda::finish_channels_kernel(pass); });
    run(shape, up, {{.kind = StepKind::combine, .a = a.data(), .b = b.data(), .d = d.data(), .x = x.data()}},
        &dx, false);
  }
};

}  // namespace

TEST_CASE("cuda: the sources of batch norm give the CPU's bits") {
  for (const Shape& shape : {Shape{4, 5, 6, 3}, Shape{3, 4, 4, 130}, Shape{1, 1, 1, 2}}) {
    const std::vector<float> x = draw(shape.elements(), 1), up = draw(shape.elements(), 2);
    const CpuNorm cpu(shape, x, up);
    const DeviceNorm device(shape, x, up, cpu);
    CAPTURE(shape.str());
    CHECK(first_difference(device.y, cpu.y) == none);
    CHECK(first_difference(device.running_mean, cpu.running_mean) == none);
    CHECK(first_difference(device.running_var, cpu.running_spread) == none);
    CHECK(first_difference(device.grad_gamma, cpu.grad_gamma) == none);
    CHECK(first_difference(device.grad_beta, cpu.grad_beta) == none);
    CHECK(first_difference(device.evaluated, cpu.evaluated) == none);
    std::vector<float> twice = device.dx;  // the op adds up two micro-steps
    for (std::size_t i = 0; i < twice.size(); ++i) twice[i] = device.dx[i] + device.dx[i];
    CHECK(first_difference(twice, cpu.dx) == none);
  }
}

TEST_CASE("cuda: slopes times factors, and samples widened by the largest margin") {
  const int c = 200;
  const std::vector<float> gamma = draw(c, 1), r = draw(c, 2), factor = draw(c, 3);
  std::vector<float> a(c), looked(c), margin(c);
  launch(c, [&] { cuda::slopes_kernel(gamma.data(), r.data(), factor.data(), c, a.data(), looked.data()); });
  float widest = 0;
  for (std::size_t i = 0; i < c; ++i) {
    CHECK(a[i] == gamma[i] * r[i]);
    CHECK(looked[i] == a[i] * factor[i]);
    margin[i] = std::fabs(a[i]);
    widest = std::max(widest, margin[i] * factor[i]);
  }
  std::vector<std::uint32_t> samples(150);
  for (int n = 0; n < 150; ++n)
    samples[static_cast<std::size_t>(n)] = std::bit_cast<std::uint32_t>(0.25F * static_cast<float>(n));
  launch(1, [&] { cuda::widen_samples_kernel(margin.data(), factor.data(), c, samples.data(), 150); });
  for (int n = 0; n < 150; ++n)
    CHECK(std::bit_cast<float>(samples[static_cast<std::size_t>(n)]) ==
          0.25F * static_cast<float>(n) + widest);
}
