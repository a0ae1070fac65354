// precision.weight_range: held. Ranges are the maxima of the step before, and an update that quantizes the
// weights of the next step leaves nothing else than one apart from that pass does.
#include <bit>
#include <cmath>

#include "cli_support.h"
#include "octavo/error.h"
#include "train/engine.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

Config config_of(const TemporaryFolder& folder, std::vector<std::string> overrides) {
  write_text(folder / "a.yaml", tiny_config());
  overrides.insert(overrides.begin(),
                   {std::string("model.file=") + OCTAVO_SOURCE_DIR + "/tests/fixtures/wide_layers.yaml",
                    "model.with={}", "precision.keep_fp32=[]", "precision.weight_range=held"});
  return Config::load((folder / "a.yaml").string(), overrides, catalog());
}

/// All that steps leave behind.
struct Trace {
  std::vector<std::vector<float>> parameters;
  std::vector<double> numbers;  // losses, norms, metrics
  std::vector<std::string> events;
  nlohmann::json precision;
  bool operator==(const Trace&) const = default;
};

int packed_ahead(Engine& engine) {
  int count = 0;
  for (const WeightReaders& of : engine.training_plan().weight_readers)
    count += of.ahead_version >= 0 ? 1 : 0;
  return count;
}

/// 14 steps with an evaluation, a resumption and an evaluation of the engine that resumed in between.
Trace train(const Config& config, bool together, int& packed) {
  Trace trace;
  auto engine = std::make_unique<Engine>(config);
  engine->program().updates_and_packs = together;
  const auto step = [&] {
    const StepReport report =
        engine->step([&](const nlohmann::ordered_json& event) { trace.events.push_back(event.dump()); });
    trace.numbers.insert(trace.numbers.end(), {report.loss, report.gradient_norm});
  };
  const auto evaluate = [&] { trace.numbers.push_back(engine->evaluate().loss); };
  for (int i = 0; i < 8; ++i) step();
  evaluate();
  step();
  packed = packed_ahead(*engine);
  const CheckpointContent saved = engine->state();
  engine = std::make_unique<Engine>(config);
  engine->program().updates_and_packs = together;
  engine->load_state(saved);
  evaluate();
  for (int i = 0; i < 5; ++i) step();
  evaluate();
  packed = std::min(packed, packed_ahead(*engine));
  for (const ParameterData& data : engine->program().parameters) {
    const auto values = data.value.as<float>();
    trace.parameters.emplace_back(values.begin(), values.end());
  }
  trace.precision = engine->state().state.at("precision");
  return trace;
}

float largest(std::span<const float> values) {
  float most = 0;
  for (const float v : values) most = std::max(most, std::fabs(v));
  return most;
}

/// The maxima of what shares a scale in this slot, of weights times the factors that the copy takes over.
std::vector<float> ranges_of(Program& program, const WeightReaders& of, const WeightReaders::Copy& copy,
                             std::span<const float> weights) {
  const Shape& shape = program.parameters[static_cast<std::size_t>(of.parameter)].value.shape();
  const Slot& slot = program.slots[copy.slot];
  if (slot.format.granularity == ScaleGranularity::tensor) return {largest(weights)};
  const auto k = static_cast<std::size_t>(shape[0]), c = static_cast<std::size_t>(shape.back()),
             row = weights.size() / k;
  const bool by_row = slot.per_output_channel || (c == 1 && of.groups == shape[0]);
  std::vector<float> ranges(by_row ? k : c);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const float factor = copy.gradient < 0 ? 1 : program.slots[copy.gradient].channel_factor[i / row];
    float& most = ranges[by_row ? i / row : i % c];
    most = std::max(most, std::fabs(weights[i] * factor));
  }
  return ranges;
}

}  // namespace

TEST_CASE("an update that quantizes and packs leaves what one apart from the pass over weights does") {
  const std::string policy = GENERATE("unified_int8", "auto", "adaptive_precision", "dorefa");
  const bool clipped = GENERATE(false, true);
  TemporaryFolder folder;
  std::vector<std::string> overrides{"precision=" + policy};
  if (clipped) overrides.emplace_back("gradient.clip_norm=0.5");
  int packed = 0, none = 0;
  const Trace apart = train(config_of(folder, overrides), false, none);
  CHECK(none == 0);
  for (const int threads : {1, 3}) {
    CAPTURE(policy, clipped, threads);
    Config config = config_of(folder, overrides);
    config.set("train.threads", std::to_string(threads));
    const Trace together = train(config, true, packed);
    // Tiles of squares want filters of multiples of 256 weights; dorefa's are squeezed.
    CHECK(packed == (policy == "dorefa" ? 0 : clipped ? 5 : 2));
    CHECK((together.parameters == apart.parameters));
    CHECK(together.numbers == apart.numbers);
    CHECK(together.events == apart.events);
    CHECK(together.precision == apart.precision);
  }
}

TEST_CASE("the range of a weight is its maximum in the step before, unless factors of G changed") {
  const std::string policy = GENERATE("unified_int8", "auto");
  TemporaryFolder folder;
  Engine engine(config_of(folder, {"precision=" + policy}));
  Program& program = engine.program();
  int held = 0, current = 0;
  for (int step = 0; step < 8; ++step) {
    std::vector<Tensor> before;
    for (const ParameterData& data : program.parameters) {
      before.push_back(Tensor::empty(data.value.shape()));
      std::ranges::copy(data.value.as<float>(), before.back().as<float>().begin());
    }
    engine.step();
    for (const WeightReaders& of : engine.training_plan().weight_readers)
      for (const WeightReaders::Copy& copy : of.copies) {
        const Slot& slot = program.slots[copy.slot];
        CAPTURE(policy, step, slot.key);
        const bool looked = copy.gradient >= 0 && program.slots[copy.gradient].wanted.reach;
        if (slot.mode == ScaleMode::current_max) {
          // One weight in a hundred that grew is too much.
          const bool few = 100 * slot.scale.size() > static_cast<std::size_t>(slot.elements);
          CHECK((looked || few));
          ++current;
          continue;
        }
        CHECK_FALSE(looked);
        ++held;
        const std::vector<float> ranges =
            ranges_of(program, of, copy, before[static_cast<std::size_t>(of.parameter)].as<float>());
        if (slot.channel_clip.empty())
          CHECK(ranges == std::vector<float>{slot.clip});
        else
          CHECK(ranges == slot.channel_clip);
      }
  }
  CHECK(held > 30);
  CHECK((current > 0) == (policy == "auto"));
}

TEST_CASE("weights that an update made Inf are found in the next step, whoever quantizes them") {
  TemporaryFolder folder;
  const std::string policy = GENERATE("unified_int8", "auto");
  std::string messages[2];
  for (const bool together : {false, true}) {
    Engine engine(config_of(folder, {"precision=" + policy}));
    Program& program = engine.program();
    program.updates_and_packs = together;
    const auto hidden = std::ranges::find(program.parameters, "hidden.weight", &ParameterData::name);
    REQUIRE(hidden != program.parameters.end());
    for (int i = 0; i < 4; ++i) engine.step();
    program.after_node = [&](const Plan& plan, const Node& node) {
      if (&node != &plan.graph.nodes.back()) return;
      hidden->value.as<float>()[5] = -3.39e38f;
      hidden->gradient.as<float>()[5] = 3e38f;
    };
    engine.step();
    CHECK((packed_ahead(engine) > 0) == together);
    CHECK(std::isinf(hidden->value.as<float>()[5]));
    program.after_node = {};
    try {
      engine.step();
    } catch (const Error& error) {
      CHECK(error.code() == Errc::numeric);
      messages[together ? 1 : 0] = error.what();
    }
  }
  CHECK(messages[0].find("the weight of 'hidden' holds Inf or NaN") != std::string::npos);
  CHECK(messages[0] == messages[1]);
}

TEST_CASE("weights that are changed from outside after an update are quantized as they are") {
  TemporaryFolder folder;
  const Config config = config_of(folder, {"precision=unified_int8"});
  Engine one(config), other(config);
  other.program().updates_and_packs = false;
  for (Engine* engine : {&one, &other}) {
    for (int i = 0; i < 3; ++i) engine->step();
    for (ParameterData& data : engine->program().parameters)
      for (float& w : data.value.as<float>()) w *= 0.5f;
    engine->program().weights_changed();
  }
  CHECK(one.step().loss == other.step().loss);
}
