// The commands that only tell something, each run once.
#include <map>

#include "cli_support.h"

using namespace octavo::testing;
namespace fs = std::filesystem;

TEST_CASE("check, summary, print-graph and a dry run write nothing") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config());
  CHECK_THAT(octavo_good(folder, {"check", "a.yaml"}).out, ContainsSubstring("ok: "));
  const std::string summary = octavo_good(folder, {"summary", "a.yaml"}).out;
  for (const char* text :
       {"net.stage1.0.conv1", "grad_weight", "MiB = parameters", "64 training samples; 12 steps"})
    CHECK_THAT(summary, ContainsSubstring(text));
  CHECK_THAT(octavo_good(folder, {"print-graph", "a.yaml"}).out, ContainsSubstring("net.stage1.0.conv1"));
  CHECK_THAT(octavo_good(folder, {"print-graph", "a.yaml", "--dot"}).out, ContainsSubstring("digraph"));
  const std::string dry = octavo_good(folder, {"train", "a.yaml", "--dry-run", "--out", "run"}).out;
  for (const char* text : {"MiB", "procedural", "one step of 12"}) CHECK_THAT(dry, ContainsSubstring(text));
  CHECK(!fs::exists(folder / "run"));
  CHECK(!fs::exists(folder / "runs"));
}

TEST_CASE("list, doctor, bench, help and version") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config());
  const std::string list = octavo_good(folder, {"list"}).out;
  for (const char* text : {"conv2d", "unified_int8", "shapes", "pad_crop", "sgd", "optimizer.lr"})
    CHECK_THAT(list, ContainsSubstring(text));
  CHECK_THAT(octavo_good(folder, {"doctor"}).out, ContainsSubstring("\"commit\""));
  const auto bench = nlohmann::json::parse(
      octavo_good(folder, {"bench", "a.yaml", "--json", "--steps", "3", "--warmup", "1"}).out);
  CHECK(bench.at("step_ms_median").get<double>() > 0);
  CHECK(bench.at("precision_ms").get<double>() > 0);
  CHECK(bench.at("precision_ms").get<double>() < bench.at("step_ms_mean").get<double>());
  CHECK(bench.at("nodes").size() > 10);
  CHECK(!bench.contains("fp32"));
  CHECK(bench.at("int8_mac_share").at("forward").get<double>() > 0.95);
  const std::string kernels =
      octavo_good(folder, {"bench", "kernels", "--json", "--seconds", "0.001", "--threads", "1", "--ref",
                           "--isa", "ref", "--filter", "lstm linear 20"})
          .out;
  CHECK(std::count(kernels.begin(), kernels.end(), '\n') == 3);  // the three products
  CHECK(nlohmann::json::parse(kernels.substr(0, kernels.find('\n'))).at("gops").get<double>() > 0);
  CHECK(octavo_run(folder, {"bench"}).code == 2);
  CHECK(octavo_run(folder, {"bench", "kernels", "--fliter", "x"}).code == 2);
  CHECK_THAT(octavo_good(folder, {"--help"}).out, ContainsSubstring("train"));
  CHECK_THAT(octavo_good(folder, {"--version"}).out, ContainsSubstring("."));
}

TEST_CASE("bench shows every layer and pass, beside the same in FP32") {
  const TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config("int8_minmax"));
  const std::vector<std::string> command{"bench", "a.yaml", "--fp32", "--steps", "3", "--warmup", "1"};
  std::vector<std::string> as_json = command;
  as_json.emplace_back("--json");
  const auto bench = nlohmann::json::parse(octavo_good(folder, as_json).out);
  double rows_ms = 0;
  std::map<std::string, int> passes;
  for (const auto& row : bench.at("rows")) {
    INFO(row.dump());
    ++passes[row.at("pass")];
    rows_ms += row.at("ms").get<double>();
    CHECK(row.at("bytes").get<std::int64_t>() > 0);
    CHECK(row.at("memory_copy_share").get<double>() > 0);
    if (!row.contains("kernel")) continue;
    CHECK(row.at("speedup").get<double>() > 0);
    CHECK(row.at("gops").get<double>() > 0);
    CHECK(row.at("fp32_gops").get<double>() > 0);
    const char* peak = row.at("integer").get<bool>() ? "int8_gops" : "fp32_gops";
    if (bench.at("peaks").at(peak).get<double>() > 0) CHECK(row.at("peak_share").get<double>() > 0);
  }
  CHECK(passes["forward"] == passes["grad_weight"]);
  CHECK(passes["grad_input"] == passes["forward"] - 1);  // the first layer's input needs no gradient
  CHECK(passes["pointwise"] > 3);
  CHECK(passes["pointwise backward"] > 3);
  double passes_ms = 0;
  for (const auto& pass : bench.at("passes")) passes_ms += pass.at("ms").get<double>();
  CHECK(std::abs(passes_ms - rows_ms) < 1e-6);
  double nodes_ms = 0;
  for (const auto& node : bench.at("nodes")) nodes_ms += node.at("ms").get<double>();
  CHECK(rows_ms < 1.5 * nodes_ms);
  const auto& step = bench.at("step");
  double parts = 0;
  for (const char* part : {"nodes", "loader", "weights", "update", "controller", "rest"})
    parts += step.at(part).get<double>();
  CHECK(std::abs(parts - step.at("mean").get<double>()) < 1e-6);
  CHECK(bench.at("memory").at("peak_bytes") > bench.at("memory").at("arena_bytes"));
  CHECK(bench.at("memory").at("optimizer_bytes") == bench.at("memory").at("gradient_bytes"));
  const std::string table = octavo_good(folder, command).out;
  for (const char* text : {"| layer", "FP32 ms", "grad_weight", "peaks of this run", "memory in FP32"})
    CHECK_THAT(table, ContainsSubstring(text));
}

TEST_CASE("tune writes a plan, and training with it gives the same weights") {
  const TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config("int8_minmax", 4));
  CHECK_THAT(octavo_good(folder, {"tune", "a.yaml", "--seconds", "0.001"}).out,
             ContainsSubstring("milliseconds: {"));
  octavo_good(folder, {"tune", "a.yaml", "--seconds", "0.001", "--out", "plan.yaml"});
  std::string plan = read_text(folder / "plan.yaml");
  for (const char* text : {"cpu: ", "product: grad_weight", "shape: {n: 16", "kernel: ", "layers: ["})
    CHECK_THAT(plan, ContainsSubstring(text));
  for (std::size_t at = 0; (at = plan.find("kernel: ", at)) != std::string::npos; ++at)
    plan.replace(at, plan.find('\n', at) - at, "kernel: ref/conv_s8");
  write_text(folder / "ref.yaml", plan);
  octavo_good(folder, {"train", "a.yaml", "--out", "plain"});
  for (const char* name : {"plan", "ref"}) {
    octavo_good(folder, {"train", "a.yaml", std::string("plan=") + name + ".yaml", "--out", name});
    CHECK((model_bytes(folder / name, 4) == model_bytes(folder / "plain", 4)));
  }
  CHECK_THAT(octavo_good(folder, {"summary", "a.yaml", "plan=ref.yaml"}).out,
             ContainsSubstring("ref/conv_s8"));
  CHECK_THAT(read_text(folder / "plan/log.txt"), !ContainsSubstring("plan: measured on"));
  write_text(folder / "elsewhere.yaml", "cpu: elsewhere" + plan.substr(plan.find("\nisa: ")));
  octavo_good(folder, {"train", "a.yaml", "plan=elsewhere.yaml", "--out", "elsewhere"});
  CHECK_THAT(read_text(folder / "elsewhere/log.txt"),
             ContainsSubstring("plan: measured on 'elsewhere' with"));
  octavo_good(folder, {"train", "a.yaml", "data.batch=8", "plan=plan.yaml", "--out", "other"});
  CHECK_THAT(read_text(folder / "other/log.txt"), ContainsSubstring("integer products are not in it"));
  const Outcome missing = octavo_run(folder, {"check", "a.yaml", "plan=none.yaml"});
  CHECK(missing.code == 2);
  CHECK_THAT(missing.err, ContainsSubstring("plan file 'none.yaml' not found; tried "));
  write_text(folder / "bad.yaml", plan + "  - {product: forward, kernel: x}\n");
  CHECK(octavo_run(folder, {"train", "a.yaml", "plan=bad.yaml", "--out", "bad"}).code == 2);
}

TEST_CASE("summary: parameters of the models are those of the published networks") {
  const TemporaryFolder folder;
  // torchvision's counts with a head of 10 classes: InceptionV3 without its auxiliary head.
  const std::map<std::string, std::string> expected = {{"cifar10_resnet20", "272474"},
                                                       {"cifar10_mobilenetv2", "2236682"},
                                                       {"cifar10_inception_v3", "21806058"}};
  for (const auto& [name, count] : expected) {
    INFO(name);
    const std::string text =
        octavo_good(folder, {"summary", OCTAVO_SOURCE_DIR "/configs/" + name + ".yaml", "data.set=shapes"})
            .out;
    CHECK_THAT(text.substr(text.find("\ntotal")), ContainsSubstring(" " + count + " "));
  }
}

TEST_CASE("the saved configuration runs again from anywhere with the same result") {
  TemporaryFolder folder, elsewhere;
  fs::create_directory(folder / "models");
  for (const char* name : {"resnet8.yaml", "resnet_cifar.yaml"}) fs::copy(models + name, folder / "models");
  std::string config = tiny_config("unified_int8", 4);
  config.replace(0, config.find('\n'), "model: {use: resnet8, with: {width: 16}}");
  config += "gradient: {clip_norm: 1}\nschedule: {type: cosine, warmup: 1 steps}\n";
  write_text(folder / "a.yaml", config);
  octavo_good(folder, {"train", "a.yaml", "precision.options.alpha=10", "--out", "run"});
  const std::string saved = (folder / "run/config.yaml").string();
  octavo_good(elsewhere, {"train", saved, "--out", "again"});
  CHECK((model_bytes(elsewhere / "again", 4) == model_bytes(folder / "run", 4)));
  CHECK(read_text(elsewhere / "again/config.yaml") == read_text(saved));
}
