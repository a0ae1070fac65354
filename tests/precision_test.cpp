// The controller: which layers and products run in integers, how slots pass from step to step, what a
// checkpoint keeps.
#include <bit>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "octavo/error.h"
#include "support/precision.h"
#include "support/resnet8.h"

using namespace octavo;
using namespace octavo::test;

namespace {

const Resnet8& data() {
  static const Resnet8 golden;
  return golden;
}

struct Training {
  Runtime runtime;
  Program program{build(resnet(1)), data().types, runtime};
  Controller controller;
  std::unique_ptr<Optimizer> sgd = make_sgd(program);
  std::vector<nlohmann::ordered_json> events;

  explicit Training(const PrecisionSettings& settings, int threads = 2)
      : runtime(threads, 1), controller(settings, program.layers, program.slots) {
    data().initialize(program);
    program.plan(data().types, Phase::train);  // slots exist before the first step
  }
  bool step(double rate = 0.05) {  // true when a width changed
    const std::int64_t at = runtime.step;
    controller.begin_step(at);
    run_pass(program, data().types, data().pointers);
    update(program, *sgd, rate);
    const bool changed =
        controller.end_step(at, [&](const nlohmann::ordered_json& event) { events.push_back(event); });
    if (changed) program.reset_plans();
    return changed;
  }
  Slot& slot(const std::string& layer, Operand operand) {
    for (int i = 0; i < program.slots.size(); ++i)
      if (program.slots[i].layer == layer && program.slots[i].operand == operand) return program.slots[i];
    throw std::runtime_error("no slot of " + layer);
  }
  std::vector<std::string> kept() const {
    std::vector<std::string> names;
    for (const Layer& layer : program.layers)
      if (layer.kept_fp32) names.push_back(layer.info.name);
    return names;
  }
};

PrecisionSettings keeping(std::vector<std::string> patterns, const std::string& policy = "int8_minmax") {
  PrecisionSettings settings = precision_settings(policy);
  settings.keep_fp32 = std::move(patterns);
  return settings;
}

using Names = std::vector<std::string>;

// A policy that asks for a scale on a contracted axis.
class Contradiction final : public Policy {
 public:
  explicit Contradiction(int which) : which_(which) {}
  LayerFormats formats(const LayerInfo&) const override {
    const SlotFormat plain, channel{8, ScaleGranularity::channel}, sample{8, ScaleGranularity::sample};
    LayerFormats formats{{true, plain, plain}, {true, plain, plain}, {true, plain, plain}};
    if (which_ == 0) formats.forward.data = channel;
    if (which_ == 1) formats.grad_input.data = channel;
    if (which_ == 2) formats.grad_weight.data = sample;
    if (which_ == 3) formats.grad_weight.other = sample;
    if (which_ == 4) formats.forward.data.bits = 25;
    SlotFormat factors{8, ScaleGranularity::sample_class};
    factors.channel_factors = true;
    if (which_ == 5) formats.grad_input.data = factors;
    if (which_ == 6) formats.forward.data = factors;
    if (which_ == 7) formats.grad_weight.other.grid = IntegerGrid::flagged;
    return formats;
  }
  SlotDecision decide(const SlotObservation&) const override { return {}; }

 private:
  int which_;
};

// Holds weights at +-0.125 and looks at all of them.
class HeldWeights final : public Policy {
 public:
  LayerFormats formats(const LayerInfo&) const override { return {{true}, {true}, {true}}; }
  StatisticsRequest wants(const SlotState& slot) const override {
    return {.histogram = slot.operand == Operand::weight};
  }
  SlotDecision decide(const SlotObservation& seen) const override {
    if (seen.operand != Operand::weight) return {};
    return {.mode = ScaleMode::held, .clip = 0.125f};
  }
};

}  // namespace

TEST_CASE("layers kept in fp32: by name, glob, kind, and the policy's own") {
  CHECK(Training(keeping({})).kept().empty());
  CHECK(Training(keeping({"@first_conv"})).kept() == Names{"conv1"});
  CHECK(Training(keeping({"@linear"})).kept() == Names{"head"});
  CHECK(Training(keeping({"stage1.0.conv?"})).kept() == Names{"stage1.0.conv1", "stage1.0.conv2"});
  CHECK(Training(keeping({"*shortcut*", "head"})).kept() ==
        Names{"stage2.0.shortcut_conv", "stage3.0.shortcut_conv", "head"});
  CHECK(Training(keeping({"@policy"}, "unified_int8")).kept() == Names{"conv1", "head"});
  CHECK(Training(keeping({"@policy"})).kept().empty());
  CHECK_THROWS_WITH(
      Training(keeping({"stage9.*", "conv1", "stage1.0.conv9"})),
      ContainsSubstring("precision.keep_fp32: 'stage9.*' matches no layer") &&
          ContainsSubstring("\nprecision.keep_fp32: 'stage1.0.conv9' matches no layer of the model; "
                            "did you mean 'stage1.0.conv"));
}

TEST_CASE("each product can be switched off alone") {
  const std::size_t off = GENERATE(0, 1, 2);
  PrecisionSettings settings = keeping({});
  std::string* products[] = {&settings.products.forward, &settings.products.grad_input,
                             &settings.products.grad_weight};
  *products[off] = "fp32";
  Training training(settings);
  training.step();
  for (std::size_t p = 0; p < 3; ++p)
    CHECK(training.runtime.macs.integer[p] == (p == off ? 0 : training.runtime.macs.all[p]));
}

TEST_CASE(
    "counted multiplications: switched-off products and kept layers run in float, all others in integers") {
  PrecisionSettings settings = keeping({"@first_conv"});
  settings.products.grad_weight = "fp32";
  Training training(settings);
  training.step();
  const MacCount& macs = training.runtime.macs;
  CHECK(macs.integer[2] == 0);
  std::int64_t forward = 0, first = 0;
  for (const Node& node : training.program.graph().nodes)
    if (node.op->product) {
      const std::int64_t own = kernel_shape(node.op->product(*node.signature)).macs();
      forward += own;
      if (node.name == "conv1") first = own;
    }
  CHECK(macs.all[0] == forward);
  CHECK(macs.integer[0] == forward - first);
  CHECK(macs.all[1] == forward - first);  // nothing is before the first layer
  CHECK(macs.integer[1] == macs.all[1]);
  CHECK(macs.all[2] == forward);
}

TEST_CASE("a scale on a contracted axis is refused, and so are widths that do not fit") {
  static const bool once = [] {
    for (int which = 0; which < 8; ++which) {
      PolicyDef def;
      def.name = "test_contradiction" + std::to_string(which);
      def.make = [which](const PolicyRequest&) { return std::make_unique<Contradiction>(which); };
      register_policy(def);
    }
    return true;
  }();
  static_cast<void>(once);
  const char* expected[] = {"forward product contracts the channel axis",
                            "grad_input product contracts the channel axis",
                            "grad_weight product contracts the sample axis",
                            "grad_weight product contracts the sample axis",
                            "25 bits; integer operands have 2 to 24",
                            "have to be folded into the weights of grad_input",
                            "factors per channel are for gradients with classes of samples",
                            "8 bits and a flag take 15 bits, not 8"};
  for (int which = 0; which < 8; ++which)
    CHECK_THROWS_WITH(Training(keeping({}, "test_contradiction" + std::to_string(which))),
                      ContainsSubstring(expected[which]));
}

TEST_CASE(
    "unified_int8: the first step takes maxima, clips are searched every period steps and held in between") {
  PrecisionSettings settings =
      precision_settings("unified_int8", {{"period", "3"}, {"saturation_limit", "1"}});
  Training training(settings);
  for (int step = 0; step < 7; ++step) {
    training.step();
    Slot& gradient = training.slot("stage2.0.conv1", Operand::gradient);
    CHECK(gradient.mode == ScaleMode::held);
    CHECK(gradient.clip > 0);
    CHECK(gradient.wanted.histogram == (step % 3 == 0));
    CHECK(training.slot("stage2.0.conv1", Operand::weight).mode == ScaleMode::current_max);
  }
  int searches = 0;
  for (const auto& event : training.events)
    searches += event.at("operand") == "gradient" && event.at("layer") == "stage2.0.conv1" &&
                event.contains("cosine_distance") && event.at("step").get<int>() % 3 == 0;
  CHECK(searches == 3);
}

TEST_CASE(
    "distribution_adaptive trains: a range per channel, classes tested every period steps, one copy if "
    "folded") {
  const std::string fold = GENERATE("false", "true");
  Training training(precision_settings("distribution_adaptive", {{"period", "2"}, {"fold", fold}}));
  int tested = 0;
  for (int step = 0; step < 4; ++step) {
    training.step();
    for (int i = 0; i < training.program.slots.size(); ++i) {
      const Slot& slot = training.program.slots[i];
      if (slot.operand != Operand::gradient) continue;
      const bool by_channel = slot.format.granularity == ScaleGranularity::channel;
      CHECK(by_channel == (slot.scale.size() > 1));
      CHECK(slot.memory.size() == 2 * slot.scale.size());
      CHECK(slot.wanted.channels == (step % 2 == 0));
      CHECK(slot.channels.size() == (step % 2 == 0 ? slot.scale.size() : 0));
      CHECK(slot.mode == ScaleMode::held);
      CHECK(slot.channel_clip.size() == (by_channel ? slot.scale.size() : 0));
      if (fold == "true") CHECK(by_channel);
      tested += slot.wanted.channels;
    }
  }
  CHECK(tested > 0);
  for (const ParameterData& data : training.program.parameters)
    for (float v : data.gradient.as<float>()) REQUIRE(std::isfinite(v));
}

TEST_CASE("adaptive_precision trains: widths change between steps, plans follow, a checkpoint holds them") {
  const PrecisionSettings settings = precision_settings("adaptive_precision", {{"threshold", "0.0005"}});
  Training one(settings, 1), three(settings, 3);
  int changes = 0;
  for (int step = 0; step < 5; ++step) {
    changes += one.step();
    three.step();
  }
  CHECK(changes > 0);
  CHECK(one.controller.state() == three.controller.state());
  CHECK((all_weights(one.program) == all_weights(three.program)));
  std::map<int, int> widths;
  for (int i = 0; i < one.program.slots.size(); ++i) ++widths[one.program.slots[i].format.bits];
  CHECK(widths[16] + widths[24] > 0);

  Training other(settings);
  other.controller.load_state(nlohmann::json::parse(one.controller.state().dump()));
  other.program.reset_plans();
  for (std::size_t i = 0; i < one.program.parameters.size(); ++i)
    assign(other.program.parameters[i].value, one.program.parameters[i].value.as<float>());
  other.program.weights_changed();
  other.runtime.step = one.runtime.step;
  run_pass(one.program, data().types, data().pointers);
  run_pass(other.program, data().types, data().pointers);
  CHECK(all_gradients(one.program) == all_gradients(other.program));
}

TEST_CASE("a held scale that clips too much gives way to the maximum for one step, and says so") {
  Training training(precision_settings("unified_int8", {{"saturation_limit", "0.001"}}));
  training.step();
  Slot& slot = training.slot("stage2.0.conv1", Operand::gradient);
  REQUIRE(slot.mode == ScaleMode::held);
  slot.clip /= 50;
  training.events.clear();
  training.step();
  CHECK(slot.mode == ScaleMode::current_max);
  const auto said = std::count_if(training.events.begin(), training.events.end(),
                                  [](const auto& event) { return event.contains("reason"); });
  CHECK(said >= 1);
  training.step();
  CHECK(slot.mode == ScaleMode::held);
}

TEST_CASE("decisions and weights are the same on every instruction set and for every number of threads") {
  PrecisionSettings settings =
      GENERATE(precision_settings("unified_int8", {{"period", "2"}}),
               precision_settings("auto", {{"error_limit", "0.0001"}, {"patience", "2"}, {"max_bits", "8"}}),
               precision_settings("auto", {{"error_limit", "0.0001"}, {"patience", "2"}}),
               precision_settings("auto", {{"patience", "2"}, {"min_bits", "2"}}),
               precision_settings("dorefa"), precision_settings("wageubn"), precision_settings("range_bn"));
  settings.keep_fp32 = {};
  const auto run = [&](kernels::Isa isa, int threads) {
    const kernels::Isa before = kernels::active_isa();
    kernels::force_isa(isa);
    auto training = std::make_unique<Training>(settings, threads);
    for (int step = 0; step < 6; ++step) training->step();
    kernels::force_isa(before);
    return training;
  };
  const auto reference = run(kernels::Isa::ref, 1);
  for (kernels::Isa isa : {kernels::Isa::ref, kernels::Isa::avx2, kernels::Isa::avx512vnni}) {
    if (!kernels::isa_supported(isa)) {
      WARN("this CPU lacks " << kernels::isa_name(isa) << ": not tested");
      continue;
    }
    CAPTURE(kernels::isa_name(isa));
    const auto other = run(isa, 3);
    CHECK(other->controller.state() == reference->controller.state());
    CHECK((all_weights(other->program) == all_weights(reference->program)));
  }
}

TEST_CASE("range_bn trains with two copies of each gradient: 8 bits for dX, 16 for dW") {
  Training training(precision_settings("range_bn"));
  std::map<std::string, std::set<int>> bits;  // by layer
  for (int step = 0; step < 3; ++step) training.step();
  for (int i = 0; i < training.program.slots.size(); ++i) {
    const Slot& slot = training.program.slots[i];
    if (slot.operand == Operand::activation) CHECK(slot.mode == ScaleMode::held);
    if (slot.operand != Operand::gradient) continue;
    bits[slot.layer].insert(slot.format.bits);
    const bool narrow = slot.format.bits == 8;
    CHECK((slot.format.rounding == RoundingMode::stochastic) == narrow);
    for (const std::string& member : slot.members)
      CHECK(member.ends_with(narrow ? ".grad_input" : ".grad_weight"));
  }
  CHECK(bits.at("stage2.0.conv1") == std::set<int>{8, 16});
  CHECK(bits.at("conv1") == std::set<int>{16});  // the images need no gradient
  for (const ParameterData& data : training.program.parameters)
    for (float v : data.gradient.as<float>()) REQUIRE(std::isfinite(v));
}

TEST_CASE("dorefa trains: activations end at 1, in evaluation too, and narrower weights are refused") {
  Training training(precision_settings("dorefa", {{"activation_range", "unit"}}));
  for (int step = 0; step < 3; ++step) training.step();
  for (int i = 0; i < training.program.slots.size(); ++i) {
    const Slot& slot = training.program.slots[i];
    if (slot.operand != Operand::activation) {
      CHECK((slot.format.grid == IntegerGrid::odd && slot.format.bits == 9));
      continue;
    }
    CHECK(slot.format.unsigned_ok);
    CHECK((slot.mode == ScaleMode::held && slot.clip == 1));
    CHECK(slot.frozen_clip == std::vector<float>{1});
  }
  for (const ParameterData& data : training.program.parameters)
    for (float v : data.gradient.as<float>()) REQUIRE(std::isfinite(v));
  PrecisionSettings narrow = precision_settings("dorefa");
  narrow.bits.weight = 4;
  CHECK_THROWS_WITH(Training(narrow),
                    ContainsSubstring("dorefa takes 8 to 14 bits for weights and gradients, not 4"));
}

TEST_CASE("auto trains: widths rise and fall, ranges of samples are capped where no width is left") {
  const auto gradient_slots = [](Training& training) {
    std::vector<Slot*> slots;
    for (int i = 0; i < training.program.slots.size(); ++i)
      if (training.program.slots[i].operand == Operand::gradient) slots.push_back(&training.program.slots[i]);
    return slots;
  };
  const auto all_bits = [&](Training& training) {
    std::set<int> bits;
    for (const Slot* slot : gradient_slots(training)) bits.insert(slot->format.bits);
    return bits;
  };
  const std::map<std::string, std::string> strict = {{"error_limit", "1e-6"}, {"patience", "2"}};
  Training wide(precision_settings("auto", strict));
  bool changed = false;
  for (int step = 0; step < 2; ++step) {
    CHECK(all_bits(wide) == std::set<int>{8});
    changed = wide.step();
  }
  CHECK(changed);
  CHECK(all_bits(wide) == std::set<int>{16});

  Training narrow(precision_settings("auto", {{"patience", "2"}, {"min_bits", "2"}}));
  for (int step = 0; step < 2; ++step) narrow.step();
  CHECK(*all_bits(narrow).begin() < 8);
  CHECK(*all_bits(narrow).rbegin() <= 8);

  std::map<std::string, std::string> capped = strict;
  capped["max_bits"] = "8";
  Training training(precision_settings("auto", capped));
  for (int step = 0; step < 2; ++step) training.step();
  CHECK(all_bits(training) == std::set<int>{8});
  for (const Slot* slot : gradient_slots(training)) {
    INFO(slot->key);
    CHECK(slot->mode == ScaleMode::held);
    CHECK(slot->learning_rate_factor < 1);
    CHECK(slot->sample_max.size() == slot->scale.size());
  }
  training.step();
  for (const Slot* slot : gradient_slots(training))
    CHECK(slot->step_clip <= slot->clip * std::sqrt(2.0f) * 1.001f);
}

TEST_CASE("a policy that squeezes weights wants them in both products or in none") {
  PrecisionSettings settings = precision_settings("dorefa");
  settings.products.grad_input = "fp32";
  CHECK_THROWS_WITH(Training(settings), ContainsSubstring("squeezes by tanh"));
  settings.products.forward = "fp32";
  CHECK_NOTHROW(Training(settings));
}

TEST_CASE("maxima that were known before the step and clipped too much are taken by a pass in the next") {
  Training training(precision_settings("auto", {{"saturation_limit", "0"}}));
  int looked = 0, again = 0;
  for (int step = 0; step < 100 && again == 0; ++step) {  // batch norm's bound leaves out what is rare
    training.step();
    for (int i = 0; i < training.program.slots.size(); ++i) again += training.program.slots[i].look_again;
  }
  CHECK(again > 0);
  const nlohmann::json state = training.controller.state();
  training.step();
  for (int i = 0; i < training.program.slots.size(); ++i) {
    const Slot& slot = training.program.slots[i];
    if (!state.at(slot.key).at("look_again").get<bool>()) continue;
    ++looked;
    CHECK(slot.stats.saturated == 0);
  }
  CHECK(looked == again);
}

TEST_CASE("auto's ranges of samples leave room for the terms of the channels' means") {
  Training training(precision_settings("auto"));
  std::map<std::string, double> largest;  // share of a gradient that was clipped, steps 20 to 39
  for (int step = 0; step < 40; ++step) {
    training.step();
    for (int i = 0; step >= 20 && i < training.program.slots.size(); ++i) {
      const Slot& slot = training.program.slots[i];
      if (slot.operand != Operand::gradient) continue;
      const double share = static_cast<double>(slot.stats.saturated) / static_cast<double>(slot.elements);
      largest[slot.layer] = std::max(largest[slot.layer], share);
    }
  }
  CHECK(largest.size() > 5);
  for (const auto& [layer, share] : largest) {
    INFO(layer);
    CHECK(share < 0.001);
  }
}

TEST_CASE("weights with a held range: clipped there, counted, and found when not finite") {
  static const bool once = [] {
    PolicyDef def;
    def.name = "test_held_weights";
    def.make = [](const PolicyRequest&) { return std::make_unique<HeldWeights>(); };
    register_policy(def);
    return true;
  }();
  static_cast<void>(once);
  Training training(keeping({}, "test_held_weights"));
  training.step();
  training.step();
  const Slot& slot = training.slot("stage1.0.conv1", Operand::weight);
  CHECK(slot.scale == std::vector<float>{0.125f / 127});
  CHECK(slot.stats.saturated > 0);
  CHECK(std::accumulate(slot.histogram.counts.begin(), slot.histogram.counts.end(), std::uint64_t{0}) ==
        8 * 9 * 8);
  parameter(training.program, "stage1.0.conv1.weight").value.as<float>()[0] = std::nanf("");
  training.program.weights_changed();
  CHECK_THROWS_WITH(training.step(), ContainsSubstring("weight of 'stage1.0.conv1'"));
}

TEST_CASE(
    "channel statistics: one per channel where channels have scales, one of the whole tensor elsewhere") {
  Training training(keeping({}, "distribution_adaptive"));
  training.step();
  int tensors = 0, vectors = 0;
  for (int i = 0; i < training.program.slots.size(); ++i) {
    const Slot& slot = training.program.slots[i];
    if (slot.operand != Operand::gradient) continue;
    CAPTURE(slot.key);
    const bool by_channel = slot.format.granularity == ScaleGranularity::channel;
    REQUIRE(slot.channels.size() == (by_channel ? slot.channel_max.size() : 1));
    ++(by_channel ? vectors : tensors);
    float largest = 0;
    for (const ChannelSummary& channel : slot.channels) largest = std::max(largest, channel.max_abs);
    CHECK(largest == std::bit_cast<float>(slot.stats.max_bits));
  }
  CHECK(tensors > 3);
  CHECK(vectors > 3);
}

TEST_CASE("a held activation range follows a rise at once and a fall slowly") {
  const auto policy = make_policy(precision_settings("unified_int8", {{"activation_decay", "0.9"}}));
  const std::string layer = "a";
  std::vector<double> memory;
  const auto next = [&](float max_abs, float clip) {
    return policy->decide({layer, Operand::activation, {}, 3, 10, max_abs, clip, 0, 0, nullptr, memory});
  };
  CHECK(next(4, 2).clip == 4);
  CHECK(next(1, 2).clip == Approx(0.9 * 2 + 0.1 * 1));
  CHECK(next(1, 2).mode == ScaleMode::held);
  const auto current = make_policy(precision_settings("unified_int8", {{"activation_range", "current"}}));
  CHECK(current->decide({layer, Operand::activation, {}, 3, 10, 4, 2, 0, 0, nullptr, memory}).mode ==
        ScaleMode::current_max);
}

TEST_CASE("two runs that share a checkpoint of the controller go on alike, a foreign one is refused") {
  const PrecisionSettings settings = precision_settings("unified_int8", {{"period", "4"}});
  Training one(settings), two(settings);
  for (int step = 0; step < 3; ++step) one.step();
  two.controller.load_state(nlohmann::json::parse(one.controller.state().dump()));
  CHECK(two.controller.state() == one.controller.state());
  for (std::size_t i = 0; i < one.program.parameters.size(); ++i)
    assign(two.program.parameters[i].value, one.program.parameters[i].value.as<float>());
  two.program.weights_changed();
  two.runtime.step = one.runtime.step;
  run_pass(one.program, data().types, data().pointers);
  run_pass(two.program, data().types, data().pointers);
  CHECK(all_gradients(one.program) == all_gradients(two.program));
  Training other(precision_settings("int8_minmax"));
  CHECK_THROWS_WITH(other.controller.load_state(one.controller.state()),
                    ContainsSubstring("other precision settings"));
}

TEST_CASE("the learning-rate factor of a gradient edge holds for all layers that read it") {
  Runtime runtime(1, 1);
  const BatchTypes types{{"x", {DType::f32, {4, 6}}}, {"label", {DType::i64, {4}}}};
  Program program(build("input x\ninput label\na linear x {out: 5}\nb linear x {out: 5}\nsum add a,b\n"
                        "ce softmax_cross_entropy sum,label\nloss ce\n"),
                  types, runtime);
  Controller controller(keeping({}), program.layers, program.slots);
  program.plan(types, Phase::train);
  for (int i = 0; i < program.slots.size(); ++i)
    if (program.slots[i].operand == Operand::gradient) program.slots[i].learning_rate_factor = 0.25f;
  CHECK(controller.learning_rate_factor(0) == 0.25f);
  CHECK(controller.learning_rate_factor(1) == 0.25f);
  CHECK(controller.learning_rate_factor(-1) == 1);
}
