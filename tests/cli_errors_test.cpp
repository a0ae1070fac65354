// What octavo says about wrong input: exit codes and messages.
#include <sys/stat.h>

#include "cli_support.h"
#include "octavo/precision.h"
#include "octavo/trainer.h"

using namespace octavo::testing;
namespace fs = std::filesystem;

namespace {

struct Case {
  std::string name, text;             // of the configuration
  std::vector<std::string> expected;  // all in the message
};

std::string bomb() {
  std::string text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n";
  for (char c = 'b'; c < 'j'; ++c) {
    const std::string before = std::string("*") + static_cast<char>(c - 1);
    text += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 10; ++i) text += (i > 0 ? ", " : "") + before;
    text += "]\n";
  }
  return text;
}

std::string model(const std::string& nodes) {
  return "inputs: {image: [H, W, C], label: []}\nbody:\n" + nodes +
         "outputs: {logits: head}\nlosses: {loss: loss}\n";
}

const std::string end_nodes =
    "  - {name: pool, op: global_avg_pool}\n  - {name: head, op: linear, out: 10}\n"
    "  - {name: loss, op: softmax_cross_entropy, from: [head, label]}\n";

}  // namespace

TEST_CASE("wrong configurations end with 2 and say where and what") {
  TemporaryFolder folder;
  const std::string good = tiny_config();
  const std::vector<Case> cases = {
      {"unknown key", good + "optimiser: {lr: 1}\n", {"a.yaml:6:1", "optimiser", "did you mean 'optimizer'"}},
      {"wrong type", good + "gradient: {accumulate: many}\n", {"a.yaml:6:24", "gradient.accumulate", "many"}},
      {"out of range", good + "gradient: {accumulate: 0}\n", {"a.yaml:6:24", "gradient.accumulate", "'0'"}},
      {"duplicate key",
       good + "gradient: {clip_norm: 1}\ngradient: {clip_norm: 2}\n",
       {"a.yaml:7:1", "gradient"}},
      {"alias bomb", bomb(), {"a.yaml"}},
      {"alias cycle", "model: &a [*a]\n", {"a.yaml"}},
      {"deep", std::string(1000, '['), {"a.yaml:1:"}},
      {"merge key", "a: &a {x: 1}\nmodel:\n  <<: *a\n", {"a.yaml"}},
      {"second document", good + "---\nmodel: {use: x}\n", {"a.yaml", "document"}},
      {"open bracket", "model: {use: [\n", {"a.yaml:"}},
      {"tab", "model:\n\tuse: x\n", {"a.yaml:2"}},
      {"only a comma", ",", {"a.yaml"}},
      {"not finite", good + "gradient: {clip_norm: .nan}\n", {"a.yaml:6:23", "gradient.clip_norm"}},
      {"several at once", good + "gradient: {accumulate: 0, clip: 1}\n", {"'0'", "unknown key 'clip'"}},
  };
  for (const Case& wrong : cases) {
    INFO(wrong.name);
    write_text(folder / "a.yaml", wrong.text);
    for (const std::string command : {"check", "train"}) {
      const Outcome outcome = octavo_run(folder, {command, "a.yaml"});
      CHECK(outcome.code == 2);
      CHECK(outcome.out.empty());
      for (const std::string& text : wrong.expected) CHECK_THAT(outcome.err, ContainsSubstring(text));
    }
  }
  CHECK(!fs::exists(folder / "runs"));
}

TEST_CASE("a configuration that is no regular file ends with 2 at once") {
  TemporaryFolder folder;
  fs::create_directory(folder / "folder.yaml");
  ::mkfifo((folder / "pipe.yaml").c_str(), 0644);
  for (const std::string name : {"folder.yaml", "pipe.yaml", "missing.yaml", "/dev/zero"}) {
    const Outcome outcome = octavo_run(folder, {"check", name});
    CHECK(outcome.code == 2);
    CHECK_THAT(outcome.err, ContainsSubstring(name));
  }
}

TEST_CASE("wrong models end with 2 and name node, place and shapes") {
  TemporaryFolder folder;
  const std::string sum =
      "  - {name: a, op: conv2d, out: 4, kernel: 3}\n"
      "  - {name: b, op: conv2d, out: 8, kernel: 3, pad: 1, from: image}\n"
      "  - {name: s, op: add, from: [a, b]}\n";
  const std::vector<Case> cases = {
      {"shape mismatch", sum + end_nodes, {"m.yaml:5:", "[add 's']", "16x6x6x4", "16x8x8x8"}},
      {"kernel too large",
       "  - {name: a, op: conv2d, out: 4, kernel: 9}\n" + end_nodes,
       {"m.yaml:3:", "[conv2d 'a']", "9"}},
      {"two at once",
       "  - {name: a, op: conv2d, out: 4, kernel: 9}\n"
       "  - {name: b, op: conv2d, out: 4, kernel: 10, from: image}\n" +
           end_nodes,
       {"[conv2d 'a']", "[conv2d 'b']"}},
      {"unknown attribute",
       "  - {name: a, op: conv2d, out: 4, kernal: 3, kernel: 3}\n" + end_nodes,
       {"m.yaml:3:", "[conv2d 'a']", "kernal"}},
      {"unknown op",
       "  - {name: a, op: conv2, out: 4, kernel: 3}\n" + end_nodes,
       {"m.yaml:3:", "conv2", "did you mean 'conv2d'"}},
      {"overflow",
       "  - {name: a, op: conv2d, out: 1099511627775, kernel: 100000, pad: 50000}\n" + end_nodes,
       {"[conv2d 'a']"}},
      {"overflow of the window",
       "  - {name: a, op: conv2d, out: 1, kernel: 1099511627775, dilation: 1099511627775}\n" + end_nodes,
       {"m.yaml:3:", "[conv2d 'a']", "does not fit 63 bits"}},
  };
  for (const Case& wrong : cases) {
    INFO(wrong.name);
    write_text(folder / "m.yaml", model(wrong.text));
    std::string config = tiny_config();
    config.replace(0, config.find('\n'), "model: {file: m.yaml}");
    write_text(folder / "a.yaml", config);
    const Outcome outcome = octavo_run(folder, {"check", "a.yaml"});
    CHECK(outcome.code == 2);
    for (const std::string& text : wrong.expected) CHECK_THAT(outcome.err, ContainsSubstring(text));
  }
}

TEST_CASE("wrong command lines end with 2") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config());
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{},
                                                    {"trian", "a.yaml"},
                                                    {"train"},
                                                    {"train", "a.yaml", "--steps", "0"},
                                                    {"train", "a.yaml", "data.batch"},
                                                    {"train", "a.yaml", "data.batch="},
                                                    {"train", "a.yaml", "a.b==1"},
                                                    {"train", "a.yaml", "--device", "tpu"},
                                                    {"list", "nothing"}}) {
    const Outcome outcome = octavo_run(folder, arguments);
    CHECK(outcome.code == 2);
    CHECK(!outcome.err.empty());
  }
  ::setenv("OCTAVO_ISA", "sse9", 1);
  const Outcome isa = octavo_run(folder, {"check", "a.yaml"});
  ::unsetenv("OCTAVO_ISA");
  CHECK(isa.code == 2);
  CHECK_THAT(isa.err, ContainsSubstring("sse9"));
  const Outcome cuda = octavo_run(folder, {"train", "a.yaml", "--device", "cuda"});
  CHECK(cuda.code == 5);
  CHECK_THAT(cuda.err, ContainsSubstring("--device cpu"));
}

TEST_CASE("strict precision accepts what the configuration says and nothing else") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config());
  octavo_good(folder, {"check", "a.yaml", "--strict-precision"});
  octavo_good(folder, {"check", "a.yaml", "precision.products.grad_weight=fp32", "--strict-precision"});
  octavo_good(folder, {"check", "a.yaml", "precision=fp32", "--strict-precision"});

  struct HalfFloat : octavo::Policy {
    octavo::LayerFormats formats(const octavo::LayerInfo& layer) const override {
      octavo::LayerFormats formats;
      formats.forward.integer = formats.grad_weight.integer = true;
      formats.grad_input.integer = !layer.name.ends_with("conv2");
      return formats;
    }
    octavo::SlotDecision decide(const octavo::SlotObservation&) const override { return {}; }
  };
  octavo::PolicyDef policy;
  policy.name = "half_float";
  policy.make = [](const octavo::PolicyRequest&) { return std::make_unique<HalfFloat>(); };
  octavo::register_policy(policy);
  const auto build = [&](const std::vector<std::string>& overrides) {
    octavo::Trainer trainer(octavo::Config::load((folder / "a.yaml").string(), overrides, octavo::catalog()));
  };
  build({"precision=half_float"});
  build({"precision=half_float", "precision.strict=true", "precision.keep_fp32=['*conv2']"});
  try {
    build({"precision=half_float", "precision.strict=true"});
    FAIL("not refused");
  } catch (const octavo::Error& error) {
    CHECK(error.code() == octavo::Errc::config);
    CHECK_THAT(error.what(), ContainsSubstring("net.stage2.0.conv2 grad_input"));
    CHECK_THAT(error.what(), !ContainsSubstring("conv1"));
  }
}

TEST_CASE("missing and damaged data end with 3") {
  TemporaryFolder folder;
  std::string config = tiny_config();
  const auto use = [&](const std::string& data) {
    std::string text = config;
    const std::size_t from = text.find("data:");
    text.replace(from, text.find('\n', from) - from, data);
    write_text(folder / "a.yaml", text);
    return octavo_run(folder, {"train", "a.yaml", "--out", "run"});
  };
  const Outcome missing = use("data: {set: cifar10, path: nowhere, batch: 16}");
  CHECK(missing.code == 3);
  CHECK_THAT(missing.err, ContainsSubstring((folder / "nowhere").string()));
  CHECK_THAT(missing.err, ContainsSubstring("data.set=shapes"));

  fs::create_directory(folder / "cifar");
  const std::string records(10000 * 3073, '\1');
  for (int i = 1; i <= 5; ++i)
    write_text(folder / ("cifar/data_batch_" + std::to_string(i) + ".bin"), records);
  write_text(folder / "cifar/test_batch.bin", records);
  write_text(folder / "cifar/data_batch_3.bin", records.substr(0, 4000));
  const Outcome truncated = use("data: {set: cifar10, path: cifar, batch: 16}");
  CHECK(truncated.code == 3);
  CHECK_THAT(truncated.err, ContainsSubstring("data_batch_3.bin"));
  CHECK(!fs::exists(folder / "run"));
}

TEST_CASE("damaged checkpoints end with 4, and with 8 when asked to verify") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config("unified_int8", 4));
  octavo_good(folder, {"train", "a.yaml", "--out", "run"});
  const fs::path model = folder / "run/checkpoints/step-4/model.safetensors";
  const std::string bytes = read_text(model);
  octavo_good(folder, {"inspect", "run/checkpoints/step-4", "--verify"});

  std::string flipped = bytes;
  flipped[bytes.size() - 100] = static_cast<char>(flipped[bytes.size() - 100] ^ 4);
  for (const std::string& damaged : {flipped, bytes.substr(0, bytes.size() - 1), std::string()}) {
    write_text(model, damaged);
    for (const std::string command : {"eval", "resume", "inspect"}) {
      const Outcome outcome = octavo_run(folder, {command, "run"});
      CHECK(outcome.code == 4);
      CHECK_THAT(outcome.err, ContainsSubstring("model.safetensors"));
    }
    CHECK(octavo_run(folder, {"inspect", "run", "--verify"}).code == 8);
  }
  // The next older one is taken when the user says so, and the result is that of the unbroken run.
  octavo_good(folder, {"train", "a.yaml", "train.checkpoint_every=2 steps", "--out", "again"});
  const fs::path last = folder / "again/checkpoints/step-4/model.safetensors";
  const std::string metrics = read_text(folder / "again/metrics.jsonl");
  write_text(last, flipped);
  const Outcome plain = octavo_run(folder, {"resume", "again"});
  CHECK(plain.code == 4);
  CHECK_THAT(plain.err, ContainsSubstring("--checkpoint auto"));
  const Outcome automatic = octavo_good(folder, {"resume", "again", "--checkpoint", "auto"});
  CHECK_THAT(automatic.err, ContainsSubstring("from step 2"));
  CHECK_THAT(automatic.err, ContainsSubstring("warning: ") && ContainsSubstring("has checksum"));
  CHECK((read_text(last) == bytes));
  octavo_good(folder, {"resume", "again", "--checkpoint", "2"});
  CHECK((read_text(last) == bytes));
  const auto lines = [](const std::string& text) { return std::count(text.begin(), text.end(), '\n'); };
  CHECK(lines(read_text(folder / "again/metrics.jsonl")) == lines(metrics));
  write_text(model, bytes);
  const Outcome other = octavo_run(folder, {"eval", "run", "model.with.width=8"});
  CHECK(other.code == 4);
  CHECK_THAT(other.err, ContainsSubstring("does not fit the model"));
  CHECK(octavo_run(folder, {"eval", "run", "--checkpoint", "7"}).code == 4);
  CHECK(octavo_run(folder, {"eval", "nowhere"}).code == 4);
  CHECK(octavo_run(folder, {"resume", "last"}).code == 4);
}
