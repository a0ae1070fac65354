// octavo check: everything that is wrong in one go; sizes beyond the memory; the plan that a run prints.
#include "cli_support.h"

using namespace octavo::testing;
namespace fs = std::filesystem;

namespace {

const std::string head = "inputs: {image: [H, W, C], label: []}\nbody:\n";
const std::string tail =
    "  - {name: pool, op: global_avg_pool}\n  - {name: head, op: linear, out: 10}\n"
    "  - {name: loss, op: softmax_cross_entropy, from: [head, label]}\n"
    "outputs: {logits: head}\nlosses: {loss: loss}\n";

std::string config_with(const std::string& data, const std::string& more = "") {
  return "model: {file: m.yaml}\ndata: " + data + "\noptimizer: {lr: 0.05}\ntrain: {steps: 8, threads: 2}\n" +
         "precision: {policy: unified_int8}\n" + more;
}

const std::string shapes = "{set: shapes, size: 8, samples: 64, batch: 16}";

void contains_all(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) CHECK_THAT(text, ContainsSubstring(part));
}

}  // namespace

TEST_CASE("check lists what is wrong in configuration, model and data together") {
  TemporaryFolder folder;
  write_text(folder / "m.yaml", head +
                                    "  - {name: a, op: conv2d, out: 4, kernel: 3, kernal: 3}\n"
                                    "  - {name: b, op: conv2d, out: 8, kernel: 99, from: image}\n"
                                    "  - {name: c, op: relu, from: imag}\n"
                                    "  - {name: d, op: conv2, out: 3, from: image}\n"
                                    "  - {name: e, op: add, from: [a, d]}\n" +
                                    tail);
  write_text(folder / "a.yaml",
             config_with("{set: cifar10, path: nowhere, batch: 0}", "optimiser: {lr: 1}\n"));
  const Outcome outcome = octavo_run(folder, {"check", "a.yaml"});
  CHECK(outcome.code == 2);
  CHECK(outcome.out.empty());
  contains_all(outcome.err,
               {"a.yaml:2:44: 'data.batch'", "a.yaml:6:1: unknown key 'optimiser'",
                "m.yaml:5:31: unknown value 'imag'", "m.yaml:3:46: [conv2d 'a'] unknown attribute 'kernal'",
                "m.yaml:4:5: [conv2d 'b'] a window of 99 does not fit 32", "did you mean 'conv2d'?",
                (folder / "nowhere").string()});
  CHECK_THAT(outcome.err, !ContainsSubstring("[add 'e']"));  // follows from what is listed
  CHECK_THAT(outcome.err, !ContainsSubstring("unknown value 'a'"));
}

TEST_CASE("check looks at the model when the data are missing") {
  TemporaryFolder folder;
  write_text(folder / "m.yaml", head + "  - {name: a, op: conv2d, out: 4, kernel: 3}\n" + tail);
  for (const std::string set : {"cifar10", "cifar100", "mnist", "fashion_mnist"}) {
    write_text(folder / "a.yaml", config_with("{set: " + set + ", path: nowhere}"));
    const Outcome outcome = octavo_run(folder, {"check", "a.yaml"});
    CHECK(outcome.code == 3);
    CHECK_THAT(outcome.out, ContainsSubstring("configuration and model are ok"));
    CHECK_THAT(outcome.err, ContainsSubstring((folder / "nowhere").string()));
  }
  write_text(folder / "m.yaml", head + "  - {name: a, op: conv2d, out: 4, kernel: 33}\n" + tail);
  const Outcome wrong = octavo_run(folder, {"check", "a.yaml"});
  CHECK(wrong.code == 2);
  contains_all(wrong.err, {"[conv2d 'a'] a window of 33 does not fit 28", (folder / "nowhere").string()});
}

TEST_CASE("a missing data path names every place where it was looked up") {
  TemporaryFolder folder;
  fs::create_directory(folder / "sub");
  write_text(folder / "sub/m.yaml", head + tail);
  write_text(folder / "sub/a.yaml", config_with("{set: cifar10, path: nowhere}"));
  const Outcome outcome = octavo_run(folder, {"train", "sub/a.yaml"});
  CHECK(outcome.code == 3);
  contains_all(outcome.err, {(folder / "sub/nowhere").string(), (folder / "nowhere").string()});
}

TEST_CASE("errors that show when a model is built carry the place of their key") {
  TemporaryFolder folder;
  write_text(folder / "m.yaml", head + "  - {name: a, op: conv2d, out: 4, kernel: 3}\n" + tail);
  const auto check = [&](const std::string& data, const std::string& more) {
    std::string text = config_with(data);
    if (more.starts_with("precision")) text.erase(text.find("precision"));
    write_text(folder / "a.yaml", text + more);
    const Outcome outcome = octavo_run(folder, {"check", "a.yaml"});
    CHECK(outcome.code == 2);
    return outcome.err;
  };
  CHECK_THAT(check(shapes, "precision: {policy: unified_int8, keep_fp32: [haed]}\n"),
             ContainsSubstring("a.yaml:5:46: precision.keep_fp32: 'haed'") && ContainsSubstring("'head'"));
  CHECK_THAT(check(shapes, "precision: {policy: unified_int8, keep_fp32: [haed, head, 'x*']}\n"),
             ContainsSubstring("a.yaml:5:46: precision.keep_fp32: 'haed'") &&
                 ContainsSubstring("a.yaml:5:46: precision.keep_fp32: 'x*' matches no layer"));
  CHECK_THAT(check("{set: shapes, size: 8, normalize: {mean: [0.5], std: [0.2]}}", ""),
             ContainsSubstring("a.yaml:2:48: data.normalize.mean: 1 values for the 3 channels"));
  const std::string both = check(shapes, "schedule: {type: cosine, warmup: 8 steps}\noptimiser: {}\n");
  contains_all(both, {"a.yaml:6:1", "cosine over 8 steps", "a.yaml:7:1: unknown key 'optimiser'"});
}

TEST_CASE("what cannot be evaluated does not train first") {
  TemporaryFolder folder;
  std::string model = head + "  - {name: a, op: conv2d, out: 4, kernel: 3}\n" + tail;
  model.replace(model.find("image: [H, W, C]"), 16, "image: [H, W, C], extra: []");
  model.replace(model.find("[head, label]"), 13, "[head, extra]");
  write_text(folder / "m.yaml", model);
  write_text(folder / "a.yaml", config_with(shapes));
  for (const std::string command : {"check", "train"}) {
    const Outcome outcome = octavo_run(folder, {command, "a.yaml"});
    CHECK(outcome.code == 2);
    CHECK_THAT(outcome.err, ContainsSubstring("input 'extra'"));
  }
  CHECK(!fs::exists(folder / "runs"));
}

TEST_CASE("sizes beyond the memory end with 5 and name layer and bytes") {
  struct Case {
    std::string node, data;
    std::vector<std::string> expected;
  };
  // 2^39 is more than any machine of today holds, and 4 times that many bytes fits 63 bits.
  const std::vector<Case> cases = {
      {"  - {name: big, op: conv2d, out: 549755813888, kernel: 1}\n",
       shapes,  // the output alone
       {"m.yaml:3:5: [conv2d 'big']", "16x8x8x549755813888", "PiB"}},
      {"  - {name: big, op: conv2d, out: 4, kernel: 300000, pad: 150000}\n",
       shapes,
       {"m.yaml:3:5: [conv2d 'big']", "'big.weight' 4x300000x300000x3", "8640000000000 bytes (7.9 TiB)"}},
      {"  - {name: big, op: conv2d, out: 64, kernel: 1, pad: 20000}\n",
       shapes,
       {"m.yaml:3:5: [conv2d 'big']", "16x40008x40008x64", "TiB"}},
      {"  - {name: big, op: conv2d, out: 4, kernel: 1}\n",
       "{set: shapes, size: 512, samples: 1000000000, batch: 1048576}",
       {"data.batch", "1048576 samples", "3145736 bytes (3.0 MiB) each", "TiB"}},
  };
  TemporaryFolder folder;
  for (const Case& wrong : cases) {
    INFO(wrong.node << wrong.data);
    write_text(folder / "m.yaml", head + wrong.node + tail);
    write_text(folder / "a.yaml", config_with(wrong.data));
    for (const std::string command : {"check", "train"}) {
      const auto begin = std::chrono::steady_clock::now();
      const Outcome outcome = octavo_run(folder, {command, "a.yaml"});
      CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
      CHECK(outcome.code == 5);
      contains_all(outcome.err, wrong.expected);
      CHECK_THAT(outcome.err, ContainsSubstring("the memory here is"));
    }
  }
  CHECK(!fs::exists(folder / "runs"));
}

TEST_CASE("a run prints its precision plan before the first step, one line per situation") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config("unified_int8", 2));
  const auto plan_of = [&](const std::vector<std::string>& overrides, const std::string& run) {
    std::vector<std::string> arguments{"train", "a.yaml", "--out", run};
    arguments.insert(arguments.end(), overrides.begin(), overrides.end());
    const std::string text = octavo_good(folder, arguments).err;
    const std::size_t begin = text.find("precision plan"), end = text.find("1/2  eta");
    REQUIRE(begin < end);
    return text.substr(begin, end - begin);
  };
  const std::string plan = plan_of({}, "a");
  CHECK(std::count(plan.begin(), plan.end(), '\n') <= 11);
  contains_all(plan, {"forward", "grad_input", "grad_weight", "s8 tensor nearest x s8 tensor nearest by ",
                      "s8 tensor stochastic x s8 tensor nearest by ", "%  net.head: s8 tensor nearest",
                      "fp32 by onednn", "kept in fp32 by '@first_conv'", "kept in fp32 by '@linear'"});
  const std::string mixed =
      plan_of({"precision.products.grad_weight=fp32", "precision.keep_fp32=['*conv1']"}, "b");
  contains_all(mixed, {"switched off", "asked; fp32 by onednn", "kept in fp32 by '*conv1'"});
  CHECK_THAT(plan_of({"precision=fp32"}, "c"), !ContainsSubstring("s8"));
}

TEST_CASE("the networks for 224 x 224 have as many parameters as published") {
  TemporaryFolder folder;
  const std::string configs = std::string(OCTAVO_SOURCE_DIR) + "/configs/imagenet_";
  const std::int64_t vgg_convolutions = 14714688, hidden = 16;
  const std::int64_t vgg_linear = 25088 * hidden + hidden + hidden * hidden + hidden + hidden * 1000 + 1000;
  struct Network {
    std::string config, with;
    std::int64_t parameters;
  };
  for (const Network& network : {Network{"resnet18", "norm=batch_norm", 11689512},
                                 {"resnet18", "blocks=[3,4,6,3]", 21797672},
                                 {"resnet50", "bottleneck=1", 25557032},
                                 {"mobilenetv2", "width=1.0", 3504872},
                                 {"alexnet", "dropout=0.5", 61100840},
                                 {"vgg16", "hidden=16", vgg_convolutions + vgg_linear}}) {
    const Outcome outcome = octavo_run(
        folder, {"summary", configs + network.config + ".yaml", "data.set=shapes", "data.classes=0",
                 "data.batch=1", "data.augment=[]", "model.with.classes=1000", "model.with." + network.with});
    CAPTURE(network.config, network.with, outcome.err);
    CHECK(outcome.code == 0);
    const std::size_t total = outcome.out.find("\ntotal ");
    REQUIRE(total != std::string::npos);
    CHECK(std::stoll(outcome.out.substr(total + 7)) == network.parameters);
  }
}
