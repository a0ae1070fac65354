// Recomputation by block: the same training bit for bit, in less memory.
#include <cstring>

#include "cli_support.h"
#include "lab/fidelity.h"
#include "octavo/op.h"
#include "support/catch.h"
#include "train/engine.h"
#include "train/summary.h"

using namespace octavo;
using namespace octavo::testing;

namespace {

// Biases, dropout and pooling in a block, a chain over the border of two blocks (`sum` and `bn` of stage2),
// weights that two blocks share, a frozen stem, two losses.
const char* model = R"(
parameters: {classes: 10, norm: batch_norm}
inputs: {image: [H, W, C], label: []}
blocks:
  residual:
    body:
      - {name: conv1, op: conv2d, out: 8, kernel: 3, pad: 1, bias: true}
      - {name: bn1, op: "${norm}"}
      - {name: relu1, op: relu6}
      - {name: drop, op: dropout, p: 0.2}
      - {name: conv2, op: conv2d, out: 8, kernel: 3, pad: 1}
      - {name: bn2, op: "${norm}"}
      - {name: sum, op: add, from: [bn2, in]}
      - {name: relu2, op: relu}
  before:
    body:
      - {name: bn, op: "${norm}"}
      - {name: relu, op: relu}
      - {name: pool, op: max_pool, kernel: 3, stride: 1, pad: 1}
      - {name: conv, op: conv2d, out: 8, kernel: 3, pad: 1}
      - {name: count, op: count_runs}
      - {name: sum, op: add, from: [count, in]}
body:
  - name: stem
    frozen: true
    body:
      - {name: conv, op: conv2d, out: 8, kernel: 3, pad: 1}
      - {name: bn, op: "${norm}"}
      - {name: relu, op: relu}
  - {name: stage1, use: residual, repeat: 2}
  - {name: stage2, use: before, repeat: 2}
  - {name: twin, use: residual, repeat: 2, share: weights}
  - {name: mean, op: global_avg_pool, when: train}
  - {name: side, op: linear, out: "${classes}", when: train}
  - {name: aux, op: softmax_cross_entropy, from: [side, label], when: train}
  - {name: small, op: avg_pool, kernel: 2, from: twin}
  - {name: flat, op: flatten}
  - {name: head, op: linear, out: "${classes}"}
  - {name: loss, op: softmax_cross_entropy, from: [head, label]}
outputs: {logits: head}
losses: {loss: loss, aux: {from: aux, weight: 0.3}}
)";

/// Has a state and does not say that it can run twice: it must not.
void add_count_runs() {
  static const bool once = [] {
    OpDef op;
    op.type = "count_runs";
    op.infer = [](const Signature& signature) { return std::vector{signature.inputs[0]}; };
    op.states = [](const Signature&) { return std::vector<StateSpec>{{"runs", {1}, 0}}; };
    op.forward = [](OpContext& context) {
      if (context.signature().phase == Phase::train) context.state(0)[0] += 1;
      std::memcpy(context.output(0), context.input(0),
                  static_cast<std::size_t>(context.signature().inputs[0].bytes()));
    };
    op.backward = [](OpContext& context) {
      std::memcpy(context.grad_input(0), context.grad_output(0),
                  static_cast<std::size_t>(context.signature().inputs[0].bytes()));
    };
    op.needs = {.inputs = false, .outputs = false};
    register_op(op);
    return true;
  }();
  (void)once;
}

Config config_of(const TemporaryFolder& folder, const std::vector<std::string>& overrides) {
  add_count_runs();
  write_text(folder / "m.yaml", model);
  write_text(folder / "a.yaml",
             "model: {file: m.yaml}\ndata: {set: shapes, size: 8, samples: 64, batch: 8}\n"
             "optimizer: {lr: 0.02, momentum: 0.9}\ntrain: {steps: 8, seed: 3, threads: 1}\n");
  return Config::load((folder / "a.yaml").string(), overrides, catalog());
}

/// All that a training leaves, bit for bit: weights, running statistics, momentum, the policy's state and
/// events.
struct Trained {
  std::string state, events;
  std::vector<double> losses;
  std::int64_t arena = 0;
  MacCount macs;
  bool operator==(const Trained& o) const {
    return state == o.state && events == o.events && losses == o.losses;
  }
};

std::string bytes_of(const CheckpointContent& content) {
  std::string all = content.state.dump();
  for (const NamedTensors* list : {&content.model, &content.optimizer})
    for (const NamedTensor& entry : *list)
      all.append(static_cast<const char*>(entry.tensor.data()),
                 static_cast<std::size_t>(entry.tensor.bytes()));
  return all;
}

Trained train(std::vector<std::string> overrides, const std::string& blocks, bool fusion = true) {
  TemporaryFolder folder;
  overrides.push_back("train.recompute=" + blocks);
  Engine engine(config_of(folder, overrides));
  engine.program().fusion = fusion;
  engine.program().reset_plans();
  Trained result;
  for (int step = 0; step < 4; ++step)
    result.losses.push_back(
        engine.step([&](const nlohmann::ordered_json& event) { result.events += event.dump(); }).loss);
  result.losses.push_back(engine.evaluate().loss);
  result.arena = engine.training_plan().arena_bytes;
  result.macs = engine.macs();
  result.state = bytes_of(engine.state());
  return result;
}

void check_blocks(const std::vector<std::string>& overrides, bool fusion = true) {
  const Trained kept = train(overrides, "[]", fusion);
  for (const char* blocks : {"[stage1.*, stage2.*]", "[stage1, twin.*, stage2]", "['*']"}) {
    CAPTURE(overrides, blocks);
    const Trained again = train(overrides, blocks, fusion);
    CHECK(again == kept);
    CHECK(again.arena < kept.arena);
    CHECK(again.macs.all[0] > kept.macs.all[0]);
    for (std::size_t p : {1, 2}) CHECK(again.macs.all[p] == kept.macs.all[p]);
  }
}

constexpr const char* blocks = "[stage1.*, stage2.*, twin.*, stem]";

}  // namespace

TEST_CASE("with and without recomputation every policy trains the same, bit for bit") {
  const std::string policy = GENERATE("fp32", "unified_int8", "int8_minmax", "distribution_adaptive",
                                      "adaptive_precision", "dorefa", "wageubn", "dfp16", "auto");
  check_blocks({"precision=" + policy, "precision.keep_fp32=[]"});
}

TEST_CASE("the same for accumulated gradients, bfloat16 edges, single products in FP32, and without fusion") {
  const std::string policy = GENERATE("fp32", "unified_int8", "auto");
  check_blocks({"precision=" + policy, "gradient.accumulate=3"});
  check_blocks({"precision=" + policy}, false);
  check_blocks({"precision=" + policy, "model.with.norm=range_batch_norm"});
  if (policy == "fp32") return;
  check_blocks({"precision=" + policy, "precision.keep_fp32=[]", "precision.edges=bf16"});
  check_blocks({"precision=" + policy, "precision.keep_fp32=['*.conv1']", "precision.edges=bf16"});
  check_blocks({"precision=" + policy, "precision.products.forward=fp32"});
  check_blocks({"precision=" + policy, "precision.products.grad_weight=int16", "precision.edges=bf16"});
}

TEST_CASE("recomputation does not depend on the number of threads") {
  const Trained one = train({"precision=unified_int8"}, blocks);
  CHECK(train({"precision=unified_int8", "train.threads=3"}, blocks) == one);
}

TEST_CASE("a checkpoint goes on with and without recomputation") {
  TemporaryFolder folder;
  const auto engine = [&](const std::string& recomputed) {
    return std::make_unique<Engine>(config_of(folder, {"precision=auto", "train.recompute=" + recomputed}));
  };
  const auto first = engine(blocks), kept = engine("[]"), again = engine(blocks);
  for (int step = 0; step < 3; ++step) first->step();
  for (const auto& other : {kept.get(), again.get()}) {
    other->load_state(first->state());
    for (int step = 0; step < 2; ++step) other->step();
  }
  CHECK(bytes_of(kept->state()) == bytes_of(again->state()));
}

TEST_CASE("states count each batch once, also those of ops that cannot run again") {
  TemporaryFolder folder;
  Engine engine(config_of(folder, {"train.recompute=['*']"}));
  for (int step = 0; step < 3; ++step) engine.step();
  int found = 0;
  for (const NamedTensor& entry : engine.state().model)
    if (entry.name.ends_with(".runs")) {
      CHECK(entry.tensor.as<float>()[0] == 3);
      ++found;
    }
  CHECK(found == 2);
}

TEST_CASE("evaluation plans stay as they are, and so do the tables of products") {
  TemporaryFolder folder;
  Engine kept(config_of(folder, {"precision=unified_int8"})),
      again(config_of(folder, {"precision=unified_int8", "train.recompute=['*']"}));
  CHECK(kept.evaluation_plan().graph.nodes.size() == again.evaluation_plan().graph.nodes.size());
  CHECK(kept.evaluation_plan().arena_bytes == again.evaluation_plan().arena_bytes);
  CHECK(precision_plan(kept.training_plan(), kept.program()) ==
        precision_plan(again.training_plan(), again.program()));
}

TEST_CASE("the laboratory sees the same tensors") {
  TemporaryFolder folder;
  const auto seen = [&](const std::string& recomputed) {
    Engine engine(config_of(folder, {"precision=fp32", "train.recompute=" + recomputed}));
    std::string all;
    visit_layers(engine, [&](const LayerTensors& layer) {
      const ProductShape& p = layer.shape;
      all += layer.info.name + (layer.x_non_negative ? " +" : " ");
      all.append(reinterpret_cast<const char*>(layer.x), static_cast<std::size_t>(4 * p.n * p.h * p.w * p.c));
      all.append(reinterpret_cast<const char*>(layer.g),
                 static_cast<std::size_t>(4 * p.n * p.ho * p.wo * p.k));
    });
    return all;
  };
  CHECK((seen(blocks) == seen("[]")));
}

TEST_CASE(
    "train.recompute names blocks: errors carry their place, bench and print-graph show what runs again") {
  TemporaryFolder folder;
  const auto config = [&](const std::string& recomputed) {
    write_text(folder / "a.yaml", "model: {file: " + models + "resnet8.yaml}\n" +
                                      "data: {set: shapes, size: 8, samples: 64, batch: 16}\n"
                                      "train: {steps: 4, threads: 1, recompute: " +
                                      recomputed + "}\nprecision: {policy: unified_int8}\n");
  };
  config("[net.stage1.*, nett.stage2, 'x*']");
  const Outcome wrong = octavo_run(folder, {"check", "a.yaml"});
  CHECK(wrong.code == 2);
  CHECK_THAT(wrong.err,
             ContainsSubstring("a.yaml:3:42: train.recompute: 'nett.stage2' matches no block of the model; "
                               "did you mean 'net.stage2'?") &&
                 ContainsSubstring("a.yaml:3:42: train.recompute: 'x*' matches no block"));
  config("[net.stage1.*]");
  octavo_good(folder, {"check", "a.yaml"});
  CHECK_THAT(octavo_good(folder, {"print-graph", "a.yaml"}).out,
             ContainsSubstring("net.stage1.0.conv1:recompute  [conv2d again]") &&
                 !ContainsSubstring("net.stage1.0.sum:recompute"));
  CHECK_THAT(octavo_good(folder, {"bench", "a.yaml", "--steps", "2"}).out,
             ContainsSubstring("forward again") && ContainsSubstring("pointwise again"));
}
