// octavo train, resume and eval as a user runs them: files, exact repeats, signals, full disks.
#include <sys/mount.h>

#include <map>

#include "cli_support.h"

using namespace octavo::testing;
namespace fs = std::filesystem;

namespace {

// "stopped after step 17; ..."
int stopped_step(const Outcome& outcome) {
  const std::string words = "stopped after step ";
  REQUIRE_THAT(outcome.out, ContainsSubstring(words));
  return std::stoi(outcome.out.substr(outcome.out.find(words) + words.size()));
}

}  // namespace

TEST_CASE("a training leaves a complete run folder") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config());
  const Outcome outcome = octavo_good(folder, {"train", "a.yaml", "--out", "run"});
  CHECK_THAT(outcome.out, ContainsSubstring("accuracy"));
  CHECK_THAT(outcome.err, ContainsSubstring("100% 12/12"));
  std::size_t lines = 0;  // into a file: the first and the last step of so short a run
  for (std::size_t at = outcome.err.find("  eta "); at != std::string::npos;
       at = outcome.err.find("  eta ", at + 1))
    ++lines;
  CHECK(lines == 2);
  const fs::path run = folder / "run";

  const auto metrics = json_lines(run / "metrics.jsonl");
  REQUIRE(metrics.size() == 15);  // 12 steps, 3 evaluations
  int steps = 0;
  for (const auto& line : metrics) {
    const bool training = line.at("phase") == "train";
    steps += training ? 1 : 0;
    CHECK(line.at("step") == (training ? steps : line.at("step").get<int>()));
    for (const char* key : {"epoch", "loss", "seconds", "samples_per_second"})
      CHECK(line.at(key).is_number());
    for (const char* key : {"lr", "gradient_norm"}) CHECK(line.contains(key) == training);
    CHECK(line.contains("accuracy") != training);
  }
  CHECK(steps == 12);
  CHECK(json_lines(run / "precision.jsonl").at(0).at("plan").size() > 10);

  const auto summary = nlohmann::json::parse(read_text(run / "summary.json"));
  const std::map<std::string, nlohmann::json> expected = {
      {"policy", "unified_int8"}, {"model", "resnet8"}, {"data", "shapes"}, {"procedural", true},
      {"device", "cpu"},          {"seed", 3},          {"steps", 12},      {"metric_name", "accuracy"}};
  for (const auto& [key, value] : expected) CHECK(summary.at(key) == value);
  for (const char* key : {"metric", "loss", "numerics_version", "step_ms_median", "precision_share",
                          "samples_per_second", "peak_bytes"})
    CHECK(summary.at(key).is_number());
  CHECK(summary.at("precision_share").get<double>() > 0);
  CHECK(summary.at("precision_share").get<double>() < 1);
  CHECK(!summary.at("isa").get<std::string>().empty());
  for (const char* product : {"forward", "grad_input", "grad_weight"})
    CHECK(summary.at("int8_mac_share").at(product).get<double>() >= 0.95);
  CHECK(nlohmann::json::parse(read_text(run / "env.json")).contains("commit"));
  CHECK(fs::exists(run / "log.txt"));
  CHECK(read_text(run / "checkpoints/last") == "step-12\n");
  for (const char* file : {"model.safetensors", "optim.safetensors", "state.json", "manifest.json"})
    CHECK(fs::exists(run / "checkpoints/step-12" / file));
  octavo_good(folder, {"inspect", "run", "--checkpoint", "best", "--verify"});
  octavo_good(folder, {"eval", "run", "--checkpoint", "best"});
}

TEST_CASE("the best evaluation always has a checkpoint") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config());
  octavo_good(folder,
              {"train", "a.yaml", "train.checkpoint_every=1000 steps", "train.keep_last=1", "--out", "run"});
  double best = -1;
  int step = 0;
  for (const auto& line : json_lines(folder / "run/metrics.jsonl"))
    if (line.at("phase") == "eval" && line.at("accuracy") > best) {
      best = line.at("accuracy");
      step = line.at("step");
    }
  CHECK(read_text(folder / "run/checkpoints/best") == "step-" + std::to_string(step) + "\n");
  const auto json = nlohmann::json::parse(octavo_good(folder, {"eval", "run", "--checkpoint", "best"}).out);
  CHECK(json.at("accuracy") == best);
  CHECK(json.at("step") == step);
}

TEST_CASE("stop and resume give the bytes of the unbroken run, whatever the threads") {
  TemporaryFolder folder;
  for (const std::string policy : {"fp32", "unified_int8"}) {
    CAPTURE(policy);
    write_text(folder / "a.yaml", tiny_config(policy));
    octavo_good(folder, {"train", "a.yaml", "--out", policy});
    const std::string expected = model_bytes(folder / policy, 12);
    for (const std::string threads : {"1", "3"}) {
      octavo_good(folder, {"train", "a.yaml", "train.threads=" + threads, "--out", policy + threads});
      CHECK((model_bytes(folder / (policy + threads), 12) == expected));
    }
    const std::string broken = policy + "-broken";
    const Outcome first = octavo_good(folder, {"train", "a.yaml", "--out", broken, "--steps", "5"});
    CHECK(stopped_step(first) == 5);
    CHECK(!fs::exists(folder / broken / "summary.json"));
    CHECK(stopped_step(octavo_good(folder, {"resume", broken, "--steps", "7"})) == 7);
    const Outcome last = octavo_good(folder, {"resume", broken});
    CHECK_THAT(last.err, ContainsSubstring("from step 7"));
    CHECK((model_bytes(folder / broken, 12) == expected));
    CHECK(json_lines(folder / broken / "metrics.jsonl").size() == 15);
    const auto share = [&](const std::string& run) {
      return nlohmann::json::parse(read_text(folder / run / "summary.json")).at("int8_mac_share");
    };
    CHECK(share(broken) == share(policy));
  }
}

TEST_CASE("a run that was complete is only evaluated again, and `last` finds it") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config("fp32", 4));
  octavo_good(folder, {"train", "a.yaml"});
  REQUIRE(fs::exists(folder / "runs"));
  const fs::path run = *fs::directory_iterator(folder / "runs");
  const std::string summary = read_text(run / "summary.json"), model = model_bytes(run, 4),
                    metrics = read_text(run / "metrics.jsonl");
  octavo_good(folder, {"resume", "last"});
  CHECK(read_text(run / "metrics.jsonl") == metrics);
  CHECK(read_text(run / "summary.json") == summary);
  CHECK((model_bytes(run, 4) == model));
  octavo_good(folder, {"eval", "last"});
  octavo_good(folder, {"inspect", "last"});
}

TEST_CASE("evaluation does not depend on the batch size") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config());
  octavo_good(folder, {"train", "a.yaml", "--out", "run"});
  const auto result = [&](const std::string& batch) {
    return nlohmann::json::parse(
        octavo_good(folder, {"eval", "run", "data.batch=" + batch, "data.samples=640"}).out);
  };
  const auto one = result("1"), many = result("128");
  CHECK(one.at("samples") == 128);
  CHECK(one.at("accuracy") == many.at("accuracy"));
  CHECK(one.at("loss").get<double>() == Approx(many.at("loss").get<double>()).epsilon(1e-6));
}

TEST_CASE("the first signal ends a run with a snapshot that resumes to the same bytes") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config("unified_int8", 120));
  octavo_good(folder, {"train", "a.yaml", "--out", "unbroken"});
  const std::string expected = model_bytes(folder / "unbroken", 120);
  const std::map<int, int> codes = {{SIGINT, 130}, {SIGTERM, 143}};
  for (const auto& [signal, code] : codes) {
    const std::string name = "run" + std::to_string(signal);
    Child child(folder, {"train", "a.yaml", "--out", name});
    wait_for_steps(folder / name, 6);
    child.signal(signal);
    const Outcome outcome = child.wait();
    CHECK(outcome.code == code);
    const int step = stopped_step(outcome);
    CHECK(step < 120);
    CHECK(fs::exists(folder / name / "checkpoints" / ("step-" + std::to_string(step))));
    octavo_good(folder, {"resume", name});
    CHECK((model_bytes(folder / name, 120) == expected));
  }
}

TEST_CASE("a second process in a run folder is refused") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config("fp32", 100000));
  Child child(folder, {"train", "a.yaml", "--out", "run"});
  wait_for_steps(folder / "run", 2);
  const std::string holder = "process " + std::to_string(child.pid());
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"resume", "run"}, {"train", "a.yaml", "--out", "run"}}) {
    const Outcome outcome = octavo_run(folder, command);
    CHECK(outcome.code == 5);
    CHECK_THAT(outcome.err, ContainsSubstring(holder));
  }
  child.signal(SIGTERM);
  CHECK(child.wait().code == 143);
  const Outcome again = octavo_run(folder, {"train", "a.yaml", "--out", "run"});
  CHECK(again.code == 5);
  CHECK_THAT(again.err, ContainsSubstring("octavo resume"));
}

TEST_CASE("divergence ends with 6, names the step and keeps the last checkpoint") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config("unified_int8", 200));
  const Outcome outcome =
      octavo_run(folder, {"train", "a.yaml", "optimizer.lr=1000", "optimizer.weight_decay=1",
                          "train.checkpoint_every=1 steps", "train.eval_every=1000 steps", "--out", "run"});
  CHECK(outcome.code == 6);
  CHECK_THAT(outcome.err, ContainsSubstring("octavo: step "));
  CHECK_THAT(outcome.err, ContainsSubstring("'net."));
  CHECK_THAT(outcome.err, ContainsSubstring("is intact"));
  octavo_good(folder, {"inspect", "run", "--verify"});
}

TEST_CASE("a full disk costs checkpoints, not the training") {
  TemporaryFolder folder;
  fs::create_directory(folder / "small");
  if (::geteuid() != 0 || ::mount("tmpfs", (folder / "small").c_str(), "tmpfs", 0, "size=512k") != 0) {
    WARN("SKIPPED: mounting a small file system needs root");
    return;
  }
  write_text(folder / "a.yaml", tiny_config("fp32", 40));
  const Outcome outcome = octavo_run(folder, {"train", "a.yaml", "model.with.width=4", "train.keep_last=1000",
                                              "train.checkpoint_every=1 steps", "--out", "small/run"});
  CHECK(outcome.code == 5);
  CHECK_THAT(outcome.err, ContainsSubstring("warning: checkpoint of step"));
  CHECK_THAT(outcome.err, ContainsSubstring("step 40  evaluation"));
  const Outcome verify = octavo_run(folder, {"inspect", "small/run", "--verify"});
  CHECK(verify.code == 0);
  CHECK_THAT(verify.out, ContainsSubstring("ok: "));
  ::umount((folder / "small").c_str());
}

TEST_CASE("a file size limit costs checkpoints, not the training") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config("fp32", 8));
  const std::string command = "cd '" + folder.path().string() + "' && ulimit -f 64 && '" + OCTAVO_COMMAND +
                              "' train a.yaml --out run > out 2> err";
  CHECK(WEXITSTATUS(std::system(command.c_str())) == 5);  // not the end by SIGXFSZ
  CHECK_THAT(read_text(folder / "err"), ContainsSubstring("step 8  evaluation"));
  CHECK_THAT(read_text(folder / "err"), ContainsSubstring("could not be saved"));
}

TEST_CASE("a run folder that vanishes ends with 5 after the last step") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config("fp32", 100));
  Child child(folder, {"train", "a.yaml", "--out", "run"});
  wait_for_steps(folder / "run", 6);  // the checkpoint of step 4 is there
  fs::rename(folder / "run", folder / "moved");
  const Outcome outcome = child.wait();
  CHECK(outcome.code == 5);
  CHECK_THAT(outcome.err, ContainsSubstring("step 100  evaluation"));
  CHECK(!fs::exists(folder / "run"));
  octavo_good(folder, {"inspect", "moved", "--verify"});
}

TEST_CASE("a metric that is not a number does not break saving") {
  TemporaryFolder folder;
  std::string model = "inputs: {image: [H, W, C], label: []}\nbody:\n  - {name: flat, op: flatten}\n";
  for (int i = 0; i < 14; ++i) model += "  - {name: fc" + std::to_string(i) + ", op: linear, out: 10}\n";
  model +=
      "  - {name: loss, op: softmax_cross_entropy, from: [fc13, label]}\noutputs: {scores: fc13}\nlosses: "
      "{l: "
      "loss}\n";
  write_text(folder / "m.yaml", model);
  std::string config = tiny_config("fp32", 1);
  config.replace(0, config.find('\n'), "model: {file: m.yaml}");
  write_text(folder / "a.yaml", config);
  octavo_good(folder, {"train", "a.yaml", "optimizer.lr=1000", "train.eval_every=1 steps", "--out", "run"});
  const auto last = json_lines(folder / "run/metrics.jsonl").back();
  CHECK(last.at("phase") == "eval");
  CHECK(last.at("loss").is_null());
  octavo_good(folder, {"inspect", "run", "--verify"});
  octavo_good(folder, {"resume", "run"});
}

TEST_CASE("closed outputs do not stop a training") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config("fp32", 8));
  const std::string start =
      "cd '" + folder.path().string() + "' && { '" + OCTAVO_COMMAND + "' train a.yaml --out ";
  for (const auto& [run, rest] :
       std::map<std::string, std::string>{{"pipe", " 2>&1; echo $? > pipe.code; } | true"},
                                          {"closed", " <&- >&- 2>&-; echo $? > closed.code; }"}}) {
    CHECK(std::system((start + run + rest).c_str()) == 0);
    CHECK(read_text(folder / (run + ".code")) == "0\n");
    CHECK(fs::exists(folder / run / "summary.json"));
    CHECK(json_lines(folder / run / "metrics.jsonl").size() == 10);
    CHECK_THAT(read_text(folder / run / ".lock"), !ContainsSubstring("accuracy"));
  }
}
