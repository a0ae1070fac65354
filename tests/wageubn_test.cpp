// WAGEUBN through the engine: the grids of its operands, its trainings, and settings that do not fit.
#include "cli_support.h"
#include "octavo/error.h"
#include "precision/registry.h"
#include "support/catch.h"
#include "train/engine.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

Config config_of(const TemporaryFolder& folder, std::vector<std::string> more = {}) {
  write_text(folder / "a.yaml", tiny_config("wageubn"));
  more.insert(more.begin(), {"optimizer.type=fixed_point", "optimizer.momentum=0.25"});
  return Config::load((folder / "a.yaml").string(), more, catalog());
}

std::vector<float> weights_of(const Engine& engine) {
  std::vector<float> all;
  for (const ParameterData& data : engine.program().parameters)
    all.insert(all.end(), data.value.as<float>().begin(), data.value.as<float>().end());
  return all;
}

void train(Engine& engine, int steps) {
  for (int i = 0; i < steps; ++i) engine.step();
}

std::string refusal(const std::vector<std::string>& more) {
  TemporaryFolder folder;
  try {
    Engine engine(config_of(folder, more));
  } catch (const Error& error) {
    CHECK(error.code() == Errc::config);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("wageubn: W and X have units of 2^-7, G that of a power of two, in training and evaluation") {
  TemporaryFolder folder;
  Engine engine(config_of(folder));
  train(engine, 3);
  engine.evaluate();
  int gradients = 0;
  for (int i = 0; i < engine.program().slots.size(); ++i) {
    const Slot& slot = engine.program().slots[i];
    CAPTURE(slot.key);
    REQUIRE(slot.scale.size() == 1);
    if (slot.operand != Operand::gradient) {
      CHECK(slot.scale[0] == 0x1p-7f);
      CHECK(slot.format.bits == (slot.operand == Operand::weight ? 8 : 16));
      continue;
    }
    ++gradients;
    const float largest = std::bit_cast<float>(slot.stats.max_bits);
    CHECK(slot.scale[0] == std::exp2(std::round(std::log2(largest)) - 14));
    CHECK_FALSE(slot.members.empty());
  }
  CHECK(gradients == 8);  // two of each block, two shortcuts
  for (const Layer& layer : engine.program().layers)
    CHECK(layer.kept_fp32 == (layer.info.op == "linear" || layer.info.first_of_its_op));
}

TEST_CASE("wageubn learns, on 24-bit weights, and resumes where it was") {
  TemporaryFolder folder;
  const std::vector<std::string> longer{"data.samples=640", "data.batch=32", "optimizer.lr=0.25",
                                        "train.steps=120"};
  Engine engine(config_of(folder, longer));
  double first = 0, last = 0;
  for (int i = 0; i < 120; ++i) {
    const double loss = engine.step().loss;
    if (i < 10) first += loss / 10;
    if (i >= 110) last += loss / 10;
  }
  CHECK(last < 0.8 * first);
  int stored = 0;
  for (const ParameterData& data : engine.program().parameters)
    if (data.name.find("stage") != std::string::npos)
      for (float v : data.value.as<float>()) {
        ++stored;
        REQUIRE(v * 8388608 == std::nearbyint(v * 8388608));
      }
  CHECK(stored > 1000);

  const Config config = config_of(folder, {"precision.keep_fp32=[]"});
  Engine whole(config), before(config), after(config);
  train(whole, 6);
  train(before, 3);
  after.load_state(before.state());
  train(after, 3);
  CHECK((weights_of(after) == weights_of(whole)));
}

TEST_CASE("wageubn and fixed_point: what does not fit is named with its place") {
  CHECK_THAT(refusal({"optimizer.momentum=0.9"}), ContainsSubstring("optimizer.momentum: 0.9 has no place"));
  CHECK_THAT(
      refusal({"optimizer.nesterov=true"}),
      ContainsSubstring("optimizer.nesterov: is no setting of 'fixed_point'; it has momentum, weight_decay"));
  CHECK_THAT(refusal({"optimizer.lr=0.0005"}),
             ContainsSubstring("optimizer.lr: 0.0005 has no place in 'fixed_point'"));
  CHECK_THAT(refusal({"precision.bits.weight=6"}),
             ContainsSubstring("precision.bits: the grids of wageubn have 8 bits"));
  CHECK_THAT(refusal({"optimizer.lr=2"}), ContainsSubstring("override 3: optimizer.lr=2"));
}
