// The rules of distribution_adaptive, adaptive_precision and auto: statistics in, decisions out, against the
// formulas of the papers.
#include <cmath>

#include "support/catch.h"
#include "support/precision.h"

using namespace octavo;
using namespace octavo::test;

namespace {

const std::string layer = "a";

/// A gradient slot after a step; `more` fills in what the case is about.
struct Seen {
  SlotFormat format{8, ScaleGranularity::channel, RoundingMode::stochastic};
  std::int64_t step = 0, elements = 40000;
  float max_abs = 1, clip = 1;
  double saturated = 0, mean_square = 100;
  std::vector<float> channel_max, channel_clip, sample_max;
  std::vector<ChannelSummary> channels;
  Operand operand = Operand::gradient;

  SlotDecision decide(const Policy& policy, std::vector<double>& memory,
                      const MagnitudeHistogram* histogram = nullptr) const {
    return policy.decide({layer, operand, format, step, elements, max_abs, clip, saturated, mean_square,
                          histogram, memory, channel_max, channel_clip, channels, sample_max});
  }
};

std::unique_ptr<Policy> policy(const std::string& name,
                               const std::map<std::string, std::string>& changes = {},
                               std::int64_t steps_per_epoch = 1000) {
  const PrecisionSettings settings = precision_settings(name, changes);
  return find_policy(name).make({settings.options, settings.bits, steps_per_epoch});
}

/// `count` values of one size.
void add(MagnitudeHistogram& histogram, float value, std::uint64_t count) {
  histogram.counts.resize(MagnitudeHistogram::bins);
  histogram.sums.resize(MagnitudeHistogram::bins);
  const auto bits = std::bit_cast<std::uint32_t>(value);
  histogram.counts[bits >> 19] += count;
  histogram.sums[bits >> 19] += count * (bits & 0x7FFFF);
}

}  // namespace

TEST_CASE("distribution_adaptive: each channel by its class") {
  const auto dai8 = policy("distribution_adaptive", {{"hysteresis", "0"}});
  std::vector<double> memory;
  Seen seen;
  seen.channel_max = {1, 1, 1, 1, 1};
  // uniform, Gaussian, logistic, Laplace, Student t with 3 degrees of freedom: the table of the notes
  seen.channels = {{1, 0.5, 0.4226}, {1, 0.3, 0.3173}, {1, 0.2, 0.2804}, {1, 0.1, 0.2431}, {1, 0.1, 0.1817}};
  CHECK(seen.decide(*dai8, memory).channel_clip == std::vector<float>{1, 1, 1, 1, 1});
  seen.channels.clear();
  seen.channel_max = {0.5f, 0.5f, 0.5f, 0.5f, 0.5f};
  const std::vector<float> clips = seen.decide(*dai8, memory).channel_clip;
  for (std::size_t i : {0u, 1u}) CHECK(clips[i] == Approx(0.9 * 1 + 0.1 * 0.5));      // Gaussian: the maximum
  for (std::size_t i : {2u, 3u, 4u}) CHECK(clips[i] == Approx(0.2 * 1 + 0.8 * 0.5));  // inverted-T: s_t
  seen.channel_max = {2, 2, 2, 2, 2};
  const std::vector<float> rising = seen.decide(*dai8, memory).channel_clip;
  CHECK(rising[0] == 2);
  CHECK(rising[4] == Approx(0.2 * 0.6 + 0.8 * 2));
}

TEST_CASE("distribution_adaptive: k and A as given") {
  const auto dai8 = policy("distribution_adaptive", {{"gain", "0.5"}, {"k", "0.6"}});
  std::vector<double> memory;
  Seen seen;
  seen.channel_max = {1};
  seen.channels = {{1, 0.1, 0.1}};
  seen.decide(*dai8, memory);
  seen.channels.clear();
  seen.channel_max = {4};
  CHECK(seen.decide(*dai8, memory).channel_clip[0] == Approx((1 - 0.6 * 0.5) * 1 + 0.5 * 4));
}

TEST_CASE("distribution_adaptive: a share inside the sampling error of lambda changes no class") {
  const auto dai8 = policy("distribution_adaptive");
  std::vector<double> memory;
  Seen seen;
  seen.elements = 1000;  // standard error 0.0145, band 0.029
  seen.channel_max = {1};
  const auto is_gaussian = [&](double share) {
    seen.channels = {{1, 0.3, share}};
    seen.decide(*dai8, memory);
    return memory[0] == 1;
  };
  CHECK(is_gaussian(0.317));
  CHECK(is_gaussian(0.28));
  CHECK_FALSE(is_gaussian(0.26));
  CHECK_FALSE(is_gaussian(0.32));
  CHECK(is_gaussian(0.34));
  seen.elements = 10'000'000;
  CHECK_FALSE(is_gaussian(0.295));
}

TEST_CASE("distribution_adaptive: zeros, one scale per tensor, no clipping, activations") {
  const auto dai8 = policy("distribution_adaptive");
  std::vector<double> memory;
  Seen seen;
  seen.channel_max = {0, 0.25f};
  seen.max_abs = 0.25f;
  CHECK(seen.decide(*dai8, memory).channel_clip == std::vector<float>{0.25f, 0.25f});
  seen.max_abs = 0;
  seen.channel_max = {0, 0};
  CHECK(seen.decide(*dai8, memory).mode == ScaleMode::current_max);

  Seen tensor;
  std::vector<double> other;
  tensor.format.granularity = ScaleGranularity::tensor;
  tensor.channels = {{1, 0.1, 0.1}};
  CHECK(tensor.decide(*dai8, other).clip == 1);
  tensor.channels.clear();
  tensor.max_abs = 3;
  CHECK(tensor.decide(*dai8, other).clip == Approx(0.2 * 1 + 0.8 * 3));
  CHECK(tensor.decide(*dai8, other).channel_clip.empty());

  const std::string name = "a";
  const auto wants = [&](const Policy& from, std::int64_t step) {
    return from.wants({name, Operand::gradient, {}, step, memory}).channels;
  };
  CHECK(wants(*dai8, 0));
  CHECK_FALSE(wants(*dai8, 99));
  CHECK(wants(*dai8, 100));
  CHECK_FALSE(wants(*policy("distribution_adaptive", {{"clip", "false"}}), 0));
  CHECK(dai8->formats({}).grad_weight.other.granularity == ScaleGranularity::channel);
  CHECK(dai8->formats({}).grad_input.data.granularity == ScaleGranularity::tensor);
  CHECK(
      policy("distribution_adaptive", {{"vectorize", "false"}})->formats({}).grad_weight.other.granularity ==
      ScaleGranularity::tensor);
}

namespace {

// 127 sets the scale 1 at 8 bits; values of 0.25 round to 0 and shift the mean by 2^Diff - 1.
MagnitudeHistogram with_difference(double difference) {
  const double shift = std::exp2(difference) - 1;
  MagnitudeHistogram histogram;
  add(histogram, 127, 10'000'000);
  if (difference > 0)
    add(histogram, 0.25f, static_cast<std::uint64_t>(std::llround(1e7 * 127 * shift / (0.25 * (1 - shift)))));
  return histogram;
}

struct AptStep {
  std::vector<double> memory;
  SlotDecision decision;
  double interval;
};

AptStep apt_step(double difference, std::vector<double> memory, std::int64_t step = 5000,
                 const std::map<std::string, std::string>& changes = {{"max_bits", "8"}}, int bits = 8) {
  const auto apt = policy("adaptive_precision", changes, 100000);
  Seen seen;
  seen.format = {.bits = bits, .power_of_two = true};
  seen.step = step;
  seen.max_abs = 127;
  const MagnitudeHistogram histogram = with_difference(difference);
  AptStep result;
  result.decision = seen.decide(*apt, memory, &histogram);
  result.interval = memory[1] - static_cast<double>(step);
  result.memory = std::move(memory);
  return result;
}

}  // namespace

TEST_CASE("adaptive_precision: the interval follows Diff while the exponent is still") {
  const std::pair<double, double> table[] = {{0.001, 998}, {0.003, 109}, {0.005, 38},
                                             {0.01, 8},    {0.02, 1},    {0.2, 1}};
  for (const auto& [difference, interval] : table) {
    const AptStep result = apt_step(difference, {0, 0, 0});
    CAPTURE(difference);
    CHECK(result.decision.mean_shift == Approx(difference).epsilon(1e-3));
    CHECK(result.interval == interval);
  }
  CHECK(apt_step(0, {0, 0, 0}).interval == 100000);
}

TEST_CASE("adaptive_precision: the interval follows the moving exponent where Diff is nothing") {
  const std::pair<double, double> table[] = {{1, 1}, {0.5, 3}, {0.1, 23}, {0.01, 248}};
  for (const auto& [away, interval] : table) {
    const AptStep result = apt_step(0, {-away, 0, 0});
    CAPTURE(away);
    CHECK(result.interval == interval);
    CHECK(result.memory[0] == Approx(-away + 0.04 * away));
  }
}

TEST_CASE("adaptive_precision: every step at first, once per epoch after the first") {
  CHECK(apt_step(0, {0, 0, 0}, 999).interval == 1);
  CHECK(apt_step(0.003, {0, 0, 0}, 1000).interval == 109);
  CHECK(apt_step(0.2, {0, 0, 0}, 100000).interval == 100000);
}

TEST_CASE("adaptive_precision: the width grows by 8 while Diff is above the threshold, and m with it") {
  const AptStep grown = apt_step(0.05, {0.5, 0, 0}, 5000, {});
  CHECK(grown.decision.bits == 16);
  CHECK(grown.memory[0] == Approx(0.04 * -8 + 0.96 * (0.5 - 8)));
  CHECK(grown.memory[2] == -8);
  CHECK(grown.decision.clip == Approx(std::exp2(-8) * 32639));
  CHECK(apt_step(0.02, {0, 0, 0}, 5000, {}).decision.bits == 8);
  // Mode 2 never falls, mode 1 does.
  CHECK(apt_step(0.001, {-8, 0, -8}, 5000, {}, 16).decision.bits == 16);
  CHECK(apt_step(0.001, {-8, 0, -8}, 5000, {{"mode", "1"}}, 16).decision.bits == 8);
  CHECK(apt_step(0.05, {0, 0, 0}, 5000, {{"threshold", "0.06"}}).decision.bits == 8);
}

TEST_CASE("adaptive_precision: scales are powers of two, held between updates, zeros take the maximum") {
  const auto apt = policy("adaptive_precision");
  std::vector<double> memory{0, 100, 0};
  Seen seen;
  seen.format = {.power_of_two = true};
  seen.step = 50;
  seen.max_abs = 1000;  // exponent 3 by now
  const SlotDecision held = seen.decide(*apt, memory);
  CHECK(held.clip == 127);
  CHECK(memory[0] == Approx(0.04 * 3));
  CHECK(memory[1] == 100);
  seen.max_abs = 0;
  CHECK(seen.decide(*apt, memory).mode == ScaleMode::current_max);
  CHECK_FALSE(apt->wants({layer, Operand::weight, seen.format, 99, memory}).histogram);
  CHECK(apt->wants({layer, Operand::weight, seen.format, 100, memory}).histogram);
  for (const SlotFormat& format : {apt->formats({}).forward.data, apt->formats({}).grad_weight.other}) {
    CHECK(format.power_of_two);
    CHECK(format.rounding == RoundingMode::nearest_even);
  }
}

TEST_CASE("auto: width from the energy that rounding adds") {
  const auto own = policy("auto", {{"error_limit", "0.02"}, {"patience", "3"}});
  std::vector<double> memory;
  Seen seen;
  seen.format.granularity = ScaleGranularity::sample_class;
  seen.mean_square = 1 / (12 * 0.03);
  CHECK(seen.decide(*own, memory).deviation == Approx(0.03));
  CHECK(seen.decide(*own, memory).bits == 0);
  CHECK(seen.decide(*own, memory).bits == 16);
  seen.format.bits = 16;
  seen.mean_square = 257.0 * 257 / (12 * 0.015);
  for (int i = 0; i < 5; ++i) CHECK(seen.decide(*own, memory).bits == 0);
  seen.mean_square = 257.0 * 257 / (12 * 0.009);
  CHECK(seen.decide(*own, memory).bits == 0);
  CHECK(seen.decide(*own, memory).bits == 0);
  CHECK(seen.decide(*own, memory).bits == 8);
  seen.mean_square = 0;  // every integer was lost
  CHECK(seen.decide(*own, memory).deviation == 1);
}

TEST_CASE("auto: a width above 8 bits that was asked for stays, and clipped samples are looked at") {
  const auto own = policy("auto", {{"patience", "1"}, {"saturation_limit", "0.02"}});
  std::vector<double> memory;
  Seen seen;
  seen.format = {16, ScaleGranularity::sample_class, RoundingMode::stochastic};
  seen.mean_square = 1e8;
  for (int i = 0; i < 5; ++i) CHECK(seen.decide(*own, memory).bits == 0);
  CHECK(seen.decide(*own, memory).saturation_limit == 0.02);
}

TEST_CASE("auto: the narrowest width that meets the limit, below 8 bits where that is allowed") {
  const auto own = policy("auto", {{"error_limit", "0.02"}, {"patience", "1"}, {"min_bits", "2"}});
  const auto next = [&](int bits, double error) {
    std::vector<double> memory;
    Seen seen;
    seen.format = {bits, ScaleGranularity::sample_class, RoundingMode::stochastic};
    seen.mean_square = 1 / (12 * error);
    return seen.decide(*own, memory).bits;
  };
  CHECK(next(8, 0.0001) == 5);   // (127 / 15)^2 = 72 times: 0.0072; at 4 bits 0.033
  CHECK(next(8, 0.0006) == 7);   // (127 / 31)^2 = 16.8 times is 0.0101, above half of the limit
  CHECK(next(8, 0.00059) == 6);  // 0.0099
  CHECK(next(4, 0.03) == 5);     // (7 / 15)^2 of it: 0.0065
  CHECK(next(4, 0.2) == 6);      // 0.044 at 5 bits, 0.010 at 6
  CHECK(next(8, 0.9) == 16);
  CHECK(next(16, 1e-9) == 0);  // asked for above 8 bits
}

TEST_CASE("auto: factors that balance the channels, looked at ever more rarely") {
  const auto own = policy("auto", {{"look_interval", "10"}});
  SlotFormat format{.granularity = ScaleGranularity::sample_class, .channel_factors = true};
  std::vector<double> memory;
  std::vector<float> factors(3, 1.0f);
  // What reaches r times as far as the furthest gets the factor r at once, the root of it later.
  const float reaches[][3] = {{1, 0.25f, 0}, {0.5f, 1, 0}, {1, 1, 1}};
  const float least = 0x1p-4f;
  const float expected[][3] = {
      {1, 0.25f, least}, {1, 0.25f * std::sqrt(2.0f), least}, {1, 0.25f * std::sqrt(2.0f), least}};
  std::vector<std::int64_t> looked;
  for (std::int64_t step = 0; step < 60; ++step) {
    const bool wanted = own->wants({"l", Operand::gradient, format, step, memory}).reach;
    SlotObservation seen{.layer = "l",
                         .operand = Operand::gradient,
                         .format = format,
                         .step = step,
                         .elements = 1000,
                         .max_abs = 1,
                         .clip = 1,
                         .saturated_share = 0,
                         .mean_square = 1000,
                         .histogram = nullptr,
                         .memory = memory};
    const std::size_t look = std::min<std::size_t>(looked.size(), 2);
    seen.channel_factor = factors;
    if (wanted) seen.channel_reach = reaches[look];
    const SlotDecision decision = own->decide(seen);
    CHECK(decision.channel_factor.empty() == !wanted);
    if (!wanted) continue;
    looked.push_back(step);
    factors = decision.channel_factor;
    for (std::size_t k = 0; k < 3; ++k) CHECK(factors[k] == Approx(expected[look][k]));
  }
  CHECK((looked == std::vector<std::int64_t>{0, 1, 2, 3, 5, 9, 17, 27, 37, 47, 57}));
  format.channel_factors = false;
  CHECK_FALSE(own->wants({"l", Operand::gradient, format, 0, {}}).reach);
}

TEST_CASE("auto: where no width is left, samples are capped at the least cosine distance") {
  const auto own = policy("auto", {{"error_limit", "0.02"},
                                   {"max_bits", "8"},
                                   {"search_interval", "4"},
                                   {"longest_interval", "10"},
                                   {"alpha", "5"}});
  MagnitudeHistogram histogram;
  add(histogram, 1.0f, 1);
  add(histogram, 0.05f, 20000);
  Seen seen;
  seen.format.granularity = ScaleGranularity::sample_class;
  seen.max_abs = seen.clip = 1;
  seen.sample_max = {1.0f, 0.05f, 0.05f, 0.05f};
  seen.mean_square = 1 / (12 * 0.03);
  seen.step = 7;
  std::vector<double> memory;
  SlotDecision decision = seen.decide(*own, memory);
  CHECK((decision.bits == 0 && decision.mode == ScaleMode::current_max));
  CHECK(decision.learning_rate_factor == Approx(std::exp(-5 * 0.03)));
  CHECK(own->wants({layer, Operand::gradient, seen.format, 8, memory}).histogram);
  seen.step = 8;
  decision = seen.decide(*own, memory, &histogram);

  // The same distance from the values themselves, over a fine grid of caps.
  double least = 1, best = 0;
  for (int i = 0; i < 2082; ++i) {
    const double cap = std::exp2(-6.0 * i / 2081);
    const double small = std::min(0.05, cap), large = std::min(1.0, cap);
    const double energy = 1 + 20000 * 0.05 * 0.05, product = large + 20000 * 0.05 * small;
    const double ranges = (large * large + 3 * small * small) / (1 + 3 * 0.05 * 0.05);
    const double clipped = large * large + 20000 * small * small + 2 * 0.03 * energy * ranges;
    const double distance = 1 - product / std::sqrt(energy * clipped);
    if (distance < least) least = distance, best = cap;
  }
  CHECK(decision.mode == ScaleMode::held);
  CHECK(decision.clip == Approx(best).epsilon(0.1));
  CHECK(decision.deviation == Approx(least).epsilon(0.02));
  CHECK(decision.deviation < 0.02);
  CHECK(decision.learning_rate_factor == 1);

  // The interval doubles while the cap stays, up to the longest.
  std::vector<std::int64_t> searches;
  seen.clip = decision.clip;
  seen.mean_square = 1 / (12 * 0.012);  // above half of the limit: the deviation stays
  for (seen.step = 9; seen.step < 50; ++seen.step) {
    const bool wanted = own->wants({layer, Operand::gradient, seen.format, seen.step, memory}).histogram;
    if (wanted) searches.push_back(seen.step);
    CHECK(seen.decide(*own, memory, wanted ? &histogram : nullptr).mode == ScaleMode::held);
  }
  REQUIRE(searches.size() >= 3);
  CHECK(searches[0] == 12);
  CHECK(searches[1] - searches[0] >= 4);
  CHECK(searches.back() - searches[searches.size() - 2] == 10);
  seen.mean_square = 1 / (12 * 0.009);
  CHECK(seen.decide(*own, memory).mode == ScaleMode::current_max);
  CHECK_FALSE(own->wants({layer, Operand::gradient, seen.format, 200, memory}).histogram);
}
