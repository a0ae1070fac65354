// The sources of the CUDA kernels for pooling, losses and updates, run on the host by fibers, against the ops
// and the optimizer of the CPU: the same bits, but for the exponentials of softmax.
#include "support/cuda_launch.h"
// Before the kernels, whose instructions it holds.

#include "core/thread_pool.h"
#include "cuda/loss_kernels.cuh"
#include "cuda/pool_checks.h"
#include "cuda/pool_kernels.cuh"
#include "cuda/update_kernels.cuh"
#include "optim/gradient_norm.h"
#include "optim/optimizer.h"
#include "support/catch.h"
#include "support/cuda_operands.h"
#include "support/draw.h"
#include "support/model.h"
#include "support/test_ops.h"

using namespace octavo;
using namespace octavo::kernels::test;
namespace cuda = octavo::kernels::cuda;
using kernels::Bf16;

namespace {

using octavo::test::tied_floats;

std::vector<Bf16> narrowed(const std::vector<float>& values) {
  std::vector<Bf16> out(values.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = kernels::to_bf16(values[i]);
  return out;
}
std::vector<float> widened(const std::vector<Bf16>& values) {
  std::vector<float> out(values.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = kernels::to_float(values[i]);
  return out;
}

/// One op of the CPU: its output, and the gradients of its input and of a bias, for the gradient `up` of the
/// output.
struct CpuOp {
  std::vector<float> y, dx, db;
  CpuOp(const std::string& node, const Shape& shape, const std::vector<float>& x, const Shape& y_shape,
        const std::vector<float>& up) {
    octavo::test::register_test_ops();
    const Graph graph = octavo::test::build("input in\ninput up\nx test_offset in\nnode " + node +
                                            "\nsum test_weighted_sum node,up\noutput y node\nloss sum\n");
    const BatchTypes types{{"in", {DType::f32, shape}}, {"up", {DType::f32, y_shape}}};
    Runtime runtime(2, 1);
    Program program(graph, types, runtime);
    Plan& plan = program.plan(types, Phase::train);
    program.forward(plan, {{"in", x.data()}, {"up", up.data()}});
    program.backward(plan, 1);
    const auto take = [](std::span<const float> from) {
      return std::vector<float>(from.begin(), from.end());
    };
    y = take(program.output(plan, "y").as<float>());
    dx = take(octavo::test::parameter(program, "x.offset").gradient.as<float>());
    for (const ParameterData& data : program.parameters)
      if (data.name == "node.bias") db = take(data.gradient.as<float>());
  }
};

cuda::PoolAxis axis(int size, int kernel, int stride, int pad) {
  return {size, (size + 2 * pad - kernel) / stride + 1, kernel, stride, pad};
}

struct PoolCase {
  cuda::PoolShape shape;
  std::string attributes;
  Shape x, y;
  PoolCase(int n, int h, int w, int c, int kernel, int stride, int pad)
      : shape{n, c, axis(h, kernel, stride, pad), axis(w, kernel, stride, pad)},
        attributes("kernel: " + std::to_string(kernel) + ", stride: " + std::to_string(stride) +
                   ", pad: " + std::to_string(pad)),
        x({n, h, w, c}),
        y({n, shape.rows.outputs, shape.columns.outputs, c}) {}
};

std::vector<PoolCase> pool_cases() {
  return {{2, 7, 9, 5, 3, 2, 1}, {3, 8, 6, 16, 2, 2, 0}, {1, 5, 5, 3, 3, 1, 1},
          {2, 9, 7, 1, 4, 3, 2}, {1, 6, 6, 8, 5, 1, 2},  {2, 3, 3, 33, 3, 3, 0}};
}

}  // namespace

TEST_CASE("cuda: windows of pixels and pixels of windows agree, in and outside of padding") {
  for (int size = 1; size < 9; ++size)
    for (int kernel = 1; kernel <= size; ++kernel)
      for (int stride = 1; stride < 5; ++stride)
        for (int pad = 0; 2 * pad <= kernel; ++pad) {
          const cuda::PoolAxis a = axis(size, kernel, stride, pad);
          for (int pixel = 0; pixel < size; ++pixel)
            for (int output = 0; output < a.outputs; ++output) {
              const auto pixels = a.pixels_of(output), windows = a.windows_of(pixel);
              CHECK((pixels.begin <= pixel && pixel < pixels.end) ==
                    (windows.begin <= output && output < windows.end));
            }
        }
}

TEST_CASE("cuda: the source of max pooling gives the CPU's bits") {
  for (const PoolCase& p : pool_cases()) {
    const std::vector<float> x = tied_floats(p.x.elements(), 1), up = tied_floats(p.y.elements(), 2);
    const CpuOp expected("max_pool x {" + p.attributes + "}", p.x, x, p.y, up);
    std::vector<float> y(up.size()), dx(x.size());
    std::vector<std::int32_t> where(up.size(), -1);
    launch(2, cuda::pool_threads,
           [&] { cuda::max_pool_kernel<float>(p.shape, x.data(), y.data(), where.data()); });
    launch(2, cuda::pool_threads,
           [&] { cuda::max_pool_gradient_kernel<float>(p.shape, up.data(), where.data(), dx.data()); });
    CAPTURE(p.attributes);
    CHECK(first_difference(y, expected.y) == none);
    CHECK(first_difference(dx, expected.dx) == none);
  }
}

TEST_CASE("cuda: max pooling of bfloat16 rounds every sum, and keeps a NaN in sight") {
  const PoolCase p(2, 6, 6, 8, 3, 1, 1);
  std::vector<float> drawn = tied_floats(p.x.elements(), 3);
  drawn[40] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<Bf16> x = narrowed(drawn), up = narrowed(tied_floats(p.y.elements(), 4));
  std::vector<Bf16> y(up.size()), dx(x.size()), expected(x.size());
  std::vector<std::int32_t> where(up.size(), -1);
  launch(1, cuda::pool_threads,
         [&] { cuda::max_pool_kernel<Bf16>(p.shape, x.data(), y.data(), where.data()); });
  launch(1, cuda::pool_threads,
         [&] { cuda::max_pool_gradient_kernel<Bf16>(p.shape, up.data(), where.data(), dx.data()); });
  const std::int64_t image = p.x.elements() / 2, c = 8;
  int seen = 0;
  for (std::size_t e = 0; e < up.size(); ++e) {
    const auto i = static_cast<std::int64_t>(e);
    const auto at = static_cast<std::size_t>(i / (p.y.elements() / 2) * image + where[e] * c + i % c);
    const float v = kernels::to_float(y[e]);
    CHECK((y[e].bits == x[at].bits));
    seen += v != v ? 1 : 0;
    expected[at] = kernels::to_bf16(kernels::to_float(expected[at]) + kernels::to_float(up[e]));
  }
  CHECK(seen == 4);  // a corner lies in four windows
  CHECK(first_difference(widened(dx), widened(expected)) == none);
}

TEST_CASE("cuda: the source of average pooling gives the CPU's bits") {
  for (PoolCase& p : pool_cases())
    for (const bool pads : {true, false}) {
      p.shape.count_include_pad = pads;
      const std::vector<float> x = tied_floats(p.x.elements(), 1), up = tied_floats(p.y.elements(), 2);
      const CpuOp expected(
          "avg_pool x {" + p.attributes + ", count_include_pad: " + (pads ? "true" : "false") + "}", p.x, x,
          p.y, up);
      std::vector<float> y(up.size()), dx(x.size());
      launch(2, cuda::pool_threads, [&] { cuda::avg_pool_kernel(p.shape, x.data(), y.data()); });
      launch(2, cuda::pool_threads, [&] { cuda::avg_pool_gradient_kernel(p.shape, up.data(), dx.data()); });
      CAPTURE(p.attributes, pads);
      CHECK(first_difference(y, expected.y) == none);
      CHECK(first_difference(dx, expected.dx) == none);
    }
}

TEST_CASE("cuda: the source of the mean of whole images gives the CPU's bits") {
  const Shape shape{3, 5, 7, 37};
  const std::vector<float> x = tied_floats(shape.elements(), 1), up = tied_floats(3 * 37, 2);
  const CpuOp expected("global_avg_pool x", shape, x, {3, 37}, up);
  std::vector<float> y(up.size()), dx(x.size());
  launch(1, cuda::pool_threads, [&] { cuda::global_mean_kernel<float>(x.data(), 3, 35, 37, y.data()); });
  launch(2, cuda::pool_threads,
         [&] { cuda::global_mean_gradient_kernel<float>(up.data(), 3, 35, 37, dx.data()); });
  CHECK(first_difference(y, expected.y) == none);
  CHECK(first_difference(dx, expected.dx) == none);
  const std::vector<Bf16> narrow_x = narrowed(x), narrow_up = narrowed(up);
  std::vector<Bf16> narrow_y(up.size()), narrow_dx(x.size());
  launch(1, cuda::pool_threads,
         [&] { cuda::global_mean_kernel<Bf16>(narrow_x.data(), 3, 35, 37, narrow_y.data()); });
  launch(2, cuda::pool_threads,
         [&] { cuda::global_mean_gradient_kernel<Bf16>(narrow_up.data(), 3, 35, 37, narrow_dx.data()); });
  const CpuOp wide("global_avg_pool x", shape, widened(narrow_x), {3, 37}, widened(narrow_up));
  CHECK(first_difference(widened(narrow_y), widened(narrowed(wide.y))) == none);
  CHECK(first_difference(widened(narrow_dx), widened(narrowed(wide.dx))) == none);
}

TEST_CASE("cuda: what pooling is refused for") {
  const auto refusal = [](const cuda::PoolShape& s) -> std::string {
    try {
      cuda::check_pool(s, cuda::describe_pool("max_pool", s));
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  PoolCase p(2, 7, 9, 5, 3, 2, 1);
  CHECK(refusal(p.shape).empty());
  p.shape.rows.outputs = 5;
  CHECK(refusal(p.shape) == "cuda/max_pool of 2x7x9x5: 5 windows do not fit 7 pixels");
  p.shape.rows = axis(7, 3, 2, 1);
  p.shape.columns.pad = 2;
  CHECK_THAT(refusal(p.shape), ContainsSubstring("more than half of 3"));
}

namespace {

/// Loss and gradient on the CPU and by the kernels.
void check_softmax(int rows, int classes, double smoothing) {
  octavo::test::register_test_ops();
  const std::vector<float> logits = tied_floats(std::int64_t{rows} * classes, 5);
  std::vector<std::int64_t> labels(static_cast<std::size_t>(rows));
  for (int i = 0; i < rows; ++i) labels[static_cast<std::size_t>(i)] = i * 7 % classes;
  std::ostringstream text;
  text << "input in\ninput label\nx test_offset in\nnode softmax_cross_entropy x,label {label_smoothing: "
       << smoothing << "}\nloss node\n";
  const BatchTypes types{{"in", {DType::f32, {rows, classes}}}, {"label", {DType::i64, {rows}}}};
  Runtime runtime(1, 1);
  Program program(octavo::test::build(text.str()), types, runtime);
  Plan& plan = program.plan(types, Phase::train);
  program.forward(plan, {{"in", logits.data()}, {"label", labels.data()}});
  program.backward(plan, 1);
  const std::span<const float> gradient = octavo::test::parameter(program, "x.offset").gradient.as<float>();

  const cuda::LossRows loss{rows, classes, labels.data(), smoothing};
  std::vector<float> p(logits.size()), dx(logits.size());
  std::vector<double> row_losses(static_cast<std::size_t>(rows));
  unsigned bad = cuda::no_bad_sample;
  float mean = 0;
  const float one = 1;
  launch(static_cast<unsigned>(rows), cuda::loss_threads,
         [&] { cuda::softmax_rows_kernel(loss, logits.data(), p.data(), row_losses.data(), &bad); });
  launch(1, 32, [&] {
    if (threadIdx.x == 0) cuda::mean_loss_kernel(row_losses.data(), rows, &mean);
  });
  launch(2, cuda::loss_threads, [&] { cuda::softmax_gradient_kernel(loss, p.data(), &one, dx.data()); });
  CAPTURE(rows, classes, smoothing);
  CHECK(bad == cuda::no_bad_sample);
  CHECK(std::fabs(mean - program.loss(plan)) <= 1.2e-7F * std::fabs(mean));  // FP64, rounded once
  // p is below 1 and differs by at most one rounding, 2^-24.
  float worst = 0;
  for (std::size_t i = 0; i < dx.size(); ++i) worst = std::max(worst, std::fabs(dx[i] - gradient[i]));
  CHECK(worst <= 1.2e-7F / static_cast<float>(rows));
}

}  // namespace

TEST_CASE("cuda: the source of softmax with cross entropy against the CPU") {
  for (const int classes : {1, 2, 10, 127, 128, 129, 1000})
    for (const double smoothing : {0.0, 0.1}) check_softmax(classes > 500 ? 2 : 5, classes, smoothing);
}

TEST_CASE("cuda: the first sample with a label beyond the classes is named") {
  const std::vector<float> logits = tied_floats(40, 5);
  const std::vector<std::int64_t> labels{3, 9, 10, -1};
  std::vector<double> row_losses(4);
  unsigned bad = cuda::no_bad_sample;
  launch(4, cuda::loss_threads, [&] {
    cuda::softmax_rows_kernel({4, 10, labels.data(), 0}, logits.data(), nullptr, row_losses.data(), &bad);
  });
  CHECK(bad == 2);
}

TEST_CASE("cuda: the source of SGD gives the CPU's bits and maxima, clipped by the norm") {
  const double momentum = GENERATE(0.0, 0.9);
  const bool nesterov = momentum > 0 && GENERATE(false, true);
  for (const Shape& shape : {Shape{70, 3, 3, 5}, Shape{4, 2111}, Shape{40, 64}, Shape{333}}) {
    const std::int64_t size = shape.elements(), rows = shape.rank() > 1 ? shape[0] : 1;
    std::map<std::string, double> settings{{"momentum", momentum}, {"weight_decay", 5e-4}};
    if (nesterov) settings["nesterov"] = 1;
    const auto optimizer = make_optimizer("sgd", settings, {{"w", shape, true}});
    std::vector<float> expected = tied_floats(size, 1), found = expected, velocity(expected.size());
    const std::vector<float> factor = tied_floats(rows, 9);
    const double rate_factor = 0.7;
    for (unsigned step = 0; step < 3; ++step) {
      const std::vector<float> gradient = tied_floats(size, 10 + step);
      GradientNorm norm;
      norm.begin();
      norm.add(gradient);
      ThreadPool pool(1);
      const kernels::Parallel parallel = [&](std::int64_t chunks, const auto& body) {
        pool.run(chunks, body);
      };
      const double expected_norm = norm.known_norm(parallel), clip = 5;
      ParameterMaxima maxima;
      const ParameterUpdate update{expected.data(), gradient.data(), rate_factor, factor.data(), &maxima};
      optimizer->step({&update, 1},
                      {.learning_rate = 0.1, .gradient_scale = clip_factor(expected_norm, clip)}, parallel);

      std::vector<cuda::NormChunk> chunks;
      for (std::int64_t i = 0; i < size; i += cuda::norm_chunk)
        chunks.push_back({gradient.data() + i, std::min<std::int64_t>(cuda::norm_chunk, size - i)});
      std::vector<double> sums(chunks.size());
      cuda::StepScalars scalars{.learning_rate = 0.1, .clip_norm = clip};
      launch(static_cast<unsigned>(chunks.size()), cuda::norm_threads,
             [&] { cuda::norm_chunks_kernel(chunks.data(), sums.data()); });
      launch(1, cuda::norm_threads,
             [&] { cuda::finish_norm_kernel(sums.data(), static_cast<int>(sums.size()), &scalars); });
      std::vector<std::uint32_t> row_max(static_cast<std::size_t>(rows)),
          column_max(static_cast<std::size_t>(shape.back()));
      const cuda::SgdUpdate run{.value = found.data(),
                                .gradient = gradient.data(),
                                .velocity = momentum > 0 ? velocity.data() : nullptr,
                                .rows = rows,
                                .columns = shape.back(),
                                .elements = size,
                                .momentum = static_cast<float>(momentum),
                                .decay = 5e-4F,
                                .nesterov = nesterov,
                                .rate_factor = &rate_factor,
                                .row_max = row_max.data(),
                                .row_factor = factor.data(),
                                .column_max = column_max.data()};
      const std::vector<cuda::ListBlock> blocks =
          cuda::cut_passes(std::span(&run, 1), "sgd", cuda::update_parts<cuda::SgdUpdate>);
      launch(static_cast<unsigned>(blocks.size()), cuda::update_threads,
             [&] { cuda::sgd_kernel(&run, blocks.data(), &scalars); });
      CAPTURE(shape.str(), momentum, nesterov, step);
      CHECK(scalars.gradient_norm == expected_norm);
      CHECK(first_difference(found, expected) == none);
      CHECK((row_max == maxima.rows));
      CHECK((column_max == maxima.columns));
    }
  }
}

TEST_CASE("cuda: with Inf or NaN in a gradient no weight changes") {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> gradient = tied_floats(300, 1), w = tied_floats(300, 2),
                       velocity = tied_floats(300, 3);
    const std::vector<float> before = w, velocity_before = velocity;
    gradient[77] = bad;
    const cuda::NormChunk chunk{gradient.data(), 300};
    double sum = 0;
    const double rate_factor = 1;
    cuda::StepScalars scalars{.learning_rate = 0.1, .clip_norm = 5};
    launch(1, cuda::norm_threads, [&] { cuda::norm_chunks_kernel(&chunk, &sum); });
    launch(1, cuda::norm_threads, [&] { cuda::finish_norm_kernel(&sum, 1, &scalars); });
    const cuda::SgdUpdate run{.value = w.data(),
                              .gradient = gradient.data(),
                              .velocity = velocity.data(),
                              .elements = 300,
                              .momentum = 0.9F,
                              .decay = 0.1F,
                              .rate_factor = &rate_factor};
    const cuda::ListBlock all;
    launch(1, cuda::update_threads, [&] { cuda::sgd_kernel(&run, &all, &scalars); });
    CHECK(!std::isfinite(scalars.gradient_norm));
    CHECK(first_difference(w, before) == none);
    CHECK(first_difference(velocity, velocity_before) == none);
  }
}

TEST_CASE("cuda: the norm over chunks of several parameters is the CPU's") {
  const std::vector<float> first = tied_floats(40'000, 1), second = tied_floats(259, 2),
                           third = tied_floats(17, 3);
  GradientNorm norm;
  norm.begin();
  std::vector<cuda::NormChunk> chunks;
  for (const std::vector<float>* part : {&first, &second, &third}) {
    norm.add(*part);
    for (std::size_t i = 0; i < part->size(); i += cuda::norm_chunk)
      chunks.push_back({part->data() + i, static_cast<std::int64_t>(
                                              std::min<std::size_t>(cuda::norm_chunk, part->size() - i))});
  }
  std::vector<double> sums(chunks.size());
  cuda::StepScalars scalars;
  launch(static_cast<unsigned>(chunks.size()), cuda::norm_threads,
         [&] { cuda::norm_chunks_kernel(chunks.data(), sums.data()); });
  launch(1, cuda::norm_threads,
         [&] { cuda::finish_norm_kernel(sums.data(), static_cast<int>(sums.size()), &scalars); });
  ThreadPool pool(1);
  CHECK(scalars.gradient_norm ==
        norm.known_norm([&](std::int64_t count, const auto& body) { pool.run(count, body); }));
  CHECK(scalars.gradient_scale == 1);
}

TEST_CASE("cuda: the norm adds more chunks than a block has threads in their order") {
  for (const std::size_t count : {0U, 1U, 255U, 256U, 257U, 700U, 1024U}) {
    const std::vector<float> drawn = tied_floats(static_cast<std::int64_t>(count), 4);
    std::vector<double> sums;
    double total = 0;
    for (std::size_t i = 0; i < count; ++i) {
      sums.push_back(std::fabs(drawn[i]) * (i % 3 == 0 ? 1e8 : 1e-8));
      total += sums.back();
    }
    cuda::StepScalars scalars;
    launch(1, cuda::norm_threads,
           [&] { cuda::finish_norm_kernel(sums.data(), static_cast<int>(count), &scalars); });
    CHECK(scalars.gradient_norm == std::sqrt(total));
  }
}

TEST_CASE("cuda: the source of column sums gives the CPU's bits") {
  for (const std::int64_t rows : {1, 64, 65, 200}) {
    const std::vector<float> x = tied_floats(rows * 3, 1), up = tied_floats(rows * 37, 2);
    const CpuOp expected("linear x {out: 37, bias: true}", {rows, 3}, x, {rows, 37}, up);
    REQUIRE(expected.db.size() == 37);
    const std::int64_t tiles = (rows + cuda::column_tile - 1) / cuda::column_tile;
    std::vector<float> scratch(static_cast<std::size_t>(tiles * 37)), found(37, 1.5F), more = found;
    launch(2, cuda::update_threads,
           [&] { cuda::column_tiles_kernel<float>(up.data(), rows, 37, scratch.data()); });
    launch(1, cuda::update_threads,
           [&] { cuda::join_columns_kernel(scratch.data(), tiles, 37, found.data(), false); });
    launch(1, cuda::update_threads,
           [&] { cuda::join_columns_kernel(scratch.data(), tiles, 37, more.data(), true); });
    CHECK(first_difference(found, expected.db) == none);
    for (std::size_t i = 0; i < found.size(); ++i) CHECK(more[i] == found[i] + 1.5F);
  }
}
