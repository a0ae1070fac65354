// Optimizers, gradient norm and schedules against references in double, hand-made tables and formulas.
#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>
#include <random>

#include "core/thread_pool.h"
#include "octavo/error.h"
#include "optim/gradient_norm.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"
#include "optim/segment_update.h"
#include "support/catch.h"

using namespace octavo;

namespace {

kernels::Parallel serial() {
  return [](std::int64_t chunks, const std::function<void(std::int64_t)>& body) {
    for (std::int64_t i = 0; i < chunks; ++i) body(i);
  };
}

std::vector<float> random_values(std::size_t size, unsigned seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(size);
  for (float& value : values) value = normal(random);
  return values;
}

template <class Call>
std::string failure(Errc code, Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  FAIL("no error");
  return {};
}

/// torch.optim.SGD as its documentation states it, in double.
struct ReferenceSgd {
  double momentum, decay;
  bool nesterov;
  std::vector<double> velocity;

  void step(std::vector<double>& value, const std::vector<float>& gradient, double rate, double scale) {
    const bool first = velocity.empty();
    velocity.resize(value.size());
    for (std::size_t i = 0; i < value.size(); ++i) {
      double g = gradient[i] * scale + decay * value[i];
      if (momentum != 0) {
        velocity[i] = first ? g : momentum * velocity[i] + g;
        g = nesterov ? g + momentum * velocity[i] : velocity[i];
      }
      value[i] -= rate * g;
    }
  }
};

}  // namespace

TEST_CASE("SGD follows a double reference") {
  struct Case {
    double momentum, decay;
    bool nesterov;
  };
  const auto [momentum, decay, nesterov] =
      GENERATE(Case{0, 0, false}, Case{0, 1e-2, false}, Case{0.9, 0, false}, Case{0.9, 5e-4, false},
               Case{0.9, 1e-2, true}, Case{1, 1e-3, true});
  const std::size_t size = 40000;  // more than two chunks
  auto optimizer =
      make_optimizer("sgd", {{"momentum", momentum}, {"weight_decay", decay}, {"nesterov", nesterov}},
                     {{"w", {4, 10000}, true}, {"bias", {3}, false}});
  std::vector<float> w = random_values(size, 1), bias = random_values(3, 2);
  std::vector<double> w_reference(w.begin(), w.end()), bias_reference(bias.begin(), bias.end());
  ReferenceSgd reference{momentum, decay, nesterov, {}}, bias_sgd{momentum, 0, nesterov, {}};
  for (int step = 0; step < 50; ++step) {
    const auto g = random_values(size, 100 + step), bias_g = random_values(3, 200 + step);
    const double rate = 0.1 / (1 + step), scale = step % 2 ? 0.5 : 1;
    const ParameterUpdate updates[] = {{w.data(), g.data(), 0.5}, {bias.data(), bias_g.data(), 1}};
    optimizer->step(updates, {rate, scale}, serial());
    reference.step(w_reference, g, rate * 0.5, scale);
    bias_sgd.step(bias_reference, bias_g, rate, scale);
  }
  double worst = 0;
  for (std::size_t i = 0; i < size; ++i) worst = std::max(worst, std::abs(w[i] - w_reference[i]));
  for (std::size_t i = 0; i < 3; ++i) worst = std::max(worst, std::abs(bias[i] - bias_reference[i]));
  // 50 steps, values up to about 10: a few float roundings each.
  CHECK(worst < 2e-5);
}

TEST_CASE(
    "an update tells the largest magnitudes of rows and of columns times factors, whatever the threads") {
  // Rows longer than a chunk, many in one, channels behind taps, fewer rows than chunks; a vector is one row.
  for (const Shape& shape : {Shape{3, 20011}, Shape{2500, 3, 3, 3}, Shape{70, 3, 3, 50}, Shape{70001}}) {
    const std::int64_t size = shape.elements(), rows = shape.rank() > 1 ? shape[0] : 1;
    const std::vector<float> start = random_values(static_cast<std::size_t>(size), 5),
                             gradient = random_values(static_cast<std::size_t>(size), 6),
                             factor = random_values(static_cast<std::size_t>(rows), 7);
    for (const int threads : {1, 2, 3}) {
      auto optimizer = make_optimizer("sgd", {}, {{"w", shape, true}, {"still", {2}, true}});
      ThreadPool pool(threads);
      std::vector<float> w = start, still = {1, 2};
      const bool columns = threads != 2;
      ParameterMaxima found{{1, 2}, {3}}, none = found;
      const ParameterUpdate updates[] = {{.value = w.data(),
                                          .gradient = gradient.data(),
                                          .row_factor = columns ? factor.data() : nullptr,
                                          .maxima = &found},
                                         {.value = still.data(), .maxima = &none}};
      for (int step = 0; step < 2; ++step)
        optimizer->step(updates, {0.1},
                        [&](std::int64_t chunks, const auto& body) { pool.run(chunks, body); });
      ParameterMaxima expected;
      expected.rows.resize(static_cast<std::size_t>(rows));
      expected.columns.resize(static_cast<std::size_t>(columns ? shape.back() : 0));
      const auto raise = [](std::uint32_t& most, float v) {
        most = std::max(most, std::bit_cast<std::uint32_t>(std::fabs(v)));
      };
      for (std::int64_t i = 0; i < size; ++i) {
        const auto row = static_cast<std::size_t>(i / (size / rows));
        const float v = w[static_cast<std::size_t>(i)];
        raise(expected.rows[row], v);
        if (columns) raise(expected.columns[static_cast<std::size_t>(i % shape.back())], v * factor[row]);
      }
      CHECK((found.rows == expected.rows));
      CHECK((found.columns == expected.columns));
      CHECK((none.rows.empty() && none.columns.empty()));
    }
  }
}

TEST_CASE("an update tells the squares of a gradient as the norm takes them, whatever the threads") {
  // Rows of a part of a chunk, of several, of neither; one row alone; a vector.
  for (const Shape& shape : {Shape{70, 9216}, Shape{300, 3, 3, 64}, Shape{5, 16384}, Shape{7, 1001},
                             Shape{1, 50000}, Shape{70001}}) {
    INFO(shape.str());
    REQUIRE(Optimizer::tells_squares(shape));
    const auto size = static_cast<std::size_t>(shape.elements());
    const std::vector<float> gradient = random_values(size, 6), before = random_values(3, 8),
                             factor = random_values(static_cast<std::size_t>(shape[0]), 7);
    GradientNorm norm;
    norm.begin();
    norm.add(before);
    norm.add(gradient);
    const double expected = norm.known_norm(serial());
    CHECK(norm.norm() == expected);
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      auto optimizer = make_optimizer("sgd", {}, {{"w", shape, true}});
      std::vector<float> w(size);
      ParameterMaxima maxima;
      norm.begin();
      norm.add(before);
      const std::size_t first = norm.add(gradient, true);
      CHECK(norm.known_norm(serial()) == Approx(std::hypot(before[0], before[1], before[2])).epsilon(1e-6));
      const ParameterUpdate updates[] = {{.value = w.data(),
                                          .gradient = gradient.data(),
                                          .row_factor = threads == 2 ? factor.data() : nullptr,
                                          .maxima = &maxima,
                                          .squares = norm.told(first)}};
      for (int step = 0; step < 2; ++step)
        optimizer->step(updates, {0.1},
                        [&](std::int64_t chunks, const auto& body) { pool.run(chunks, body); });
      CHECK(norm.norm() == expected);
    }
  }
  CHECK_FALSE(Optimizer::tells_squares({21841, 2049}));  // one thread would have to take most of it
  CHECK_FALSE(Optimizer::tells_squares({0, 3}));
}

TEST_CASE("an update by segments in any order leaves what one in order does") {
  for (const Shape& shape : {Shape{70, 2304}, Shape{12, 3, 3, 256}, Shape{5, 16640}}) {
    const auto size = static_cast<std::size_t>(shape.elements());
    const std::int64_t row = shape.elements() / shape[0];
    const std::vector<float> gradient = random_values(size, 6), start = random_values(size, 8),
                             factor = random_values(static_cast<std::size_t>(shape[0]), 7);
    std::vector<float> w[2];
    ParameterMaxima maxima[2];
    double norms[2];
    for (const bool segments : {false, true}) {
      auto optimizer = make_optimizer("sgd", {{"weight_decay", 0.01}}, {{"w", shape, true}});
      w[segments] = start;
      GradientNorm norm;
      norm.begin();
      const std::size_t first = norm.add(gradient, true);
      norm.known_norm(serial());
      const ParameterUpdate update{.value = w[segments].data(),
                                   .gradient = gradient.data(),
                                   .row_factor = factor.data(),
                                   .maxima = &maxima[segments],
                                   .squares = norm.told(first)};
      SegmentUpdate by_segments;
      for (int step = 0; step < 2; ++step) {
        if (!segments) {
          optimizer->step({&update, 1}, {0.1}, serial());
          continue;
        }
        optimizer->begin_step({&update, 1}, {0.1}, serial());
        by_segments.begin(*optimizer, 0, update, 3);
        for (std::int64_t at = (row - 1) / 768 * 768; at >= 0; at -= 768)
          for (std::int64_t k = 0; k < shape[0]; ++k)
            by_segments.run({0.1}, k % 3, k * row + at, k * row + std::min(at + 768, row), row);
        by_segments.finish(serial());
      }
      norms[segments] = norm.norm();
    }
    CHECK((w[0] == w[1]));
    CHECK(norms[0] == norms[1]);
    CHECK(maxima[0].rows == maxima[1].rows);
    CHECK(maxima[0].columns == maxima[1].columns);
  }
}

TEST_CASE("SGD with Nesterov momentum by hand") {
  auto optimizer =
      make_optimizer("sgd", {{"momentum", 0.5}, {"weight_decay", 0.25}, {"nesterov", 1}}, {{"w", {1}, true}});
  float w = 1;
  const float g = 0.5;
  const ParameterUpdate update[] = {{&w, &g}};
  optimizer->step(update, {0.5}, serial());
  CHECK(w == 0.4375f);  // g 0.75, velocity 0.75, direction 1.125
  optimizer->step(update, {0.5}, serial());
  CHECK(w == -0.11328125f);  // g 0.609375, velocity 0.984375, direction 1.1015625
}

TEST_CASE("an update does not depend on threads or ranges, and skips parameters without gradient") {
  const std::vector<float> start = random_values(100000, 5), gradient = random_values(100000, 6);
  const auto run = [&](const kernels::Parallel& parallel) {
    auto optimizer = make_optimizer("sgd", {{"weight_decay", 1e-3}}, {{"a", {100000}}, {"frozen", {1}}});
    std::vector<float> value = start;
    float frozen = 3;
    for (int step = 0; step < 3; ++step) {
      const ParameterUpdate updates[] = {{value.data(), gradient.data()}, {&frozen, nullptr}};
      optimizer->step(updates, {0.1, 0.25}, parallel);
    }
    CHECK(frozen == 3);
    return value;
  };
  const std::vector<float> expected = run(serial());
  for (int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    CHECK(run([&](std::int64_t chunks, const auto& body) { pool.run(chunks, body); }) == expected);
  }
  auto optimizer = make_optimizer("sgd", {{"weight_decay", 1e-3}}, {{"a", {100000}}});
  std::vector<float> value = start;
  for (int step = 0; step < 3; ++step) {
    for (std::int64_t begin = 0; begin < 100000; begin += 777) {
      optimizer->update_range(0, {value.data(), gradient.data()}, {0.1, 0.25}, begin,
                              std::min<std::int64_t>(begin + 777, 100000));
    }
  }
  CHECK(value == expected);
}

TEST_CASE("optimizer state comes back and mismatches are listed") {
  const std::vector<OptimizerParameter> parameters = {{"a", {3, 2}}, {"b", {4}}};
  const auto make = [&](double momentum) {
    return make_optimizer("sgd", {{"momentum", momentum}}, parameters);
  };
  std::vector<float> a = random_values(6, 1), b = random_values(4, 2), ga = random_values(6, 3),
                     gb = random_values(4, 4);
  auto first = make(0.9), second = make(0.9);
  const auto step = [&](Optimizer& optimizer, std::vector<float> va, std::vector<float> vb) {
    const ParameterUpdate updates[] = {{va.data(), ga.data()}, {vb.data(), gb.data()}};
    optimizer.step(updates, {0.1}, serial());
    va.insert(va.end(), vb.begin(), vb.end());
    return va;
  };
  step(*first, a, b);
  NamedTensors saved;
  for (const NamedTensor& t : first->state()) saved.push_back({t.name, t.tensor.clone()});
  REQUIRE(saved.size() == 2);
  CHECK(saved[0].name == "a.momentum");
  second->load_state(saved);
  CHECK(step(*first, a, b) == step(*second, a, b));

  saved[0].name = "c.momentum";
  saved[1].tensor = Tensor::zeros({5});
  const std::string text = failure(Errc::checkpoint, [&] { second->load_state(saved); });
  CHECK_THAT(text, ContainsSubstring("missing: a.momentum"));
  CHECK_THAT(text, ContainsSubstring("surplus: c.momentum"));
  CHECK_THAT(text, ContainsSubstring("b.momentum: saved 5, needed 4"));
  CHECK(make(0)->state().empty());
}

TEST_CASE("optimizer names and settings are checked") {
  CHECK_THAT(failure(Errc::config, [] { make_optimizer("sgdd", {}, {}); }), ContainsSubstring("sgd"));
  CHECK_THAT(failure(Errc::config,
                     [] {
                       make_optimizer("sgd", {{"mom", 1}}, {});
                     }),
             ContainsSubstring("weight_decay"));
  CHECK_THAT(failure(Errc::config,
                     [] {
                       make_optimizer("sgd", {{"momentum", 1.5}}, {});
                     }),
             ContainsSubstring("1.5"));
  failure(Errc::config, [] { make_optimizer("sgd", {{"momentum", std::nan("")}}, {}); });
  failure(Errc::config, [] { make_optimizer("sgd", {{"nesterov", 0.5}}, {}); });
  failure(Errc::config, [] { make_optimizer("sgd", {{"nesterov", 1}, {"momentum", 0}}, {}); });
}

TEST_CASE("the gradient norm is accurate and does not depend on threads") {
  const std::vector<float> a = random_values(123457, 1, 1e-3f), b = random_values(5, 2, 10),
                           c = random_values(70001, 3);
  const std::span<const float> gradients[] = {a, b, {}, c};
  long double sum = 0;
  for (const auto& gradient : gradients) {
    for (const float x : gradient) sum += static_cast<long double>(x) * x;
  }
  GradientNorm whole;
  const auto norm_of = [&](std::span<const std::span<const float>> all, const kernels::Parallel& parallel) {
    whole.begin();
    for (const auto& gradient : all) whole.add(gradient);
    return whole.known_norm(parallel);
  };
  const double norm = norm_of(gradients, serial());
  CHECK(norm == Approx(std::sqrt(static_cast<double>(sum))).epsilon(1e-7));
  for (int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    CHECK(norm_of(gradients, [&](std::int64_t n, const auto& body) { pool.run(n, body); }) == norm);
  }
  std::vector<float> bad = c;
  bad[60000] = std::nanf("");
  const std::span<const float> with_nan[] = {a, bad};
  CHECK(std::isnan(norm_of(with_nan, serial())));
}

TEST_CASE("clipping scales to the maximum norm and never up") {
  CHECK(clip_factor(10, 1) == Approx(0.1).epsilon(1e-6));
  CHECK(clip_factor(0.5, 1) == 1);
  CHECK(clip_factor(0, 1) == 1);
  failure(Errc::config, [] { clip_factor(1, 0); });
  failure(Errc::numeric, [] { clip_factor(INFINITY, 1); });
  failure(Errc::numeric, [] { clip_factor(std::nan(""), 1); });
}

TEST_CASE("schedules follow tables made by hand") {
  const auto table = [](const Schedule& schedule, const std::vector<double>& rates) {
    check_schedule(schedule);
    for (std::size_t step = 0; step < rates.size(); ++step) {
      INFO(schedule_name(schedule.type) << " step " << step);
      CHECK(learning_rate(schedule, static_cast<std::int64_t>(step)) == Approx(rates[step]).margin(1e-15));
    }
  };
  table({.base = 0.4}, {0.4, 0.4, 0.4});
  table({.base = 0.4, .warmup_steps = 4}, {0.1, 0.2, 0.3, 0.4, 0.4});
  table({.type = ScheduleType::step, .base = 1, .step_size = 3, .gamma = 0.5},
        {1, 1, 1, 0.5, 0.5, 0.5, 0.25});
  // Drops are counted from the start of training, also with a warm-up.
  table({.type = ScheduleType::step, .base = 1, .warmup_steps = 2, .step_size = 3, .gamma = 0.1},
        {0.5, 1, 1, 0.1});
  table({.type = ScheduleType::multistep, .base = 0.1, .milestones = {2, 3, 5}, .gamma = 0.1},
        {0.1, 0.1, 0.01, 0.001, 0.001, 1e-4, 1e-4});
  const double r = std::sqrt(0.5);  // cos(pi / 4)
  table({.type = ScheduleType::cosine, .base = 1, .total_steps = 4},
        {1, (1 + r) / 2, 0.5, (1 - r) / 2, 0, 0, 0});
  table({.type = ScheduleType::cosine, .base = 1.1, .warmup_steps = 2, .total_steps = 6, .minimum = 0.1},
        {0.55, 1.1, 1.1, 0.1 + (1 + r) / 2, 0.6, 0.1 + (1 - r) / 2, 0.1});
}

TEST_CASE("cosine equals the chained form of PyTorch's CosineAnnealingLR") {
  const std::int64_t total = 977;
  const Schedule schedule{.type = ScheduleType::cosine, .base = 0.3, .total_steps = total, .minimum = 0.001};
  double rate = 0.3;
  for (std::int64_t t = 0; t < total; ++t) {
    REQUIRE(learning_rate(schedule, t) == Approx(rate).epsilon(1e-9));
    const double pi = std::numbers::pi, n = static_cast<double>(total), x = static_cast<double>(t);
    rate = 0.001 + (rate - 0.001) * (1 + std::cos(pi * (x + 1) / n)) / (1 + std::cos(pi * x / n));
  }
}

TEST_CASE("schedules that make no sense are refused by field") {
  const auto text = [](const Schedule& schedule) {
    return failure(Errc::config, [&] { check_schedule(schedule); });
  };
  CHECK_THAT(text({.base = -1}), ContainsSubstring("lr"));
  CHECK_THAT(text({.base = std::nan("")}), ContainsSubstring("lr"));
  CHECK_THAT(text({.warmup_steps = -1}), ContainsSubstring("warmup"));
  CHECK_THAT(text({.type = ScheduleType::step}), ContainsSubstring("every"));
  CHECK_THAT(text({.type = ScheduleType::step, .step_size = 1, .gamma = 0}), ContainsSubstring("gamma"));
  CHECK_THAT(text({.type = ScheduleType::multistep, .milestones = {3, 2}}), ContainsSubstring("schedule.at"));
  CHECK_THAT(text({.type = ScheduleType::cosine, .warmup_steps = 5, .total_steps = 5}),
             ContainsSubstring("cosine"));
  CHECK_THAT(text({.type = ScheduleType::cosine, .total_steps = 5, .minimum = 1}),
             ContainsSubstring("schedule.final"));
  CHECK_THAT(failure(Errc::config, [] { schedule_type("cosin"); }), ContainsSubstring("cosine"));
  for (const char* name : {"constant", "step", "multistep", "cosine"})
    CHECK(schedule_name(schedule_type(name)) == std::string(name));
}
