// fidelity, record and replay: real runs in a temporary folder, bad input included.
#include <set>

#include "cli_support.h"
#include "support/html.h"

using namespace octavo::testing;
namespace fs = std::filesystem;

TEST_CASE("fidelity at steps of a configuration and at the checkpoints of a run of any policy") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config());
  const std::string at = octavo_good(folder, {"fidelity", "a.yaml", "--at", "2", "0", "--policy", "dfp16",
                                              "--policy", "unified_int8,bits.gradient=6,options.clip=false"})
                             .out;
  for (const char* text :
       {"| 0 | dfp16 |", "| 2 | dfp16 |", "| 2 | unified_int8,bits.gradient=6,options.clip=false |"})
    CHECK_THAT(at, ContainsSubstring(text));
  octavo_good(folder, {"train", "a.yaml", "--out", "run"});
  octavo_good(folder, {"fidelity", "run", "--policy", "int8_minmax", "--json", "f.json"});
  const auto rows = nlohmann::json::parse(read_text(folder / "f.json"));
  std::set<int> steps;
  for (const auto& row : rows) {
    steps.insert(row.at("step").get<int>());
    CHECK(row.at("grad_weight").at("cosine_distance").get<double>() < 0.2);
  }
  CHECK(steps == std::set<int>{4, 8, 12});
  CHECK(!fs::exists(folder / "runs"));
}

TEST_CASE("a recording is replayed with policies and options") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config());
  octavo_good(folder, {"record", "a.yaml", "--out", "rec", "--every", "4", "--steps", "9", "--tensors"});
  for (const char* name : {"rec/config.yaml", "rec/tensors/step-8.safetensors"})
    CHECK(fs::exists(folder / name));
  const std::string table =
      octavo_good(folder, {"replay", "rec", "--json", "r.json", "--html", "r.html"}).out;
  const auto elements = read_html(read_text(folder / "r.html"));
  for (const char* title :
       {"Range over maximum", "Cosine distance", "Learning-rate factor", "adaptive_precision"})
    CHECK((says(elements, "h3", title) || says(elements, "li", title) || says(elements, "span", title)));
  for (const char* text : {"| adaptive_precision | gradient |", "| unified_int8 | activation |"})
    CHECK_THAT(table, ContainsSubstring(text));
  const auto rows = nlohmann::json::parse(read_text(folder / "r.json"));
  CHECK(rows.at("unified_int8").at(0).at("step") == 0);
  const std::string narrow =
      octavo_good(folder, {"replay", "rec", "--policy", "int8_minmax,bits.weight=4"}).out;
  CHECK_THAT(narrow, ContainsSubstring("| weight | 4.0 / 4.0 |"));
}

TEST_CASE("the laboratory says what is wrong with its input, and keeps what is there") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config());
  const auto refused = [&](const std::vector<std::string>& arguments, int code, const char* text) {
    const Outcome outcome = octavo_run(folder, arguments);
    CHECK(outcome.code == code);
    CHECK_THAT(outcome.err, ContainsSubstring(text));
  };
  refused({"fidelity", "a.yaml", "--policy", "unifed_int8"}, 2, "unified_int8");
  refused({"fidelity", "a.yaml", "--policy", "unified_int8,options.periot=3"}, 2, "period");
  refused({"fidelity", "a.yaml", "--policy", "adaptive_precision,options.mode=3"}, 2, "mode");
  refused({"fidelity", "a.yaml", "--policy", "distribution_adaptive,options.lambda=1.5"}, 2, "lambda");
  refused({"fidelity", "a.yaml", "--at", "-1"}, 2, "--at");
  fs::create_directory(folder / "empty");
  refused({"fidelity", "empty"}, 2, "config.yaml");
  refused({"replay", "empty"}, 3, "octavo record");
  refused({"record", "a.yaml", "--out", "empty"}, 5, "exists already");
  refused({"record", "a.yaml"}, 2, "--out");
  CHECK(fs::is_empty(folder / "empty"));
  octavo_good(folder, {"record", "a.yaml", "--out", "rec", "--steps", "1"});
  std::ofstream(folder / "rec/recording.jsonl", std::ios::app) << "{\"step\": 1, \"layer\n";
  refused({"replay", "rec"}, 3, "recording.jsonl:");
  octavo_good(folder, {"record", "a.yaml", "--out", "good", "--steps", "1"});
  refused({"replay", "good", "--html", "no/such/folder.html"}, 5, "cannot write");
}
