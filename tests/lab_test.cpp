// The laboratory: errors of integer products against a direct computation, recordings there and back,
// replayed decisions against the policy's own on the same values.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>

#include "lab/fidelity.h"
#include "lab/recording.h"
#include "lab/replay.h"
#include "octavo/error.h"
#include "octavo/trainer.h"
#include "precision/histogram.h"
#include "support/catch.h"
#include "support/precision.h"
#include "support/products.h"
#include "support/temp_folder.h"

using namespace octavo;
using namespace octavo::test;

namespace {

using Values = std::vector<float>;

/// A convolution whose gradient differs by a factor of 4 from sample to sample.
struct Sample {
  ProductShape shape{
      .n = 4, .h = 9, .w = 8, .c = 6, .k = 5, .r = 3, .s = 3, .ho = 9, .wo = 8, .pad_h = 1, .pad_w = 1};
  Values x, w, g;
  LayerTensors tensors;

  Sample() {
    std::mt19937 engine(3);
    std::normal_distribution<float> normal;
    for (int i = 0; i < 4 * 9 * 8 * 6; ++i) x.push_back(std::max(0.0f, normal(engine)));
    for (int i = 0; i < 5 * 3 * 3 * 6; ++i) w.push_back(0.1f * normal(engine));
    for (int i = 0; i < 4 * 9 * 8 * 5; ++i)
      g.push_back(1e-3f * normal(engine) * std::exp2(-2.0f * static_cast<float>(i / (9 * 8 * 5))));
    tensors = {{"conv", "conv2d"}, shape, x.data(), w.data(), g.data(), true};
  }
};

kernels::ConvShape conv_shape(const ProductShape& p) {
  return {p.n, p.h, p.w, p.c, p.k, p.r, p.s, p.ho, p.wo, p.stride_h, p.stride_w, p.pad_h, p.pad_w};
}

Values rounded(const Values& values) {
  float maximum = 0;
  for (float v : values) maximum = std::max(maximum, std::fabs(v));
  Values out;
  for (float v : values) out.push_back(std::nearbyint(v * (127 / maximum)) * (maximum / 127));
  return out;
}

std::array<std::vector<double>, 3> direct_products(const ProductShape& p, const Values& x, const Values& w,
                                                   const Values& g) {
  std::array<std::vector<double>, 3> out;
  out[0].resize(g.size());
  out[1].resize(x.size());
  out[2].resize(w.size());
  for_each_product(conv_shape(p), [&](std::int64_t ix, std::int64_t iw, std::int64_t iy) {
    const auto a = static_cast<std::size_t>(ix), b = static_cast<std::size_t>(iw),
               c = static_cast<std::size_t>(iy);
    out[0][c] += double{x[a]} * w[b];
    out[1][a] += double{g[c]} * w[b];
    out[2][b] += double{x[a]} * g[c];
  });
  return out;
}

double direct_distance(const std::vector<double>& q, const std::vector<double>& f) {
  double qq = 0, ff = 0, qf = 0;
  for (std::size_t i = 0; i < f.size(); ++i) {
    qq += q[i] * q[i];
    ff += f[i] * f[i];
    qf += q[i] * f[i];
  }
  return 1 - qf / std::sqrt(qq * ff);
}

LayerErrors probe(const Sample& sample, const std::string& policy,
                  const std::map<std::string, std::string>& changes = {}) {
  Runtime runtime(2, 1);
  return probe_layer(runtime, precision_settings(policy, changes), sample.tensors,
                     reference_products(runtime, sample.tensors));
}

const std::string config_text = "model: {file: " OCTAVO_SOURCE_DIR
                                "/models/resnet8.yaml}\n"
                                "data: {set: shapes, batch: 8, samples: 80}\n"
                                "train: {steps: 20, seed: 1}\nprecision: fp32\n";

}  // namespace

TEST_CASE("the probe's errors are those of rounded operands in direct products") {
  const Sample sample;
  const auto exact = direct_products(sample.shape, sample.x, sample.w, sample.g);
  const auto coarse = direct_products(sample.shape, rounded(sample.x), rounded(sample.w), rounded(sample.g));
  const LayerErrors errors = probe(sample, "int8_minmax", {{"gradient_rounding", "nearest"}});
  for (std::size_t p = 0; p < 3; ++p) {
    const double expected = direct_distance(coarse[p], exact[p]);
    REQUIRE(errors.products[p]);
    CAPTURE(p, expected);
    CHECK(errors.products[p]->cosine_distance == Approx(expected).epsilon(0.01).margin(1e-7));
  }
  CHECK(errors.bits == std::array<int, 3>{8, 8, 8});
}

TEST_CASE("the probe tells policies apart: wide formats, and scales where the gradient varies") {
  const Sample sample;
  const LayerErrors minmax = probe(sample, "int8_minmax"), wide = probe(sample, "dfp16"),
                    own = probe(sample, "auto"), none = probe(sample, "fp32");
  for (std::size_t p = 0; p < 3; ++p) {
    CHECK(wide.products[p]->cosine_distance < 1e-7);
    CHECK(minmax.products[p]->cosine_distance > 1e-6);
    CHECK_FALSE(none.products[p]);
  }
  CHECK(wide.bits == std::array<int, 3>{16, 16, 16});
  CHECK(own.products[1]->cosine_distance < 0.5 * minmax.products[1]->cosine_distance);
  CHECK(own.products[0]->cosine_distance < minmax.products[0]->cosine_distance);
  const LayerErrors ui8 = probe(sample, "unified_int8");
  CAPTURE(ui8.learning_rate_factor - 1);
  CHECK(ui8.learning_rate_factor < 1);
  CHECK(ui8.learning_rate_factor > 0.5);
}

TEST_CASE("cosine distance and gain of given products") {
  const Values f{1, 2, 2}, half{0.5f, 1, 1}, turned{2, -1, 0}, zero{0, 0, 0};
  CHECK(product_error(half, f).cosine_distance == Approx(0).margin(1e-12));
  CHECK(product_error(half, f).gain_error == Approx(0.5));
  CHECK(product_error(turned, f).cosine_distance == Approx(1));
  CHECK(product_error(zero, f).cosine_distance == 1);
  CHECK(product_error(f, zero).cosine_distance == 0);
}

TEST_CASE("a recording is read as it was written, and damage is named by line") {
  TempFolder folder;
  folder.write("a.yaml", config_text);
  Engine engine(Config::load("a.yaml", {}, catalog()));
  RecordOptions options{"rec", 5};
  options.steps = 11;
  options.tensors = true;
  record(engine, options);
  CHECK(engine.steps_done() == 11);
  const Recording recording = read_recording("rec");
  const std::size_t layers = engine.program().layers.size();
  REQUIRE(recording.records.size() == 3 * layers * 3);  // steps 0, 5, 10; W, X, G
  CHECK(std::filesystem::exists("rec/tensors/step-10.safetensors"));
  for (const OperandRecord& record : recording.records) {
    std::uint64_t counted = 0;
    for (std::uint64_t count : record.histogram.counts) counted += count;
    CHECK(counted == static_cast<std::uint64_t>(record.elements));
    float most = 0;
    for (const ChannelSummary& channel : record.channels) most = std::max(most, channel.max_abs);
    CHECK(most == record.max_abs);
    // A linear layer's rows are the pixels of one sample.
    const std::size_t samples = record.operand == Operand::weight ? 0 : record.layer.op == "linear" ? 1 : 8;
    CHECK(record.sample_max.size() == samples);
  }
  CHECK_THROWS_WITH(record(engine, options), ContainsSubstring("exists already"));
  CHECK_THROWS_WITH(read_recording("nothing"), ContainsSubstring("octavo record"));
  std::ofstream("rec/recording.jsonl", std::ios::app) << "{\"step\": 3\n";
  CHECK_THROWS_WITH(read_recording("rec"),
                    ContainsSubstring("recording.jsonl:" + std::to_string(9 * layers + 2)));
}

TEST_CASE("replay decides as the policy does on the same statistics") {
  TempFolder folder;
  folder.write("a.yaml", config_text);
  Engine engine(Config::load("a.yaml", {}, catalog()));
  RecordOptions options{"rec", 1};
  options.steps = 3;
  record(engine, options);
  const Recording recording = read_recording("rec");
  const PrecisionSettings settings =
      precision_settings("unified_int8", {{"period", "2"}, {"saturation_limit", "1"}});
  const std::vector<ReplayRow> rows = replay(recording, settings);
  const auto policy = make_policy(settings);
  std::map<std::string, float> clips;  // by layer, as chosen in the step before
  std::size_t compared = 0;
  for (const OperandRecord& seen : recording.records) {
    if (seen.operand != Operand::gradient) continue;
    for (const ReplayRow& row : rows)
      if (row.operand == Operand::gradient && row.layer == seen.layer.name && row.step == seen.step) {
        CHECK(row.clip == Approx(seen.step == 0 ? seen.max_abs : clips[row.layer]));
        CHECK(row.cosine_distance ==
              Approx(cosine_distance(seen.histogram, row.clip, 127, seen.max_abs)).margin(1e-12));
        ++compared;
      }
    if (seen.step % 2 == 1) continue;
    std::vector<double> memory;
    clips[seen.layer.name] = policy
                                 ->decide({seen.layer.name,
                                           Operand::gradient,
                                           {},
                                           seen.step,
                                           seen.elements,
                                           seen.max_abs,
                                           0,
                                           0,
                                           0,
                                           &seen.histogram,
                                           memory})
                                 .clip;
  }
  CHECK(compared == 3 * engine.program().layers.size());
  const std::string table = replay_table({{"unified_int8", rows}});
  CHECK(table.find("| unified_int8 | gradient | 8.0 / 8.0 |") != std::string::npos);
}

TEST_CASE("fidelity measures every layer and policy, and refuses a run that keeps no floats") {
  TempFolder folder;
  folder.write("a.yaml", config_text);
  Engine engine(Config::load("a.yaml", {}, catalog()));
  engine.step();
  const auto rows = measure_fidelity(
      engine, {{"auto", precision_settings("auto")}, {"int8_minmax", precision_settings("int8_minmax")}});
  CHECK(rows.size() == 2 * engine.program().layers.size());
  for (const FidelityRow& row : rows) {
    CHECK(row.step == 1);
    CHECK(row.errors.products[2]->cosine_distance < 0.05);
  }
  CHECK(fidelity_table(rows).find("| 1 | auto |") != std::string::npos);
  Engine integer(Config::load("a.yaml", {"precision=int8_minmax"}, catalog()));
  CHECK_THROWS_WITH(measure_fidelity(integer, {}), ContainsSubstring("precision.policy=fp32"));
}
