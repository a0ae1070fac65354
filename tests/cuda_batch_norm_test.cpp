// The sources of the CUDA kernels of batch norm, run on the host by fibers between chains of the CPU, against
// the op: the same bits forward, backward, in evaluation and in the running statistics.
#include "support/cuda_fibers.h"
// Before the kernels, whose instructions it holds.
#include <random>

#include "cuda/batch_norm_kernels.cuh"
#include "support/catch.h"
#include "support/cuda_operands.h"
#include "support/draw.h"
#include "support/model.h"
#include "support/test_ops.h"

using namespace octavo;
using namespace octavo::kernels::test;
namespace cuda = octavo::kernels::cuda;
using kernels::Step;
using kernels::StepKind;

namespace {

template <class Body>
void launch(int channels, const Body& body) {
  FiberBlock block(cuda::channel_threads, 3, false);
  gridDim = {static_cast<unsigned>((channels + cuda::channel_threads - 1) / cuda::channel_threads), 1, 1};
  blockIdx.y = 0;
  for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) block.run(body);
}

std::vector<float> draw(std::int64_t count, unsigned seed) {
  return octavo::test::normal_floats(count, seed, 0.3F, 1.2F);
}

/// The op on the CPU, two steps.
struct CpuNorm {
  std::vector<float> gamma, beta, y, dx, grad_gamma, grad_beta, running_mean, running_var, evaluated;
  CpuNorm(const Shape& shape, const std::vector<float>& x, const std::vector<float>& up) {
    octavo::test::register_test_ops();
    const BatchTypes types{{"in", {DType::f32, shape}}, {"up", {DType::f32, shape}}};
    Runtime runtime(2, 1);
    Program program(
        octavo::test::build("input in\ninput up\nx test_offset in\nnode batch_norm x {eps: 0.001, "
                            "momentum: 0.3}\nsum test_weighted_sum node,up\noutput y node\nloss "
                            "sum\n"),
        types, runtime);
    const auto values = [&](const std::string& name) {
      return octavo::test::parameter(program, name).value.as<float>();
    };
    const auto take = [](std::span<const float> from) {
      return std::vector<float>(from.begin(), from.end());
    };
    const auto gradient = [&](const std::string& name) {
      return take(octavo::test::parameter(program, name).gradient.as<float>());
    };
    gamma = draw(shape.back(), 5), beta = draw(shape.back(), 6);
    std::copy(gamma.begin(), gamma.end(), values("node.weight").begin());
    std::copy(beta.begin(), beta.end(), values("node.bias").begin());
    const BatchPointers pointers{{"in", x.data()}, {"up", up.data()}};
    Plan& plan = program.plan(types, Phase::train);
    for (runtime.micro_step = 0; runtime.micro_step < 2; ++runtime.micro_step) {
      program.forward(plan, pointers);
      program.backward(plan, 1);
    }
    y = take(program.output(plan, "y").as<float>());
    dx = gradient("x.offset"), grad_gamma = gradient("node.weight"), grad_beta = gradient("node.bias");
    for (const StateData& state : program.states)
      (state.name.ends_with("mean") ? running_mean : running_var) = take(state.value.as<float>());
    Plan& evaluation = program.plan(types, Phase::eval);
    program.forward(evaluation, pointers);
    evaluated = take(program.output(evaluation, "y").as<float>());
  }
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
    CHECK(first_difference(device.running_var, cpu.running_var) == none);
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
