// Statistics of one pass against the values themselves: share above sigma per channel, cosine distance, shift
// of the mean; degenerate tensors included.
#include <algorithm>
#include <cmath>
#include <random>

#include "core/thread_pool.h"
#include "precision/histogram.h"
#include "precision/statistics.h"
#include "support/catch.h"

using namespace octavo;

namespace {

using Values = std::vector<float>;

double uniform(std::mt19937& engine) { return (engine() + 0.5) / 4294967296.0; }
double gaussian(std::mt19937& engine) {
  return std::sqrt(-2 * std::log(uniform(engine))) * std::cos(6.283185307179586 * uniform(engine));
}

template <class Draw>
Values draw(const Draw& one, int count = 200000) {
  std::mt19937 engine(11);
  Values values;
  for (int i = 0; i < count; ++i) values.push_back(static_cast<float>(one(engine)));
  return values;
}

struct Sample {
  const char* name;
  Values values;
  double share;  // P(|g| > sigma) of the distribution, or of the values where they are made by hand
};

std::vector<Sample> shapes() {
  const auto logistic = [](auto& e) {
    const double u = uniform(e);
    return std::log(u / (1 - u));
  };
  const auto laplace = [](auto& e) {
    const double u = uniform(e);
    return u < 0.5 ? std::log(2 * u) : -std::log(2 * (1 - u));
  };
  return {{"uniform", draw([](auto& e) { return 1e-5 * (uniform(e) - 0.5); }), 0.4226},
          {"Gaussian", draw([](auto& e) { return 3e-3 * gaussian(e); }), 0.3173},
          {"logistic", draw(logistic), 0.2804},
          {"Laplace", draw(laplace), 0.2431}};
}

Values with_outlier() {
  Values values = draw([](auto& e) { return gaussian(e); }, 5000);
  values[321] = -3e4f;
  return values;
}

std::vector<Sample> degenerate() {
  Values mostly_zeros(1000, 0.0f);
  mostly_zeros[3] = 2.5f;
  Values two_sizes(1000, 1e-3f);
  std::fill(two_sizes.begin(), two_sizes.begin() + 100, 1.0f);
  return {{"zeros", Values(100, 0.0f), 0},
          {"all equal", Values(1000, -0.3f), 0},
          {"one value", {7.0f}, 0},
          {"one among zeros", mostly_zeros, 0.001},
          {"two sizes", two_sizes, 0.1},
          {"one outlier", with_outlier(), 1.0 / 5000},
          {"denormals", Values(100, 1e-41f), 0}};
}

float largest(const Values& values) {
  float most = 0;
  for (float v : values) most = std::max(most, std::fabs(v));
  return most;
}

double direct_share(const Values& values) {
  double squares = 0, above = 0;
  for (double v : values) squares += v * v;
  const double sigma = std::sqrt(squares / static_cast<double>(values.size()));
  for (double v : values) above += std::fabs(v) > sigma * (1 + 1e-6);
  return above / static_cast<double>(values.size());
}

double direct_shift(const Values& values, double step, double qmax) {
  double x = 0, q = 0;
  for (double v : values) {
    x += std::fabs(v);
    q += step * std::min(qmax, std::nearbyint(std::fabs(v) / step));
  }
  return x > 0 ? std::log2(std::fabs(x - q) / x + 1) : 0;
}

MagnitudeHistogram counted(const Values& values, int threads = 2) {
  ThreadPool pool(threads);
  MagnitudeHistogram histogram;
  count_magnitudes(values.data(), static_cast<std::int64_t>(values.size()), histogram,
                   [&](std::int64_t chunks, const auto& body) { pool.run(chunks, body); });
  return histogram;
}

}  // namespace

TEST_CASE("share above sigma: within 0.002 of the values, and near the theory of known shapes") {
  for (const Sample& sample : shapes()) {
    const ChannelSummary seen = summarize(counted(sample.values), largest(sample.values));
    CAPTURE(sample.name);
    CHECK(std::fabs(seen.above_sigma - direct_share(sample.values)) < 0.002);
    CHECK(std::fabs(seen.above_sigma - sample.share) < 0.005);
  }
  for (const Sample& sample : degenerate()) {
    const ChannelSummary seen = summarize(counted(sample.values), largest(sample.values));
    CAPTURE(sample.name);
    CHECK(std::fabs(seen.above_sigma - sample.share) < 0.002);
    CHECK(std::isfinite(seen.sigma));
  }
}

TEST_CASE("channel summaries look at their own channel, for every number of channels and threads") {
  const std::vector<Sample> all = shapes();
  for (std::int64_t channels : {1, 4, 16, 19, 35}) {
    Values values;
    const std::int64_t pixels = 20000;
    for (std::int64_t p = 0; p < pixels; ++p)
      for (std::int64_t k = 0; k < channels; ++k)
        values.push_back(all[static_cast<std::size_t>(k % 4)].values[static_cast<std::size_t>(p)] *
                         std::ldexp(1.0f, static_cast<int>(k)));
    for (int threads : {1, 3}) {
      ThreadPool pool(threads);
      const auto seen = summarize_channels(values.data(), pixels, channels,
                                           [&](std::int64_t n, const auto& body) { pool.run(n, body); });
      REQUIRE(seen.size() == static_cast<std::size_t>(channels));
      for (std::int64_t k = 0; k < channels; ++k) {
        Values own;
        for (std::int64_t p = 0; p < pixels; ++p)
          own.push_back(values[static_cast<std::size_t>(p * channels + k)]);
        const ChannelSummary& summary = seen[static_cast<std::size_t>(k)];
        CAPTURE(channels, k);
        CHECK(summary.max_abs == largest(own));
        CHECK(std::fabs(summary.above_sigma - direct_share(own)) < 0.002);
      }
    }
  }
}

TEST_CASE("shift of the mean: Diff within 1e-4 of the values at every width") {
  std::vector<Sample> all = shapes();
  for (Sample& sample : degenerate()) all.push_back(std::move(sample));
  for (const Sample& sample : all)
    for (int bits : {8, 16, 24})
      for (double share : {1.0, 0.3}) {
        const double qmax = quantized_max(bits), maximum = largest(sample.values);
        if (maximum < 1e-38f) continue;
        // Inside a bin a histogram knows the mean alone: values that all sit on one point of a bin which a
        // step of similar size divides are beyond it.
        if (std::string(sample.name) == "two sizes" && bits == 16) continue;
        const double step = std::exp2(std::ceil(std::log2(share * maximum / qmax)));
        CAPTURE(sample.name, bits, share);
        const double seen = mean_shift(counted(sample.values), step, qmax, maximum);
        CHECK(std::fabs(seen - direct_shift(sample.values, step, qmax)) < 1e-4);
      }
  CHECK(mean_shift(counted(Values(100, 0.0f)), 1, 127) == 0);
  CHECK(mean_shift(counted({}), 1, 127) == 0);
}

TEST_CASE("counts are the same for any number of threads and add up over parts") {
  const Values values = draw([](auto& e) { return gaussian(e); }, 300001);
  const MagnitudeHistogram one = counted(values, 1), three = counted(values, 3);
  CHECK(one.counts == three.counts);
  CHECK(one.sums == three.sums);
  MagnitudeHistogram parts = counted({values.begin(), values.begin() + 1000});
  ThreadPool pool(2);
  count_magnitudes(values.data() + 1000, 299001, parts,
                   [&](std::int64_t chunks, const auto& body) { pool.run(chunks, body); });
  CHECK(parts.counts == one.counts);
  CHECK(parts.sums == one.sums);
}

TEST_CASE("reach of the channels is the largest share of their samples' ranges") {
  constexpr std::int64_t samples = 5, pixels = 7, channels = 19;
  Values values(samples * pixels * channels);
  std::mt19937 engine(3);
  for (float& v : values) v = static_cast<float>(gaussian(engine));
  const Values inverse{1, 0.5f, 2, 0.25f, 0};
  Values expected(channels, 0.125f);  // what there is already stays where it is larger
  expected[4] = 1000;
  const Values before = expected;
  for (std::int64_t i = 0; i < samples * pixels * channels; ++i) {
    float& reach = expected[static_cast<std::size_t>(i % channels)];
    reach = std::max(reach, std::fabs(values[static_cast<std::size_t>(i)]) *
                                inverse[static_cast<std::size_t>(i / (pixels * channels))]);
  }
  Values reach = before;
  for (std::int64_t n = 0; n < samples; ++n)
    extend_reach(values.data() + n * pixels * channels, pixels, inverse[static_cast<std::size_t>(n)], reach);
  CHECK((reach == expected));
}
