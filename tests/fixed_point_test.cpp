// The integer optimizer against its formulas: units, limits, fairness, floats beside it, saved state.
#include <cmath>

#include "core/thread_pool.h"
#include "octavo/error.h"
#include "optim/optimizer.h"
#include "support/catch.h"

using namespace octavo;

namespace {

constexpr float weight_unit = 8388608;

/// One parameter of its own.
struct Parameter {
  std::vector<float> value;
  std::unique_ptr<Optimizer> optimizer;
  std::int64_t step = 0;

  explicit Parameter(std::vector<float> start, double momentum = 0.25, double decay = 0,
                     OptimizerParameter facts = {})
      : value(std::move(start)) {
    facts.name = "p";
    facts.shape = Shape{std::ssize(value)};
    optimizer = make_optimizer("fixed_point", {{"momentum", momentum}, {"weight_decay", decay}}, {facts});
  }
  void update(const std::vector<float>& gradient, double rate, double scale = 1, int threads = 1) {
    ThreadPool pool(threads);
    const std::vector<ParameterUpdate> updates{{value.data(), gradient.data(), 1}};
    optimizer->step(updates, {rate, scale, 7, step++},
                    [&](std::int64_t chunks, const auto& body) { pool.run(chunks, body); });
  }
  std::int32_t accumulator(std::size_t i) const { return optimizer->state()[0].tensor.as<std::int32_t>()[i]; }
};

bool on_grid(float v) { return v * weight_unit == std::nearbyint(v * weight_unit); }

}  // namespace

TEST_CASE("fixed_point: weights, gradients, momentum and rate are integers of their units") {
  // R = 1: gradients of 1, -0.5 and 0.25 are 127 (the limit), -64 and 32 without any chance.
  Parameter p({0.5f, 0.25f, -0.125f});
  p.update({1, -0.5f, 0.25f}, 0.05);  // 0.05 is 26 / 512
  const std::int64_t sums[] = {127, -64, 32};
  const double starts[] = {0.5, 0.25, -0.125};
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(p.value[i] == starts[i] - 26 * static_cast<double>(sums[i]) / weight_unit);
    CHECK(p.accumulator(i) == std::lrint(static_cast<double>(sums[i]) / 4));
  }
  const float before = p.value[1];
  p.update({1, 0, 0.25f}, 0.05);  // S = 1 x -16: a quarter of the last sum, in 2^-14
  CHECK(p.value[1] == before + 26.0f * 16 / weight_unit);
  CHECK(p.accumulator(1) == -4);
}

TEST_CASE("fixed_point: R is the power of two nearest to the maximum, by ratio, of the scaled gradient") {
  for (const auto& [largest, range] : {std::pair{1.41f, 1.0f}, {1.42f, 2.0f}, {0.7f, 0.5f}, {3.0f, 4.0f}})
    for (double scale : {1.0, 0.25}) {
      Parameter p({0, 0}, 0);
      const float unit = range / 128 / static_cast<float>(scale);
      p.update({largest / static_cast<float>(scale), 5 * unit}, 1.0 / 512, scale);
      CHECK(p.value[1] == -5 / weight_unit);
      CHECK(p.value[0] <= -90 / weight_unit);
    }
}

TEST_CASE("fixed_point: stochastic gradients are right on average, weights stay on their grid and within 1") {
  double sum = 0;
  Parameter p({0.1f, 0.3f}, 0);
  const float start = std::nearbyint(0.1f * weight_unit) / weight_unit;
  for (int i = 0; i < 4000; ++i) {
    p.value[0] = start;
    p.update({0.3f / 128, 1}, 1.0 / 512);
    sum += (start - p.value[0]) * weight_unit;
    REQUIRE(on_grid(p.value[1]));
  }
  CHECK(sum / 4000 == Approx(0.3).margin(5 * 0.46 / std::sqrt(4000)));
  Parameter far({-0.9999f, 0.5f});
  for (int i = 0; i < 200; ++i) far.update({1, 1}, 0.05);
  CHECK(far.value[0] == -8388607 / weight_unit);
}

TEST_CASE("fixed_point: norm parameters have 15 bits of gradient and reach 2") {
  Parameter norm({1, 1.5f, 1.99999f}, 0, 0, {.is_norm_or_bias = true});
  norm.update({0.01f, 7, -7}, 1.0 / 512);
  CHECK(norm.value[0] == 1 - 164 / weight_unit);       // round(0.01 x 16,384)
  CHECK(norm.value[1] == 1.5f - 16383 / weight_unit);  // the limit of 15 bits
  CHECK(norm.value[2] == 16777215 / weight_unit);
}

TEST_CASE("fixed_point: layers in FP32 are updated in float, decay belongs to the gradient, zeros rest") {
  Parameter plain({1, 2}, 0.5, 0, {.in_float = true});
  plain.update({0.1f, 0.2f}, 0.01);
  plain.update({0.1f, 0.2f}, 0.01);
  CHECK(plain.value[0] == Approx(1 - 0.01 * 0.1 - 0.01 * 0.15));
  CHECK(plain.value[1] == Approx(2 - 0.01 * 0.2 - 0.01 * 0.3));
  Parameter decayed({0.5f, 0}, 0, 0.5);
  decayed.update({0, 0}, 1.0 / 512);
  CHECK(decayed.value[0] == 0.5f - 127 / weight_unit);
  CHECK(decayed.value[1] == 0);
  Parameter bias({0.5f, 0}, 0, 0.5, {.decay = false});
  bias.update({0, 0}, 1.0 / 512);
  CHECK(bias.value[0] == 0.5f);
}

TEST_CASE("fixed_point: the same for every number of threads, and after its state is taken up") {
  std::vector<float> start(40000), gradient(40000);
  for (std::size_t i = 0; i < start.size(); ++i) {
    start[i] = std::sin(static_cast<float>(i));
    gradient[i] = std::cos(static_cast<float>(i) * 1.7f) * 1e-3f;
  }
  const auto run = [&](int threads) {
    Parameter p(start);
    for (int i = 0; i < 4; ++i) p.update(gradient, 0.1, 1, threads);
    return p.value;
  };
  const std::vector<float> expected = run(1);
  CHECK((run(3) == expected));
  Parameter first(start), second(start);
  for (int i = 0; i < 2; ++i) first.update(gradient, 0.1);
  CHECK(first.optimizer->state()[0].name == "p.accumulator");
  second.optimizer->load_state(first.optimizer->state());
  second.value = first.value;
  second.step = first.step;
  for (int i = 0; i < 2; ++i) second.update(gradient, 0.1, 1, 2);
  CHECK((second.value == expected));
}

TEST_CASE("fixed_point: a momentum that 3 bits cannot hold is refused") {
  CHECK_THROWS_WITH(Parameter({0}, 0.9),
                    ContainsSubstring("optimizer.momentum: 0.9 has no place in the 3 bits"));
  CHECK_THROWS_WITH(Parameter({0}, 1), ContainsSubstring("optimizer.momentum: 1 has no place"));
}
