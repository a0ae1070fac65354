// Clip search on histograms: distances against the values themselves, the clip against a scan of all clips,
// and the learning-rate factor that follows from what is left.
#include <algorithm>
#include <random>

#include "precision/histogram.h"
#include "support/catch.h"
#include "support/precision.h"

using namespace octavo;
using namespace octavo::test;

namespace {

struct Sample {
  const char* name;
  std::vector<float> values;
  double maximum() const {
    float largest = 0;
    for (float v : values) largest = std::max(largest, std::fabs(v));
    return largest;
  }
};

template <class Draw>
Sample draw(const char* name, const Draw& one) {
  std::mt19937 engine(5);
  Sample sample{name, {}};
  for (int i = 0; i < 50000; ++i) sample.values.push_back(static_cast<float>(one(engine)));
  return sample;
}

double uniform(std::mt19937& engine) { return (engine() + 0.5) / 4294967296.0; }
double gaussian(std::mt19937& engine) {
  const double radius = std::sqrt(-2 * std::log(uniform(engine)));
  return radius * std::cos(6.283185307179586 * uniform(engine));
}
double laplace(std::mt19937& engine) {
  const double u = uniform(engine);
  return u < 0.5 ? std::log(2 * u) : -std::log(2 * (1 - u));
}

std::vector<Sample> samples() {
  std::vector<Sample> all = {
      draw("Gaussian", [](auto& e) { return 1e-4 * gaussian(e); }),
      draw("Laplace", [](auto& e) { return 3 * laplace(e); }),
      draw("heavy tails", [](auto& e) { return gaussian(e) / std::sqrt(-std::log(uniform(e))); }),
      draw("mostly zeros", [](auto& e) { return uniform(e) < 0.9 ? 0.0 : laplace(e); }),
      draw("one outlier", [](auto& e) { return gaussian(e); }),
      {"all equal", std::vector<float>(1000, 0.3f)},
  };
  all[4].values[77] = 300;
  return all;
}

double direct_distance(const Sample& sample, double clip, int bits) {
  const double qmax = (1 << (bits - 1)) - 1, step = clip / qmax;
  double xx = 0, xq = 0, qq = 0;
  for (double x : sample.values) {
    const double q = step * std::clamp(std::nearbyint(x / step), -qmax, qmax);
    xx += x * x;
    xq += x * q;
    qq += q * q;
  }
  return qq > 0 ? 1 - xq / std::sqrt(xx * qq) : 1;
}

// Bins are up to 6% wide: where only a handful of values is clipped, their places in the bins do not average
// out.
double tolerance(const Sample& sample, double clip) {
  const auto clipped =
      std::count_if(sample.values.begin(), sample.values.end(), [&](float v) { return std::fabs(v) > clip; });
  return clipped > 0 && clipped < 100 ? 0.05 : 0.02;
}

SlotDecision decide(const Policy& policy, const Sample& sample, std::vector<double>& memory,
                    const MagnitudeHistogram* histogram) {
  const std::string layer = "a";
  const auto maximum = static_cast<float>(sample.maximum());
  return policy.decide({layer,
                        Operand::gradient,
                        {8, ScaleGranularity::tensor, RoundingMode::stochastic},
                        0,
                        static_cast<std::int64_t>(sample.values.size()),
                        maximum,
                        maximum,
                        0,
                        0,
                        histogram,
                        memory});
}

}  // namespace

TEST_CASE("cosine distances from histograms equal those of the values") {
  for (const Sample& sample : samples()) {
    const MagnitudeHistogram histogram = histogram_of(sample.values);
    for (int bits : {4, 8})
      for (double ratio : {1.0, 0.7, 0.4, 0.2, 0.1, 0.03}) {
        const double clip = ratio * sample.maximum(), expected = direct_distance(sample, clip, bits);
        CAPTURE(sample.name, bits, ratio, expected);
        const double error =
            std::fabs(cosine_distance(histogram, clip, quantized_max(bits), sample.maximum()) - expected);
        CHECK(error <= std::max(tolerance(sample, clip) * expected, 1e-5));
      }
  }
}

TEST_CASE("an empty histogram and one of zeros have distance 0") {
  const std::vector<float> zeros(100, 0.0f);
  CHECK(cosine_distance(histogram_of({}), 1, 127) == 0);
  CHECK(cosine_distance(histogram_of(zeros), 1, 127) == 0);
  CHECK(cosine_distance(histogram_of(zeros), 0, 127) == 0);
}

TEST_CASE("unified_int8 finds a clip as good as the best of 2000") {
  const auto policy = make_policy(precision_settings("unified_int8"));
  for (const Sample& sample : samples()) {
    CAPTURE(sample.name);
    const MagnitudeHistogram histogram = histogram_of(sample.values);
    std::vector<double> memory;
    const SlotDecision found = decide(*policy, sample, memory, &histogram);
    double best = 1;
    for (int i = 0; i < 2000; ++i)
      best = std::min(best, cosine_distance(histogram, sample.maximum() * std::exp2(-6.0 * i / 1999), 127,
                                            sample.maximum()));
    CHECK(found.mode == ScaleMode::held);
    CHECK(found.clip <= 1.0001 * sample.maximum());
    CHECK(found.deviation <= 1.01 * best + 1e-7);
    CHECK(direct_distance(sample, found.clip, 8) <= 1.02 * found.deviation + 1e-5);
    CHECK(found.learning_rate_factor == Approx(std::max(std::exp(-20 * found.deviation), 0.1)));
  }
}

TEST_CASE("the learning-rate factor is max(exp(-20 d), 0.1)") {
  const auto policy = make_policy(precision_settings("unified_int8"));
  const std::pair<double, double> table[] = {{0.005, 0.9048}, {0.01, 0.8187}, {0.02, 0.6703}, {0.05, 0.3679},
                                             {0.1, 0.1353},   {0.2, 0.1},     {0, 1}};
  const Sample sample{"", {1.0f}};
  for (const auto& [distance, phi] : table) {
    std::vector<double> memory{0.5, distance};  // as left by an earlier search
    CHECK(decide(*policy, sample, memory, nullptr).learning_rate_factor == Approx(phi).margin(5e-5));
  }
  const auto fixed = make_policy(precision_settings("unified_int8", {{"scale_rate", "false"}}));
  std::vector<double> memory{0.5, 0.1};
  CHECK(decide(*fixed, sample, memory, nullptr).learning_rate_factor == 1);
}

TEST_CASE("gradients of zeros are not clipped to nothing") {
  const auto policy = make_policy(precision_settings("unified_int8"));
  const Sample zeros{"zeros", std::vector<float>(64, 0.0f)};
  const MagnitudeHistogram histogram = histogram_of(zeros.values);
  std::vector<double> memory;
  const SlotDecision decision = decide(*policy, zeros, memory, &histogram);
  CHECK(decision.mode == ScaleMode::current_max);
  CHECK(decision.learning_rate_factor == 1);
}
