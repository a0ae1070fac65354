// A whole training through the engine: predictions do not depend on the batch, normalization by the
// configuration.
#include "train/engine.h"

#include <bit>
#include <cmath>
#include <set>
#include "cli_support.h"
#include "optim/gradient_norm.h"

#include "support/catch.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

Config config_of(const TemporaryFolder& folder, const std::vector<std::string>& overrides) {
  write_text(folder / "a.yaml", tiny_config());
  return Config::load((folder / "a.yaml").string(), overrides, catalog());
}

std::unique_ptr<Engine> trained(const Config& config, int steps) {
  auto engine = std::make_unique<Engine>(config);
  for (int i = 0; i < steps; ++i) engine->step();
  return engine;
}

// Logits of the first `samples` test images, in batches of `batch`, with the weights and ranges of `content`.
std::vector<float> logits(Config config, const CheckpointContent& content, std::int64_t batch,
                          std::int64_t samples) {
  config.set("data.batch", std::to_string(batch));
  Engine engine(config);
  engine.restore_model(content);
  const auto data = make_loader(config, open_data_sets(config).test, Split::test);
  std::vector<float> all;
  for (std::int64_t seen = 0; seen < samples;) {
    const Batch& images = data->next();
    Plan& plan = engine.program().plan(batch_types(images), Phase::eval);
    engine.program().forward(plan, batch_pointers(images));
    const Tensor out = engine.program().output(plan, "logits");
    all.insert(all.end(), out.as<float>().begin(), out.as<float>().end());
    seen += images.size();
  }
  return all;
}

std::vector<float> first_weights(const Engine& engine) {
  const auto values = engine.program().parameters.front().value.as<float>();
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("a trained network predicts the same, bit for bit, at batch 1, 7 and 128") {
  const std::string policy = GENERATE("unified_int8", "int8_minmax", "fp32");
  const bool all_integer = GENERATE(false, true);
  if (policy == "fp32" && all_integer) return;
  TemporaryFolder folder;
  std::vector<std::string> overrides{"precision=" + policy, "data.samples=640"};
  if (all_integer) overrides.emplace_back("precision.keep_fp32=[]");
  const Config config = config_of(folder, overrides);
  const CheckpointContent content = trained(config, 12)->state();
  const std::vector<float> together = logits(config, content, 128, 128);
  REQUIRE(together.size() == 1280);
  CHECK(std::set<float>(together.begin(), together.end()).size() > 1000);
  CHECK((logits(config, content, 1, 128) == together));
  CHECK((logits(config, content, 7, 128) == together));
}

TEST_CASE(
    "normalize of the configuration takes the place of the set's own values, in training and evaluation") {
  TemporaryFolder folder;
  const auto run = [&](const std::string& mean, const std::string& std) {
    auto engine = trained(
        config_of(folder, {"precision=fp32", "data.normalize.mean=" + mean, "data.normalize.std=" + std}), 3);
    return std::make_pair(first_weights(*engine), engine->evaluate().loss);
  };
  auto own_engine = trained(config_of(folder, {"precision=fp32"}), 3);
  const auto own = std::make_pair(first_weights(*own_engine), own_engine->evaluate().loss);
  CHECK((run("[0.5, 0.5, 0.5]", "[0.193, 0.193, 0.193]") == own));  // what the set `shapes` has
  const auto other = run("[0.1, 0.2, 0.3]", "[0.5, 0.6, 0.7]");
  CHECK(other.first != own.first);
  CHECK(other.second != own.second);
}

TEST_CASE("the procedural shapes are too hard for a linear model") {
  TemporaryFolder folder;
  const Config config = config_of(
      folder, {std::string("model.file=") + OCTAVO_SOURCE_DIR + "/tests/fixtures/linear.yaml",
               "precision=fp32", "data.size=32", "data.samples=4000", "data.batch=32", "optimizer.lr=0.001"});
  CHECK(trained(config, 375)->evaluate().metric <
        0.6);  // 3 epochs; configs/shapes_resnet8.yaml gets above 0.95
}

TEST_CASE("maxima that an update tells of weights times factors change nothing, old factors' least of all") {
  TemporaryFolder folder;
  const Config config = config_of(folder, {"precision=auto"});
  Engine told(config), looking(config);
  for (int step = 0; step < 5; ++step) {  // `auto` sets other factors after the first steps
    looking.program().weights_changed();  // nothing is known
    told.step();
    looking.step();
    int columns = 0;
    for (const ParameterData& data : told.program().parameters)
      columns += data.maxima.columns.empty() ? 0 : 1;
    CHECK(columns > 3);
  }
  CHECK(first_weights(told) == first_weights(looking));
}

TEST_CASE("the norm of a step is that of its gradients, whoever tells their squares") {
  struct Case {
    std::string policy;
    bool told;  // of some parameter
    std::vector<std::string> overrides;
  };
  const Case all[] = {{"unified_int8", true, {}}, {"auto", true, {"gradient.accumulate=2"}},
                      {"dfp16", true, {}},        {"unified_int8", true, {"gradient.clip_norm=0.5"}},
                      {"dorefa", false, {}},      {"fp32", false, {}}};
  for (const Case& one : all) {
    TemporaryFolder folder;
    std::vector<std::string> overrides{"precision=" + one.policy, "precision.keep_fp32=[]"};
    if (one.policy == "fp32") overrides.pop_back();
    overrides.insert(overrides.end(), one.overrides.begin(), one.overrides.end());
    Engine engine(config_of(folder, overrides));
    for (int step = 0; step < 3; ++step) {
      const double told = engine.step().gradient_norm;
      GradientNorm norm;
      norm.begin();
      for (const ParameterData& data : engine.program().parameters) norm.add(data.gradient.as<float>());
      INFO(one.policy << " step " << step);
      CHECK(told == norm.known_norm(engine.program().runtime().parallel));
    }
    bool small = false;
    for (const ParameterData& data : engine.program().parameters) small |= data.small_gradient;
    CHECK(small == one.told);
  }
}

TEST_CASE("an update tells the largest weights, and a change from outside makes them unknown") {
  TemporaryFolder folder;
  const Config config = config_of(folder, {"precision=unified_int8", "precision.keep_fp32=[]"});
  const auto engine = trained(config, 2);
  Program& program = engine->program();
  for (const ParameterData& data : program.parameters) {
    const Shape& shape = data.value.shape();
    const std::int64_t row = shape.rank() > 1 ? shape.elements() / shape[0] : shape.elements();
    std::vector<std::uint32_t> largest(static_cast<std::size_t>(shape.elements() / row));
    const auto values = data.value.as<float>();
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::uint32_t& most = largest[i / static_cast<std::size_t>(row)];
      most = std::max(most, std::bit_cast<std::uint32_t>(std::fabs(values[i])));
    }
    CHECK(data.maxima.rows == largest);
  }
  for (ParameterData& data : program.parameters)
    for (float& w : data.value.as<float>()) w *= 1.5f;
  program.weights_changed();
  for (const ParameterData& data : program.parameters) CHECK(data.maxima.rows.empty());

  Engine other(config);
  other.load_state(engine->state());
  engine->step();
  other.step();
  CHECK(first_weights(*engine) == first_weights(other));
}
