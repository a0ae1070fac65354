// Pooling, losses, batch norm between its chains and updates on a device, through their host functions: the
// bits of the same formulas on the host, which cuda_ops_test.cpp and cuda_batch_norm_test.cpp hold against
// the CPU's ops.
#include <cmath>

#include "cuda/batch_norm.h"
#include "cuda/loss.h"
#include "cuda/pool.h"
#include "cuda/update.h"
#include "support/cuda_device_memory.h"
#include "support/cuda_operands.h"
#include "support/draw.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

using octavo::test::tied_floats;

std::vector<Bf16> stored_bf16(const std::vector<float>& values) {
  std::vector<Bf16> out(values.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = to_bf16(values[i]);
  return out;
}
const std::vector<float>& stored(const std::vector<float>& values, float) { return values; }
std::vector<Bf16> stored(const std::vector<float>& values, Bf16) { return stored_bf16(values); }

template <class T>
std::vector<float> as_floats(const std::vector<T>& values) {
  std::vector<float> out(values.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = to_float(values[i]);
  return out;
}

void synchronize() { cu::check(cudaDeviceSynchronize(), "test: synchronize"); }

cu::PoolAxis axis(int size, int kernel, int stride, int pad) {
  return {size, (size + 2 * pad - kernel) / stride + 1, kernel, stride, pad};
}
const std::array pool_shapes = {cu::PoolShape{2, 5, axis(7, 3, 2, 1), axis(9, 3, 2, 1)},
                                cu::PoolShape{3, 16, axis(8, 2, 2, 0), axis(6, 2, 2, 0)},
                                cu::PoolShape{1, 33, axis(5, 3, 1, 1), axis(5, 4, 3, 2), false}};

template <class T>
void check_max_pool(const cu::PoolShape& s) {
  const FloatType type = sizeof(T) == 4 ? FloatType::f32 : FloatType::bf16;
  const auto x = stored(tied_floats(s.inputs(), 1), T{}), up = stored(tied_floats(s.outputs(), 2), T{});
  std::vector<T> y(up.size()), dx(x.size());
  std::vector<std::int32_t> where(up.size());
  for (std::int64_t i = 0; i < s.outputs(); ++i) cu::max_pool(s, x.data(), i, y.data(), where.data());
  for (std::int64_t i = 0; i < s.inputs(); ++i)
    cu::max_pool_gradient(s, up.data(), where.data(), i, dx.data());
  DeviceArray<T> on_x(x), on_up(up), on_y(y.size()), on_dx(dx.size());
  DeviceArray<std::int32_t> on_where(where.size());
  cu::run_max_pool(s, {on_x.data(), type}, {on_y.data(), type}, on_where.data(), nullptr);
  cu::run_max_pool_gradient(s, {on_up.data(), type}, on_where.data(), {on_dx.data(), type}, nullptr);
  synchronize();
  CHECK(first_difference(on_where.values(), where) == none);
  CHECK(first_difference(as_floats(on_y.values()), as_floats(y)) == none);
  CHECK(first_difference(as_floats(on_dx.values()), as_floats(dx)) == none);
}

}  // namespace

TEST_CASE("max pooling") {
  for (const cu::PoolShape& s : pool_shapes) {
    check_max_pool<float>(s);
    check_max_pool<Bf16>(s);
  }
  const cu::PoolShape& s = pool_shapes[0];
  float value = 0;
  CHECK_THROWS_WITH(
      cu::run_max_pool(s, {&value, FloatType::f32}, {&value, FloatType::bf16}, nullptr, nullptr),
      ContainsSubstring("input and output have one type"));
  CHECK_THROWS_WITH(cu::run_max_pool_gradient(s, &value, nullptr, &value, nullptr),
                    ContainsSubstring("cuda/max_pool_gradient of 2x7x9x5: where is null"));
}

TEST_CASE("average pooling and means of images") {
  for (const cu::PoolShape& s : pool_shapes) {
    const std::vector<float> x = tied_floats(s.inputs(), 1), up = tied_floats(s.outputs(), 2);
    std::vector<float> y(up.size()), dx(x.size());
    for (std::int64_t i = 0; i < s.outputs(); ++i) cu::avg_pool(s, x.data(), i, y.data());
    for (std::int64_t i = 0; i < s.inputs(); ++i) cu::avg_pool_gradient(s, up.data(), i, dx.data());
    DeviceArray<float> on_x(x), on_up(up), on_y(y.size()), on_dx(dx.size());
    cu::run_avg_pool(s, on_x.data(), on_y.data(), nullptr);
    cu::run_avg_pool_gradient(s, on_up.data(), on_dx.data(), nullptr);
    synchronize();
    CHECK(first_difference(on_y.values(), y) == none);
    CHECK(first_difference(on_dx.values(), dx) == none);
  }
  const cu::GlobalPool g{3, 37, 35};
  const std::vector<float> x = tied_floats(g.n * g.pixels * g.c, 1),
                           up = tied_floats(std::int64_t{g.n} * g.c, 2);
  std::vector<float> y(up.size()), dx(x.size());
  for (std::int64_t i = 0; i < std::ssize(y); ++i) cu::global_mean(x.data(), g.pixels, g.c, i, y.data());
  for (std::int64_t i = 0; i < std::ssize(dx); ++i)
    cu::global_mean_gradient(up.data(), g.pixels, g.c, i, dx.data());
  DeviceArray<float> on_x(x), on_up(up), on_y(y.size()), on_dx(dx.size());
  cu::run_global_mean(g, on_x.data(), on_y.data(), nullptr);
  cu::run_global_mean_gradient(g, on_up.data(), on_dx.data(), nullptr);
  synchronize();
  CHECK(first_difference(on_y.values(), y) == none);
  CHECK(first_difference(on_dx.values(), dx) == none);
}

TEST_CASE("softmax with cross entropy") {
  const int rows = 5, classes = GENERATE(1, 10, 129, 1000);
  const std::vector<float> logits = tied_floats(std::int64_t{rows} * classes, 5);
  std::vector<std::int64_t> labels(static_cast<std::size_t>(rows));
  for (int i = 0; i < rows; ++i) labels[static_cast<std::size_t>(i)] = i * 7 % classes;
  DeviceArray<float> on_logits(logits), p(logits.size()), loss(1), dx(logits.size());
  DeviceArray<std::int64_t> on_labels(labels);
  DeviceArray<double> row_losses(rows);
  DeviceArray<unsigned> bad(std::vector<unsigned>{cu::no_bad_sample});
  DeviceArray<float> one(std::vector<float>{1});
  const cu::LossRows sizes{rows, classes, on_labels.data(), 0.1};
  cu::run_softmax_loss(sizes, on_logits.data(), {p.data(), loss.data(), row_losses.data(), bad.data()},
                       nullptr);
  cu::run_softmax_loss_gradient(sizes, p.data(), one.data(), dx.data(), nullptr);
  synchronize();
  double total = 0;
  float worst = 0;
  const std::vector<float> found = dx.values(), found_p = p.values();
  for (int i = 0; i < rows; ++i) {
    double sum = 0, all = 0;
    const float* x = logits.data() + i * classes;
    const float largest = *std::max_element(x, x + classes);
    for (int k = 0; k < classes; ++k) sum += std::exp(double{x[k]} - largest), all += double{x[k]} - largest;
    const auto label = labels[static_cast<std::size_t>(i)];
    total += std::log(sum) - 0.9 * (double{x[label]} - largest) - 0.1 * all / classes;
    for (int k = 0; k < classes; ++k) {
      const double q = (k == label ? 0.9 : 0) + 0.1 / classes, e = std::exp(double{x[k]} - largest) / sum;
      const float value = found[static_cast<std::size_t>(i) * static_cast<std::size_t>(classes) +
                                static_cast<std::size_t>(k)];
      worst = std::max(worst, static_cast<float>(std::fabs(value - (e - q) / rows)));
    }
  }
  CHECK(bad.values()[0] == cu::no_bad_sample);
  CHECK(std::fabs(loss.values()[0] - total / rows) <= 1.2e-7 * std::fabs(total / rows));
  CHECK(worst <= 4 * 6e-8F / rows);  // p, 1 - s, s / K, their difference and the product round once each
}

TEST_CASE("batch norm between its chains") {
  const int c = 130;
  std::vector<double> sum, squares;
  for (const float v : tied_floats(c, 1)) sum.push_back(v), squares.push_back(100 + v * v);
  const std::vector<float> y = tied_floats(c, 2), gamma = tied_floats(c, 3), beta = tied_floats(c, 4),
                           running(c, 1.0F);
  std::vector<float> minus_pivot(c), mean(c), r(c), a(c), b(c), running_mean = running, running_var = running;
  for (std::size_t i = 0; i < y.size(); ++i) minus_pivot[i] = -y[i];
  const auto forward = [&](const double* v, const double* vx, const float* pivot, const float* g,
                           const float* shift, std::array<float*, 6> out) {
    return cu::BatchNormForward{c,      50,     v,      vx,     pivot,  g,      shift, 1e-3,
                                0.125F, out[0], out[1], out[2], out[3], out[4], out[5]};
  };
  const cu::BatchNormForward expected =
      forward(sum.data(), squares.data(), minus_pivot.data(), gamma.data(), beta.data(),
              {mean.data(), r.data(), running_mean.data(), running_var.data(), a.data(), b.data()});
  for (int i = 0; i < c; ++i) cu::finish_channel(expected, i);
  DeviceArray<double> on_sum(sum), on_squares(squares);
  DeviceArray<float> on_y(y), on_gamma(gamma), on_beta(beta), pivot(c), on_mean(c), on_r(c), on_a(c), on_b(c),
      on_running_mean(running), on_running_var(running);
  cu::take_pivots(on_y.data(), c, pivot.data(), nullptr);
  cu::finish_channels(forward(on_sum.data(), on_squares.data(), pivot.data(), on_gamma.data(), on_beta.data(),
                              {on_mean.data(), on_r.data(), on_running_mean.data(), on_running_var.data(),
                               on_a.data(), on_b.data()}),
                      nullptr);
  synchronize();
  CHECK(first_difference(on_mean.values(), mean) == none);
  CHECK(first_difference(on_r.values(), r) == none);
  CHECK(first_difference(on_running_mean.values(), running_mean) == none);
  CHECK(first_difference(on_running_var.values(), running_var) == none);
  CHECK(first_difference(on_a.values(), a) == none);
  CHECK(first_difference(on_b.values(), b) == none);

  std::vector<float> d(c), margin(c), grad_gamma(c), grad_beta(c);
  std::vector<float> slope(c);
  const cu::BatchNormBackward backward{
      c,        50,           sum.data(), squares.data(), gamma.data(),      mean.data(),      r.data(),
      a.data(), slope.data(), d.data(),   margin.data(),  grad_gamma.data(), grad_beta.data(), false};
  for (int i = 0; i < c; ++i) cu::finish_channel(backward, i);
  DeviceArray<float> on_slope(c), on_d(c), on_margin(c), on_grad_gamma(c), on_grad_beta(c), looked(c);
  cu::take_slopes({c, on_gamma.data(), on_r.data(), on_a.data(), on_beta.data(), looked.data()}, nullptr);
  const cu::BatchNormBackward on_backward{c,
                                          50,
                                          on_sum.data(),
                                          on_squares.data(),
                                          on_gamma.data(),
                                          on_mean.data(),
                                          on_r.data(),
                                          on_a.data(),
                                          on_slope.data(),
                                          on_d.data(),
                                          on_margin.data(),
                                          on_grad_gamma.data(),
                                          on_grad_beta.data(),
                                          false};
  cu::finish_channels(on_backward, nullptr);
  std::vector<std::uint32_t> samples(9);
  for (int n = 0; n < 9; ++n)
    samples[static_cast<std::size_t>(n)] = std::bit_cast<std::uint32_t>(0.5F * static_cast<float>(n));
  DeviceArray<std::uint32_t> on_samples(samples);
  cu::widen_samples(on_backward, nullptr, on_samples.data(), 9, nullptr);
  synchronize();
  CHECK(first_difference(on_slope.values(), slope) == none);
  CHECK(first_difference(on_d.values(), d) == none);
  CHECK(first_difference(on_grad_gamma.values(), grad_gamma) == none);
  CHECK(first_difference(on_grad_beta.values(), grad_beta) == none);
  for (int i = 0; i < c; ++i)
    CHECK(looked.values()[static_cast<std::size_t>(i)] ==
          a[static_cast<std::size_t>(i)] * beta[static_cast<std::size_t>(i)]);
  const float widest = *std::max_element(margin.begin(), margin.end());
  for (int n = 0; n < 9; ++n)
    CHECK(std::bit_cast<float>(on_samples.values()[static_cast<std::size_t>(n)]) ==
          0.5F * static_cast<float>(n) + widest);
}

TEST_CASE("an update: norm, clipping, SGD, maxima, sums of columns") {
  const bool nesterov = GENERATE(false, true);
  const std::int64_t rows = 70, columns = 50, size = rows * 9 * columns;
  const std::vector<float> gradient = tied_floats(size, 2), factor = tied_floats(rows, 3);
  std::vector<float> value = tied_floats(size, 1), velocity = tied_floats(size, 4);
  DeviceArray<float> on_value(value), on_gradient(gradient), on_velocity(velocity), on_factor(factor);
  const cu::GradientPart part{on_gradient.data(), size};
  const std::vector<cu::NormChunk> chunks = cu::norm_chunks({&part, 1});
  DeviceArray<cu::NormChunk> on_chunks(chunks);
  DeviceArray<double> sums(chunks.size()), rate_factor(std::vector<double>{0.7});
  DeviceArray<cu::StepScalars> scalars(std::vector<cu::StepScalars>{{.learning_rate = 0.1, .clip_norm = 5}});
  cu::gradient_norm(on_chunks.data(), static_cast<int>(chunks.size()), sums.data(), scalars.data(), nullptr);
  synchronize();
  double total = 0;
  for (std::int64_t begin = 0; begin < size; begin += cu::norm_chunk) {
    const cu::NormChunk chunk{gradient.data() + begin, std::min<std::int64_t>(cu::norm_chunk, size - begin)};
    double sum = 0;
    for (int tile = 0; tile * cu::norm_tile < chunk.count; ++tile)
      for (int lane = 0; lane < cu::norm_lanes; ++lane) sum += cu::norm_lane(chunk, tile, lane);
    total += sum;
  }
  cu::StepScalars step = scalars.values()[0];
  CHECK(step.gradient_norm == std::sqrt(total));
  CHECK(step.gradient_scale == cu::clip_scale(std::sqrt(total), 5));

  const double host_factor = 0.7;
  const std::vector<std::uint32_t> no_rows(static_cast<std::size_t>(rows)),
      no_columns(static_cast<std::size_t>(columns));
  DeviceArray<std::uint32_t> row_max(no_rows), column_max(no_columns);
  cu::SgdUpdate update{on_value.data(),
                       on_gradient.data(),
                       on_velocity.data(),
                       rows,
                       columns,
                       size,
                       0.9F,
                       5e-4F,
                       nesterov,
                       rate_factor.data(),
                       row_max.data(),
                       on_factor.data(),
                       column_max.data()};
  // A small parameter before it and one after it in the same launch.
  const std::vector<float> small = tied_floats(37, 6), pull = tied_floats(37, 7);
  DeviceMemory memory;
  const auto plain = [&] {
    return cu::SgdUpdate{.value = memory.put(small),
                         .gradient = memory.put(pull),
                         .elements = 37,
                         .rate_factor = rate_factor.data()};
  };
  const std::vector<cu::SgdUpdate> all{plain(), update, plain()};
  cu::update_sgd(memory.list(all, cu::update_blocks(all)), scalars.data(), nullptr);
  synchronize();
  for (const std::size_t i : {0UL, 2UL}) {
    std::vector<float> expected = small;
    cu::SgdUpdate same = all[i];
    const double rate = 0.7;
    same.value = expected.data(), same.gradient = pull.data(), same.rate_factor = &rate;
    for (std::int64_t e = 0; e < 37; ++e)
      expected[static_cast<std::size_t>(e)] = cu::updated(same, cu::SgdFactors(same, step), e);
    CHECK(first_difference(memory.get(all[i].value, 37), expected) == none);
  }
  const auto refused = [&](auto change, const char* why) {
    cu::SgdUpdate bad = update;
    change(bad);
    CHECK_THROWS_WITH(cu::update_blocks({&bad, 1}),
                      ContainsSubstring("cuda/update_sgd of 31500 values in ") && ContainsSubstring(why));
  };
  refused([](auto& u) { u.value = nullptr; }, "70 rows: value is null");
  refused([](auto& u) { u.rows = 69; }, "rows are whole");
  refused([](auto& u) { u.row_factor = nullptr; }, "row_factor is null");
  refused([](auto& u) { u.velocity = nullptr, u.nesterov = true; }, "needs a velocity");
  CHECK_THROWS_WITH(cu::update_sgd({}, scalars.data(), nullptr), ContainsSubstring("each pass has blocks"));
  update.value = value.data(), update.gradient = gradient.data(), update.velocity = velocity.data();
  update.rate_factor = &host_factor;
  const cu::SgdFactors factors(update, step);
  std::vector<std::uint32_t> most_rows(rows), most_columns(columns);
  for (std::int64_t i = 0; i < size; ++i) {
    const float w = value[static_cast<std::size_t>(i)] = cu::updated(update, factors, i);
    auto &row = most_rows[static_cast<std::size_t>(i / (9 * columns))],
         &column = most_columns[static_cast<std::size_t>(i % columns)];
    row = std::max(row, cu::magnitude_of(w));
    column = std::max(column, cu::magnitude_of(w * factor[static_cast<std::size_t>(i / (9 * columns))]));
  }
  CHECK(first_difference(on_value.values(), value) == none);
  CHECK(first_difference(on_velocity.values(), velocity) == none);
  CHECK(first_difference(row_max.values(), most_rows) == none);
  CHECK(first_difference(column_max.values(), most_columns) == none);

  DeviceArray<float> scratch(static_cast<std::size_t>(cu::column_tiles(rows * 9) * columns)), bias(columns);
  cu::column_sums(on_gradient.data(), rows * 9, columns, scratch.data(), bias.data(), false, nullptr);
  synchronize();
  std::vector<float> expected;
  for (std::int64_t c = 0; c < columns; ++c) {
    double sum = 0;
    for (std::int64_t tile = 0; tile * 64 < rows * 9; ++tile) {
      float in_tile = 0;
      for (std::int64_t row = tile * 64; row < std::min(tile * 64 + 64, rows * 9); ++row)
        in_tile += gradient[static_cast<std::size_t>(row * columns + c)];
      sum += in_tile;
    }
    expected.push_back(static_cast<float>(sum));
  }
  CHECK(first_difference(bias.values(), expected) == none);
}
