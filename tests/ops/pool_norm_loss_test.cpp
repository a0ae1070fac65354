// Pooling, batch normalization and the classification loss.
#include <cmath>
#include <limits>

#include "support/catch.h"
#include "support/model.h"
#include "support/op_check.h"
#include "support/test_ops.h"

using namespace octavo;
using namespace octavo::test;

namespace {

struct Pool {
  std::int64_t kernel, stride, pad;
  bool maximum, count_pad = true;
};

double pool_one(const Pool& p, const Array& x, std::int64_t n, std::int64_t i, std::int64_t j,
                std::int64_t c) {
  double sum = 0, largest = -std::numeric_limits<double>::infinity();
  std::int64_t inside = 0;
  for (std::int64_t r = 0; r < p.kernel * p.kernel; ++r) {
    const std::int64_t row = i * p.stride - p.pad + r / p.kernel,
                       column = j * p.stride - p.pad + r % p.kernel;
    if (row < 0 || row >= x.shape[1] || column < 0 || column >= x.shape[2]) continue;
    const double v =
        x.values[static_cast<std::size_t>(((n * x.shape[1] + row) * x.shape[2] + column) * x.shape[3] + c)];
    sum += v;
    largest = std::max(largest, v);
    ++inside;
  }
  return p.maximum ? largest : sum / static_cast<double>(p.count_pad ? p.kernel * p.kernel : inside);
}

std::vector<double> pool(const Pool& p, const Array& x) {
  const std::int64_t ho = (x.shape[1] + 2 * p.pad - p.kernel) / p.stride + 1,
                     wo = (x.shape[2] + 2 * p.pad - p.kernel) / p.stride + 1;
  std::vector<double> y;
  for (std::int64_t at = 0; at < x.shape[0] * ho * wo * x.shape[3]; ++at)
    y.push_back(pool_one(p, x, at / x.shape[3] / wo / ho, at / x.shape[3] / wo % ho, at / x.shape[3] % wo,
                         at % x.shape[3]));
  return y;
}

// All different, 1/8 apart and in mixed order: a central difference changes no maximum.
double distinct(int, std::int64_t index) { return static_cast<double>(index * 379 % 1009) / 8 - 60; }

std::vector<double> normalize(const std::vector<Array>& operands) {
  const auto &x = operands[0].values, &gamma = operands[1].values, &beta = operands[2].values;
  const std::size_t c = gamma.size(), m = x.size() / c;
  std::vector<double> y(x.size());
  for (std::size_t ch = 0; ch < c; ++ch) {
    double mean = 0, variance = 0;
    for (std::size_t i = 0; i < m; ++i) mean += x[i * c + ch] / static_cast<double>(m);
    for (std::size_t i = 0; i < m; ++i)
      variance += (x[i * c + ch] - mean) * (x[i * c + ch] - mean) / static_cast<double>(m);
    for (std::size_t i = 0; i < m; ++i)
      y[i * c + ch] = gamma[ch] * (x[i * c + ch] - mean) / std::sqrt(variance + 1e-5) + beta[ch];
  }
  return y;
}

// By ranges, as Banner et al. define it: the factor and the mean range over chunks from their own formula.
std::vector<double> range_normalize(const std::vector<Array>& operands, std::size_t most_chunks) {
  const auto &x = operands[0].values, &gamma = operands[1].values, &beta = operands[2].values;
  const std::size_t c = gamma.size(), m = x.size() / c;
  const std::size_t chunks = std::clamp<std::size_t>(m / 2, 1, most_chunks);
  const double n = static_cast<double>(m) / static_cast<double>(chunks);
  const double factor =
      0.5 * 0.35 * (1 + std::sqrt(3.141592653589793 * std::log(4))) / std::sqrt(2 * std::log(n));
  std::vector<double> y(x.size());
  for (std::size_t ch = 0; ch < c; ++ch) {
    double mean = 0, range = 0;
    for (std::size_t i = 0; i < m; ++i) mean += x[i * c + ch] / static_cast<double>(m);
    for (std::size_t k = 0; k < chunks; ++k) {
      double low = std::numeric_limits<double>::infinity(), high = -low;
      for (std::size_t i = m * k / chunks; i < m * (k + 1) / chunks; ++i)
        low = std::min(low, x[i * c + ch]), high = std::max(high, x[i * c + ch]);
      range += (high - low) / static_cast<double>(chunks);
    }
    for (std::size_t i = 0; i < m; ++i)
      y[i * c + ch] = gamma[ch] * (x[i * c + ch] - mean) / (range * factor + 1e-5) + beta[ch];
  }
  return y;
}

std::vector<double> cross_entropy(const Array& x, const std::vector<std::int64_t>& labels, double smoothing) {
  const auto n = static_cast<std::size_t>(x.shape[0]), k = static_cast<std::size_t>(x.shape[1]);
  double loss = 0;
  for (std::size_t i = 0; i < n; ++i) {
    double sum = 0;
    for (std::size_t j = 0; j < k; ++j) sum += std::exp(x.values[i * k + j]);
    for (std::size_t j = 0; j < k; ++j) {
      const double q = (static_cast<std::int64_t>(j) == labels[i] ? 1 - smoothing : 0) +
                       smoothing / static_cast<double>(k);
      loss -= q * (x.values[i * k + j] - std::log(sum)) / static_cast<double>(n);
    }
  }
  return {loss};
}

}  // namespace

TEST_CASE("max and average pooling") {
  const std::vector<std::pair<std::string, Pool>> cases = {
      {"max_pool {kernel: 2}", {2, 2, 0, true}},
      {"max_pool {kernel: 3, stride: 2, pad: 1}", {3, 2, 1, true}},
      {"avg_pool {kernel: 2}", {2, 2, 0, false}},
      {"avg_pool {kernel: 3, stride: 1, pad: 1}", {3, 1, 1, false}},
      {"avg_pool {kernel: 3, stride: 2, pad: 1, count_include_pad: false}", {3, 2, 1, false, false}}};
  for (const auto& [node, parameters] : cases)
    for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{2, 4, 6, 3}, {1, 7, 5, 2}}) {
      OpCase op;
      op.node = node;
      op.shapes = {shape};
      op.terms = 9;
      op.value = distinct;
      op.reference = [p = parameters](const std::vector<Array>& operands) { return pool(p, operands[0]); };
      check_op(op);
    }
}

TEST_CASE("global average pooling") {
  for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{2, 3, 4, 5}, {3, 1, 1, 2}}) {
    OpCase op;
    op.node = "global_avg_pool";
    op.shapes = {shape};
    op.terms = shape[1] * shape[2];
    op.reference = [](const std::vector<Array>& operands) {
      const auto& s = operands[0].shape;
      std::vector<double> y(static_cast<std::size_t>(s[0] * s[3]));
      for (std::int64_t i = 0; i < s[0] * s[1] * s[2] * s[3]; ++i)
        y[static_cast<std::size_t>(i / (s[1] * s[2] * s[3]) * s[3] + i % s[3])] +=
            operands[0].values[static_cast<std::size_t>(i)] / static_cast<double>(s[1] * s[2]);
      return y;
    };
    check_op(op);
  }
}

TEST_CASE("a NaN survives max pooling, wherever it lies in the window") {
  Tensor x = Tensor::zeros({1, 2, 2, 4});
  for (std::size_t i = 0; i < 4; ++i) x.as<float>()[i * 4 + i] = std::nanf("");
  Runtime runtime(1, 1);
  const BatchTypes types{{"in", x.type()}};
  Program program(build("input in\ny max_pool in {kernel: 2}\noutput y y\n"), types, runtime);
  Plan& plan = program.plan(types, Phase::eval);
  program.forward(plan, {{"in", x.data()}});
  const Tensor y = program.output(plan, "y");
  for (float v : y.as<float>()) CHECK(std::isnan(v));
}

TEST_CASE("batch_norm in training") {
  for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{3, 2, 4, 5}, {9, 3}, {2, 5, 17}}) {
    OpCase op;
    op.node = "batch_norm";
    op.shapes = {shape};
    op.terms = 40;
    op.linear = false;
    op.reference = normalize;
    op.value = [](int number, std::int64_t i) {
      const auto at = static_cast<std::uint64_t>(i);
      return number == 0 ? golden::formula(1, at, 4, 3)
                         : golden::formula(static_cast<std::uint64_t>(number), at, 1, 1);
    };
    check_op(op);
  }
}

TEST_CASE("batch_norm: running statistics, and evaluation by them") {
  Tensor x = Tensor::empty({6, 2});
  assign(x, std::vector<float>{1, -4, 2, 0, 3, 4, 4, -2, 5, 2, 9, 6});
  Runtime runtime(1, 1);
  const BatchTypes types{{"in", x.type()}};
  Program program(build("input in\ny batch_norm in {momentum: 0.25}\noutput y y\n"), types, runtime);
  assign(parameter(program, "y.weight").value, std::vector<float>{2, -1});
  assign(parameter(program, "y.bias").value, std::vector<float>{0.5f, 3});
  // No loss: the training phase has a forward pass only, which is all that moves the statistics.
  program.forward(program.plan(types, Phase::train), {{"in", x.data()}});
  const double mean[] = {4, 1}, unbiased[] = {8, 14};  // sums of squares 40 and 70 over 5
  for (std::size_t c = 0; c < 2; ++c) {
    CHECK(program.states[0].value.as<float>()[c] == Approx(0.25 * mean[c]));
    CHECK(program.states[1].value.as<float>()[c] == Approx(0.75 + 0.25 * unbiased[c]));
  }
  Plan& plan = program.plan(types, Phase::eval);
  program.forward(plan, {{"in", x.data()}});
  const Tensor y = program.output(plan, "y");
  for (std::size_t i = 0; i < 12; ++i) {
    const double m = program.states[0].value.as<float>()[i % 2],
                 v = program.states[1].value.as<float>()[i % 2];
    const double normal = (x.as<float>()[i] - m) / std::sqrt(v + 1e-5);
    CHECK(y.as<float>()[i] == Approx(i % 2 == 0 ? 2 * normal + 0.5 : 3 - normal).epsilon(1e-5));
  }
}

TEST_CASE("range_batch_norm in training") {
  for (const auto& [shape, chunks] : {std::pair(std::vector<std::int64_t>{3, 2, 4, 5}, 16),
                                      {{9, 3}, 16},
                                      {{2, 5, 17}, 3},
                                      {{40, 2, 7}, 1}}) {
    OpCase op;
    op.node = "range_batch_norm {chunks: " + std::to_string(chunks) + "}";
    op.shapes = {shape};
    op.terms = 80;
    op.linear = false;
    op.reference = [count = static_cast<std::size_t>(chunks)](const std::vector<Array>& operands) {
      return range_normalize(operands, count);
    };
    op.value = [](int number, std::int64_t i) {
      return number == 0
                 ? distinct(0, i) / 20
                 : golden::formula(static_cast<std::uint64_t>(number), static_cast<std::uint64_t>(i), 1, 1);
    };
    check_op(op);
  }
}

TEST_CASE("range_batch_norm: running statistics, evaluation by them, equal values, a single row") {
  Tensor x = Tensor::empty({6, 2});
  assign(x, std::vector<float>{1, -4, 2, 0, 3, 4, 4, -2, 5, 2, 9, 6});
  Runtime runtime(1, 1);
  const BatchTypes types{{"in", x.type()}};
  Program program(build("input in\ny range_batch_norm in {momentum: 0.25, chunks: 2}\noutput y y\n"), types,
                  runtime);
  assign(parameter(program, "y.weight").value, std::vector<float>{2, -1});
  assign(parameter(program, "y.bias").value, std::vector<float>{0.5f, 3});
  program.forward(program.plan(types, Phase::train), {{"in", x.data()}});
  // Ranges of the halves: 2 and 5, 8 and 8.
  const double factor = 0.175 * (1 + std::sqrt(3.141592653589793 * std::log(4))) / std::sqrt(2 * std::log(3));
  const double mean[] = {4, 1}, deviation[] = {3.5 * factor, 8 * factor};
  for (std::size_t c = 0; c < 2; ++c) {
    CHECK(program.states[0].value.as<float>()[c] == Approx(0.25 * mean[c]));
    CHECK(program.states[1].value.as<float>()[c] == Approx(0.75 + 0.25 * deviation[c]));
  }
  Plan& plan = program.plan(types, Phase::eval);
  program.forward(plan, {{"in", x.data()}});
  const Tensor y = program.output(plan, "y");
  for (std::size_t i = 0; i < 12; ++i) {
    const double normal = (x.as<float>()[i] - 0.25 * mean[i % 2]) / (0.75 + 0.25 * deviation[i % 2] + 1e-5);
    CHECK(y.as<float>()[i] == Approx(i % 2 == 0 ? 2 * normal + 0.5 : 3 - normal).epsilon(1e-5));
  }
  for (std::int64_t rows : {1, 5}) {
    Tensor equal = Tensor::empty({rows, 2});
    std::fill_n(equal.as<float>().data(), 2 * rows, 7.0f);
    const BatchTypes few{{"in", equal.type()}};
    Plan& train = program.plan(few, Phase::train);
    program.forward(train, {{"in", equal.data()}});
    const Tensor out = program.output(train, "y");
    for (std::int64_t i = 0; i < 2 * rows; ++i)
      CHECK(out.as<float>()[static_cast<std::size_t>(i)] == (i % 2 == 0 ? 0.5f : 3.0f));
  }
}

TEST_CASE("softmax_cross_entropy with and without label smoothing") {
  for (double smoothing : {0.0, 0.1}) {
    OpCase op;
    op.node = "softmax_cross_entropy {label_smoothing: " + std::to_string(smoothing) + "}";
    op.shapes = {{4, 6}};
    op.labels = {5, 0, 3, 3};
    op.terms = 6;
    op.linear = false;
    op.value = [](int, std::int64_t i) { return golden::formula(3, static_cast<std::uint64_t>(i), 8); };
    op.reference = [&](const std::vector<Array>& operands) {
      return cross_entropy(operands[0], op.labels, smoothing);
    };
    check_op(op);
  }
}
