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
