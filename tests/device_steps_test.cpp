// Whole trainings on the device: ops, options, errors, checkpoints, graphs.
#include "support/device_steps.h"
#include "support/test_ops.h"
#include "train/summary.h"

using namespace octavo;
using namespace octavo::testing;

TEST_CASE("every op of the device", "[training]") {
  const std::string policy = GENERATE("unified_int8", "distribution_adaptive", "auto"),
                    edges = GENERATE("fp32", "bf16");
  INFO(policy << " " << edges);
  require_equal_training(
      {"model.file=every_op.yaml", "data.batch=10", "precision=" + policy, "precision.edges=" + edges}, 3);
}

TEST_CASE("scales per row, folded scales, powers of two and wide integers on the device", "[training]") {
  const Overrides options =
      GENERATE(Overrides{"precision=int8_minmax", "precision.options.scales=row"},
               Overrides{"precision=distribution_adaptive", "precision.options.fold=true"},
               Overrides{"precision=dfp16"}, Overrides{"precision=auto", "precision.bits.gradient=16"},
               Overrides{"precision=unified_int8", "precision.products.grad_weight=int16"},
               Overrides{"precision=int8_minmax", "precision.options.gradient_rounding=nearest"});
  INFO(options[0] << " " << options.back());
  require_equal_training(with({"model.file=every_op.yaml", "data.batch=10"}, options), 3);
}

TEST_CASE("accumulation, clipping and recomputation on the device", "[training]") {
  const Overrides options =
      GENERATE(Overrides{"gradient.accumulate=3", "gradient.clip_norm=0.5", "precision=auto"},
               Overrides{"train.recompute=[net.*]", "precision=unified_int8", "precision.edges=bf16"},
               Overrides{"gradient.accumulate=2", "optimizer.momentum=0", "precision=distribution_adaptive"});
  INFO(options[0]);
  require_equal_training(with({"data.batch=8"}, options), 3);
}

TEST_CASE("batches of one sample", "[training]") {
  const std::string policy = GENERATE("unified_int8", "auto", "int8_minmax");
  const Overrides scales = policy == "int8_minmax" ? Overrides{"precision.options.scales=row"} : Overrides{};
  INFO(policy);
  require_equal_training(with({"data.batch=1", "precision=" + policy}, scales), 3);
}

namespace {

// Chains that begin with the sums of a product that knows of them.
int summed_pairs(const Graph& graph) {
  int pairs = 0;
  for (const Node& node : graph.nodes) {
    if (node.sums_from < 0) continue;
    const Node& product = graph.nodes[static_cast<std::size_t>(node.sums_from)];
    CHECK((product.tells_sums && product.outputs[0] == node.chain[0].inputs[0]));
    CHECK((!product.repeated && !node.repeated));
    ++pairs;
  }
  return pairs;
}

}  // namespace

TEST_CASE("products know of chains that begin with their sums, also behind nodes that recomputation drops") {
  const TemporaryFolder folder;
  write_text(folder / "nested.yaml", R"(
inputs: {image: [H, W, C], label: []}
blocks:
  pooled:
    body:
      - {name: bn, op: batch_norm}
      - {name: pool, op: max_pool, kernel: 3, stride: 1, pad: 1}
      - {name: conv, op: conv2d, out: 8, kernel: 3, pad: 1}
body:
  - {name: stem, op: conv2d, out: 8, kernel: 3, pad: 1}
  - {name: blocks, use: pooled, repeat: 2}
  - {name: last, op: batch_norm}
  - {name: flat, op: flatten}
  - {name: head, op: linear, out: 10}
  - {name: loss, op: softmax_cross_entropy, from: [head, label]}
outputs: {logits: head}
losses: {loss: loss}
)");
  const auto graph = [&](const Overrides& overrides) -> Graph {
    return engine_of(folder, with({"model.file=nested.yaml", "precision.products.forward=fp32"}, overrides),
                     "cpu")
        ->training_plan()
        .graph;
  };
  const Graph all = graph({}), fewer = graph({"train.recompute=[blocks*]"});
  CHECK(fewer.first_backward < all.first_backward);
  CHECK(summed_pairs(all) == 3);
  CHECK(summed_pairs(fewer) == 3);
}

TEST_CASE("sums of batch norm from the product before it", "[training]") {
  const Overrides options = GENERATE(Overrides{"precision=unified_int8", "precision.edges=bf16"},
                                     Overrides{"precision=auto", "gradient.accumulate=2", "data.batch=6"},
                                     Overrides{"precision=int8_minmax", "train.recompute=[stem, bn1, pair]"});
  INFO(options[0] << " " << options.back());
  const TemporaryFolder folder;
  const Overrides overrides = with({"model.file=summed.yaml", "data.batch=3"}, options);
  const auto cpu = engine_of(folder, overrides, "cpu"), gpu = engine_of(folder, overrides, "cuda");
  ::setenv("OCTAVO_CUDA_EPILOGUE_SUMS", "0", 1);
  const auto apart = engine_of(folder, overrides, "cuda");
  apart->step();
  ::unsetenv("OCTAVO_CUDA_EPILOGUE_SUMS");
  require_equal_steps(*cpu, *gpu, 3);
  for (int i = 0; i < 2; ++i) apart->step();
  require_equal(gpu->state().model, apart->state().model);

  const auto told = [](Engine& engine) {
    Plan& plan = engine.training_plan();
    std::vector<std::string> names;
    for (std::size_t i = 0; i < plan.graph.nodes.size(); ++i)
      if (static_cast<device::PlanMemory&>(*plan.device).product(i, 0).sums)
        names.push_back(plan.graph.nodes[i].name);
    return names;
  };
  CHECK(told(*gpu) == std::vector<std::string>{"stem", "pair"});
  CHECK(told(*apart).empty());
  CHECK(summed_pairs(gpu->training_plan().graph) == 5);
}

TEST_CASE("products with the chain behind them in their epilogue", "[training]") {
  const Overrides options = GENERATE(
      Overrides{"precision=unified_int8", "precision.edges=bf16"}, Overrides{"precision=int8_minmax"},
      Overrides{"precision=auto", "gradient.accumulate=2", "data.batch=6"},
      Overrides{"precision=unified_int8", "train.recompute=[first, act1, second, act2]"},
      Overrides{"precision=adaptive_precision"});
  INFO(options[0] << " " << options.back());
  const TemporaryFolder folder;
  const Overrides overrides = with({"model.file=chained.yaml", "data.batch=3"}, options);
  const auto cpu = engine_of(folder, overrides, "cpu"), gpu = engine_of(folder, overrides, "cuda");
  require_equal_steps(*cpu, *gpu, 4);
  const auto waiting = [](Plan& plan) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < plan.graph.nodes.size(); ++i)
      if (static_cast<device::PlanMemory&>(*plan.device).product(i, 0).waits)
        names.push_back(plan.graph.nodes[i].name);
    return names;
  };
  CHECK(waiting(gpu->training_plan()) == std::vector<std::string>{"first", "second", "third", "fc1", "fc2"});
#if OCTAVO_ARCH > 0
  const auto kernels = [](const auto& run) {
    const int before = cuda_host.kernels;
    run();
    return cuda_host.kernels - before;
  };
  const auto engine = [&](const char* chains) {
    ::setenv("OCTAVO_CUDA_GRAPHS", "0", 1), ::setenv("OCTAVO_CUDA_EPILOGUE_CHAINS", chains, 1);
    auto made = engine_of(folder, overrides, "cuda");
    for (int i = 0; i < 4; ++i) made->step();
    made->evaluate();
    ::unsetenv("OCTAVO_CUDA_GRAPHS"), ::unsetenv("OCTAVO_CUDA_EPILOGUE_CHAINS");
    return made;
  };
  const auto together = engine("1"), apart = engine("0");
  CHECK(waiting(apart->training_plan()).empty());
  const auto less = [&](const auto& run) {
    return kernels([&] { run(*apart); }) - kernels([&] { run(*together); });
  };
  // Ranges are given in evaluation; in training `auto` gives them, and its X has no batch copy to be turned.
  CHECK(less([](Engine& of) { of.evaluate(); }) > 0);
  CHECK((less([](Engine& of) { of.step(); }) > 0) == (options[0] == "precision=auto"));
  require_equal(together->state().model, apart->state().model);
#endif
}

TEST_CASE("networks of the zoo on the device", OCTAVO_LARGE) {
  register_step_runner("cuda", device::make_cuda_steps);
  struct Network {
    const char *config, *sizes;
  };
  const Network network = GENERATE(
      Network{"cifar10_resnet20", "data.size=32"}, Network{"cifar10_mobilenetv2", "model.with.width=0.5"},
      Network{"mnist_lenet", "data.size=28"}, Network{"imagenet_resnet18", "data.size=64"},
      Network{"imagenet_resnet50", "data.size=64"}, Network{"imagenet_mobilenetv2", "data.size=64"},
      Network{"imagenet_alexnet", "data.size=64"}, Network{"imagenet_vgg16", "data.size=32"});
  const std::string policy = GENERATE("unified_int8", "auto");
  const auto engine = [&](const std::string& device) {
    const Overrides overrides{"data.set=shapes",
                              "data.classes=0",
                              "data.size=32",
                              network.sizes,
                              "data.batch=2",
                              "data.samples=32",
                              "data.augment=[]",
                              "precision=" + policy,
                              "precision.edges=bf16",
                              "precision.keep_fp32=[]",
                              "train.steps=10",
                              "schedule.type=constant",
                              "schedule.warmup=0 steps",
                              "optimizer.lr=1e-3",
                              "train.device=" + device};
    return std::make_unique<Engine>(Config::load(
        std::string(OCTAVO_SOURCE_DIR) + "/configs/" + network.config + ".yaml", overrides, catalog()));
  };
  INFO(network.config << " " << policy);
  require_equal_steps(*engine("cpu"), *engine("cuda"), 2);
}

TEST_CASE("layers in float on the device are those of the CPU but for rounding", "[training]") {
  const std::string policy = GENERATE("fp32", "unified_int8", "auto");
  INFO(policy);
  const TemporaryFolder folder;
  const Overrides overrides{"model.file=every_op.yaml", "data.batch=10", "precision=" + policy,
                            "precision.keep_fp32=[stem, deep, sides, fc1]"};
  const auto cpu = engine_of(folder, overrides, "cpu"), gpu = engine_of(folder, overrides, "cuda");
  // On a GPU a rounding of an integer may fall elsewhere.
  const int steps = on_host ? 3 : 1;
  const double bound = on_host || policy == "fp32" ? 1e-6 : 1e-3;
  for (int i = 0; i < steps; ++i) {
    const StepReport a = cpu->step(), b = gpu->step();
    CHECK(std::fabs(b.loss - a.loss) <= 1e-6 * a.loss);
    CHECK(std::fabs(b.gradient_norm - a.gradient_norm) <= bound * a.gradient_norm);
    require_close_gradients(*cpu, *gpu, a.gradient_norm, bound);
  }
  CHECK(cpu->macs().integer == gpu->macs().integer);
  CHECK(cpu->macs().all == gpu->macs().all);
}

TEST_CASE("products switched off one by one on the device", "[training]") {
  const std::string product = GENERATE("forward", "grad_input", "grad_weight");
  INFO(product);
  const TemporaryFolder folder;
  const Overrides overrides{"model.file=every_op.yaml", "data.batch=10", "precision=auto",
                            "precision.products." + product + "=fp32"};
  const auto cpu = engine_of(folder, overrides, "cpu"), gpu = engine_of(folder, overrides, "cuda");
  const StepReport a = cpu->step(), b = gpu->step();
  CHECK(std::fabs(b.loss - a.loss) <= 1e-6 * a.loss);
  require_close_gradients(*cpu, *gpu, a.gradient_norm, 1e-3);
  CHECK(cpu->macs().integer == gpu->macs().integer);
}

TEST_CASE("the precision plan names the device's kernels") {
  const TemporaryFolder folder;
  const auto engine =
      engine_of(folder, {"precision=auto", "model.file=every_op.yaml", "precision.keep_fp32=[stem]"}, "cuda");
  const std::string plan = precision_plan(engine->training_plan(), engine->program());
  for (const char* kernel : {"cuda/conv_s8", "cuda/conv_s8 by class", "cuda/depthwise_s8", "cuda/conv_f32"})
    CHECK_THAT(plan, ContainsSubstring(kernel));
  CHECK_THAT(plan, !ContainsSubstring("avx") && !ContainsSubstring("onednn"));
}

TEST_CASE("a checkpoint of the CPU goes on on the device, and the other way", "[training]") {
  const std::string from = GENERATE("cpu", "cuda"), to = from == "cpu" ? "cuda" : "cpu";
  const TemporaryFolder folder;
  const Overrides overrides{"precision=auto"};
  const auto first = engine_of(folder, overrides, from);
  for (int i = 0; i < 3; ++i) first->step();
  const auto second = engine_of(folder, overrides, to);
  second->load_state(first->state());
  const bool forth = from == "cpu";
  require_equal_steps(forth ? *first : *second, forth ? *second : *first, 2);
}

TEST_CASE("two trainings on the device are the same", "[training]") {
  const TemporaryFolder folder;
  const Overrides overrides{"precision=auto", "precision.edges=bf16", "model.file=every_op.yaml"};
  const auto one = engine_of(folder, overrides, "cuda"), two = engine_of(folder, overrides, "cuda");
  for (int i = 0; i < 6; ++i) {
    one->step();
    CHECK(two->step().loss > 0);
  }
  require_equal(one->state().model, two->state().model);
  require_equal(one->state().optimizer, two->state().optimizer);
}

TEST_CASE("steps as graphs are those launched kernel by kernel", "[training]") {
  const TemporaryFolder folder;
  const Overrides more =
      GENERATE(Overrides{"precision=int8_minmax"}, Overrides{"precision=unified_int8"},
               Overrides{"precision=int8_minmax", "gradient.accumulate=2", "data.batch=8"});
  INFO(more.back());
  const Overrides overrides = with({"model.file=every_op.yaml", "precision.edges=bf16"}, more);
  const auto train = [&](const char* graphs) {
    ::setenv("OCTAVO_CUDA_GRAPHS", graphs, 1);
    auto engine = engine_of(folder, overrides, "cuda");
    ::unsetenv("OCTAVO_CUDA_GRAPHS");
    std::vector<double> losses{engine->evaluate().loss};
    for (int i = 0; i < 6; ++i) {
      losses.push_back(engine->step().loss);
      if (i == 3) losses.push_back(engine->evaluate().loss);
    }
    losses.push_back(engine->evaluate().loss);
    return std::pair(std::move(engine), losses);
  };
  const auto [with_graphs, losses] = train("1");
  const auto [alone, expected] = train("0");
  CHECK(losses == expected);
  require_equal(with_graphs->state().model, alone->state().model);
  require_equal(with_graphs->state().optimizer, alone->state().optimizer);
  const auto launches = [](Engine& engine) {
    return static_cast<device::PlanMemory&>(*engine.training_plan().device).steps.launches();
  };
  // unified_int8 looks at histograms in its first step, and holds ranges from the second on
  CHECK(launches(*with_graphs) >= 4);
  CHECK(launches(*alone) == 0);
}

TEST_CASE("what is not finite is told as on the CPU, and no weight changes", "[training]") {
  const TemporaryFolder folder;
  const std::string bad = GENERATE("", "stem.weight", "bn1.bias", "head.bias");
  INFO(bad);
  const Overrides overrides{"precision=auto", "optimizer.lr=1000", "model.file=every_op.yaml"};
  const auto message = [&](Engine& engine) {
    engine.step();
    CheckpointContent before = engine.state();
    for (NamedTensor& entry : before.model) {
      entry.tensor = entry.tensor.clone();
      if (entry.name == bad) entry.tensor.as<float>()[0] = NAN;
    }
    for (NamedTensor& entry : before.optimizer) entry.tensor = entry.tensor.clone();
    engine.load_state(before);
    std::string text = error_of(engine);
    for (int i = 0; i < 3 && bad.empty() && text.empty(); ++i) {
      before = engine.state();
      for (NamedTensor& entry : before.optimizer) entry.tensor = entry.tensor.clone();
      text = error_of(engine);
    }
    require_equal(before.optimizer, engine.state().optimizer);
    return text;
  };
  const std::string text = message(*engine_of(folder, overrides, "cpu"));
  CHECK_THAT(text, ContainsSubstring(bad.empty() ? "the norm of the gradients is inf" : "Inf or NaN"));
  const std::string found = message(*engine_of(folder, overrides, "cuda"));
  CHECK_THAT(found, ContainsSubstring("weights are those before this step"));
  if (on_host || !bad.empty()) CHECK(found == text);
}

TEST_CASE("a label beyond the classes is told as on the CPU") {
  const TemporaryFolder folder;
  const Overrides overrides{"precision=auto", "model.with.classes=2"};
  const std::string text = error_of(*engine_of(folder, overrides, "cpu"));
  CHECK_THAT(text, ContainsSubstring("outside the model's 2 classes"));
  CHECK(error_of(*engine_of(folder, overrides, "cuda")) == text);
}

TEST_CASE("the device names what it does not have") {
  const TemporaryFolder folder;
  const auto error = [&](const Overrides& overrides) -> std::string {
    try {
      return error_of(*engine_of(folder, overrides, "cuda"));
    } catch (const Error& failure) {
      return failure.what();
    }
  };
  octavo::test::register_test_ops();
  CHECK_THAT(error({"model.file=own_op.yaml"}), ContainsSubstring("'test_offset' has no kernels"));
  write_text(folder / "plan.yaml", "{cpu: any, isa: ref, threads: 1, products: []}\n");
  CHECK_THAT(error({"plan=" + (folder / "plan.yaml").string()}),
             ContainsSubstring("a kernel plan is for the CPU"));
  CHECK_THAT(error({"precision.weight_range=held"}), ContainsSubstring("held is for the CPU"));
#if OCTAVO_ARCH > 0  // only the host's runtime can be short of memory
  cuda_host.largest_block = 1000000;
  const std::string full = error({"data.batch=64"});
  cuda_host.largest_block = SIZE_MAX;
  CHECK_THAT(full, ContainsSubstring("the device has no") &&
                       ContainsSubstring("for activations and gradients") &&
                       ContainsSubstring("parameters, gradients and optimizer state: ") &&
                       ContainsSubstring("lower data.batch"));
#endif
}
