// Every policy trained on the device: networks, checkpoints, graphs, what an update tells of the weights.
#include "device/step_settings.h"
#include "support/device_steps.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

/// A policy as its authors run it.
Overrides policy_overrides(const std::string& policy, const Overrides& more = {}) {
  const std::string precision = "precision=" + policy;
  if (policy == "range_bn") return with({precision, "model.with.norm=range_batch_norm"}, more);
  if (policy == "wageubn")
    return with({precision, "optimizer.type=fixed_point", "optimizer.momentum=0.25"}, more);
  return with({precision}, more);
}

/// The copies of weights of the plan that trains.
const std::deque<device::WeightMemory>& weights_of(Engine& engine) {
  return static_cast<device::PlanMemory&>(*engine.training_plan().device).weights;
}

long count(Engine& engine, device::KnownMaxima known) {
  const auto& all = weights_of(engine);
  return std::count_if(all.begin(), all.end(),
                       [&](const device::WeightMemory& copy) { return copy.known == known; });
}

}  // namespace

// `fp32` has no integers: see the layers in float below.
TEST_CASE("training a residual network on the device is training it on the CPU", "[training]") {
  const std::string policy = GENERATE("unified_int8", "int8_minmax", "distribution_adaptive",
                                      "adaptive_precision", "auto", "dorefa", "wageubn", "range_bn", "dfp16");
  INFO(policy);
  require_equal_training(policy_overrides(policy), 5);
}

TEST_CASE("every op with odd and flagged integers, squeezed weights and normalization by ranges",
          "[training]") {
  const std::string edges = GENERATE("fp32", "bf16");
  const Overrides options =
      GENERATE(policy_overrides("dorefa", {"model.file=every_op.yaml"}),
               policy_overrides("wageubn", {"model.file=every_op.yaml"}),
               Overrides{"precision=range_bn", "model.file=range_norm.yaml"},
               Overrides{"precision=unified_int8", "model.file=range_norm.yaml", "optimizer.type=fixed_point",
                         "optimizer.momentum=0.5", "optimizer.weight_decay=1e-3"});
  INFO(options[0] << " " << options.back() << " " << edges);
  require_equal_training(with(options, {"data.batch=10", "precision.edges=" + edges}), 3);
}

TEST_CASE("accumulation, clipping and recomputation with these policies", "[training]") {
  const Overrides options =
      GENERATE(policy_overrides("dorefa", {"gradient.accumulate=3", "gradient.clip_norm=0.5"}),
               policy_overrides("wageubn", {"gradient.accumulate=2", "gradient.clip_norm=0.5"}),
               policy_overrides("range_bn", {"gradient.accumulate=2", "train.recompute=[net.*]"}));
  INFO(options[0]);
  require_equal_training(with(options, {"data.batch=8"}), 3);
}

TEST_CASE("batches of one sample with these policies", "[training]") {
  const std::string policy = GENERATE("dorefa", "wageubn", "range_bn");
  INFO(policy);
  require_equal_training(policy_overrides(policy, {"data.batch=1"}), 3);
}

TEST_CASE("policies whose first and last layers stay in float", "[training]") {
  const std::string policy = GENERATE("dorefa", "wageubn");
  INFO(policy);
  const TemporaryFolder folder;
  const Overrides overrides =
      policy_overrides(policy, {"precision.keep_fp32=[\"@first_conv\", \"@linear\"]"});
  const auto cpu = engine_of(folder, overrides, "cpu"), gpu = engine_of(folder, overrides, "cuda");
  const StepReport a = cpu->step(), b = gpu->step();
  CHECK(std::fabs(b.loss - a.loss) <= 1e-6 * a.loss);
  CHECK(std::fabs(b.gradient_norm - a.gradient_norm) <= 1e-3 * a.gradient_norm);
  CHECK(cpu->macs().integer == gpu->macs().integer);
  const NamedTensors x = cpu->state().model, y = gpu->state().model;
  for (std::size_t i = 0; i < x.size(); ++i) {
    INFO(x[i].name);
    CHECK(relative_distance(x[i].tensor.as<float>(), y[i].tensor.as<float>(), 1e-3) < 1e-3);
  }
}

TEST_CASE("a checkpoint of every policy goes on on the other device", "[training]") {
  const std::string from = GENERATE("cpu", "cuda"), to = from == "cpu" ? "cuda" : "cpu",
                    policy =
                        GENERATE("unified_int8", "distribution_adaptive", "dorefa", "wageubn", "range_bn");
  INFO(policy << " from " << from);
  const TemporaryFolder folder;
  const Overrides overrides = policy_overrides(policy);
  const auto first = engine_of(folder, overrides, from), second = engine_of(folder, overrides, to);
  for (int i = 0; i < 3; ++i) first->step();
  for (int i = 0; i < 4; ++i) second->step();  // what it knows of its weights must not outlive the load
  second->load_state(first->state());
  const bool forth = from == "cpu";
  require_equal_steps(forth ? *first : *second, forth ? *second : *first, 2);
}

TEST_CASE("steps of these policies as graphs are those launched kernel by kernel", "[training]") {
  const Overrides overrides =
      GENERATE(policy_overrides("dorefa"), policy_overrides("wageubn"), policy_overrides("range_bn"),
               Overrides{"precision=distribution_adaptive", "precision.options.fold=true"});
  INFO(overrides[0] << " " << overrides.back());
  const TemporaryFolder folder;
  const auto train = [&](const char* graphs) {
    ::setenv("OCTAVO_CUDA_GRAPHS", graphs, 1);
    auto engine = engine_of(folder, overrides, "cuda");
    ::unsetenv("OCTAVO_CUDA_GRAPHS");
    for (int i = 0; i < 6; ++i) {
      engine->step();
      if (i == 2) engine->evaluate();
    }
    return engine;
  };
  const auto with_graphs = train("1"), alone = train("0");
  require_equal(with_graphs->state().model, alone->state().model);
  require_equal(with_graphs->state().optimizer, alone->state().optimizer);
  CHECK(static_cast<device::PlanMemory&>(*with_graphs->training_plan().device).steps.launches() >= 2);
}

TEST_CASE("weights are not read for ranges that an update has told", "[training]") {
  using device::KnownMaxima;
  const TemporaryFolder folder;
  const auto engine = engine_of(folder, {"precision=int8_minmax"}, "cuda");
  engine->step();
  const long all = std::ssize(weights_of(*engine));
  REQUIRE(all > 8);
  CHECK(count(*engine, KnownMaxima::none) == all);
  engine->step();
  CHECK(count(*engine, KnownMaxima::rows) == all);
  // A graph that reads the weights is not one that does not.
  auto& plan = static_cast<device::PlanMemory&>(*engine->training_plan().device);
  const std::string passes = device::describe_passes(engine->program(), plan);
  plan.weights.back().known = KnownMaxima::none;
  CHECK(device::describe_passes(engine->program(), plan) != passes);
  engine->load_state(engine->state());
  engine->step();
  CHECK(count(*engine, KnownMaxima::none) == all);

  const auto squeezed = engine_of(folder, policy_overrides("dorefa"), "cuda");
  for (int i = 0; i < 2; ++i) squeezed->step();
  CHECK(count(*squeezed, KnownMaxima::none) == std::ssize(weights_of(*squeezed)));
}

#if OCTAVO_ARCH > 0
TEST_CASE("training on a card without matrix instructions is the same training", "[training]") {
  cuda_host_capability = 61;
  require_equal_training({"precision=auto", "model.file=every_op.yaml", "data.batch=10"}, 2);
  cuda_host_capability = 90;
}

TEST_CASE("all weights are updated in one launch, and quantized in two where their maxima are known") {
  const TemporaryFolder folder;
  const auto count = [](auto step) {
    const int before = cuda_host.kernels;
    step();
    return cuda_host.kernels - before;
  };
  const auto kernels = [&](const Overrides& more) {
    ::setenv("OCTAVO_CUDA_GRAPHS", "0", 1);
    const auto engine = engine_of(folder, with({"precision=int8_minmax"}, more), "cuda");
    ::unsetenv("OCTAVO_CUDA_GRAPHS");
    const int first = count([&] { engine->step(); }), second = count([&] { engine->step(); });
    CHECK(first == second + 1);  // it has looked for the maxima of all weights
    return second;
  };
  const int once = kernels({}), accumulated = kernels({"gradient.accumulate=2"});
  // A micro-step more has neither norm (two kernels), guard and update nor the two of weights.
  CHECK(2 * once - accumulated == 2 + 4);
  CHECK(kernels({"optimizer.type=fixed_point", "optimizer.momentum=0.25"}) == once + 1);
}
#endif

TEST_CASE("maxima of columns hold while their factors do", "[training]") {
  using device::KnownMaxima;
  const TemporaryFolder folder;
  const Overrides overrides{"precision=auto"};
  const auto cpu = engine_of(folder, overrides, "cpu"), gpu = engine_of(folder, overrides, "cuda");
  require_equal_steps(*cpu, *gpu, 5);
  // The policy looks at the channels in steps 3, 5 and 9, and changes their factors after these.
  for (int step = 5; step < 9; ++step) {
    if (step == 8)  // and we do between an update and the next step
      for (Engine* engine : {cpu.get(), gpu.get()})
        for (int i = 0; i < engine->program().slots.size(); ++i)
          for (float& factor : engine->program().slots[i].channel_factor) factor *= 1.25F;
    INFO(step);
    CHECK(cpu->step().loss == gpu->step().loss);
    CHECK((count(*gpu, KnownMaxima::columns) > 4) == (step == 5 || step == 7));
    CHECK(count(*gpu, KnownMaxima::rows) > 4);
  }
  require_equal(cpu->state().model, gpu->state().model);
}

TEST_CASE("Inf and NaN are told as on the CPU with these policies", "[training]") {
  const std::string policy = GENERATE("dorefa", "wageubn", "range_bn");
  const float bad = GENERATE(NAN, INFINITY);
  INFO(policy << " " << bad);
  const TemporaryFolder folder;
  const auto message = [&](const std::string& device) {
    const auto engine = engine_of(folder, policy_overrides(policy), device);
    engine->step();
    CheckpointContent content = engine->state();
    Tensor& first = content.model[0].tensor;
    first = first.clone();
    first.as<float>()[0] = bad;
    engine->load_state(content);
    return error_of(*engine);
  };
  const std::string text = message("cpu");
  CHECK(!text.empty());
  if (on_host) CHECK(message("cuda") == text);
}
