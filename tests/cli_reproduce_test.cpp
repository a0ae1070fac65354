// octavo reproduce as a user runs it: results, tables, what is missing, interruptions.
#include "cli_support.h"

using namespace octavo::testing;
namespace fs = std::filesystem;

namespace {

const std::string rows =
    "rows:\n"
    "  - {name: FP32, policy: fp32, published: {metric: {value: 91.5, source: printed, cite: p}}}\n"
    "  - {name: UI8, policy: ui8, published: {metric: {value: 77.77, source: recalled, cite: p}}}\n"
    "  - {name: naive, policy: int8_minmax}\n";

/// tables/t.yaml over a.yaml, two seeds.
struct Setup {
  TemporaryFolder folder;

  explicit Setup(const std::string& row_text = rows, const std::string& config = tiny_config()) {
    write_text(folder / "a.yaml", config);
    fs::create_directory(folder / "tables");
    write_text(folder / "tables/t.yaml",
               "title: A table\nconfig: ../a.yaml\nbar: 1\npapers: {p: \"Author, Title, 2020\"}\n"
               "scales: {quick: {seeds: [1, 2]}, full: {seeds: [1], overrides: [train.steps=50]}}\n" +
                   row_text);
  }
  std::vector<std::string> command(std::vector<std::string> more) const {
    std::vector<std::string> all{"reproduce", "--tables", "tables"};
    all.insert(all.end(), more.begin(), more.end());
    if (std::find(more.begin(), more.end(), "--results") == more.end())
      all.insert(all.end(), {"--results", "results"});
    return all;
  }
  Outcome good(const std::vector<std::string>& more) const { return octavo_good(folder, command(more)); }
  Outcome run(const std::vector<std::string>& more) const { return octavo_run(folder, command(more)); }
  /// The result of one policy and seed.
  nlohmann::json result(const std::string& policy, int seed, const std::string& results = "results") const {
    for (const auto& entry : fs::directory_iterator(folder / results)) {
      const std::string name = entry.path().filename().string();
      if (name.find("-" + policy + "-") != std::string::npos &&
          name.ends_with("-seed" + std::to_string(seed) + ".json"))
        return nlohmann::json::parse(read_text(entry.path()));
    }
    FAIL("no result of " << policy);
    return {};
  }
  std::size_t results() const {
    std::size_t count = 0;
    std::error_code missing;
    for (const auto& entry : fs::directory_iterator(folder / "results", missing))
      count += entry.path().extension() == ".json" ? 1 : 0;
    return count;
  }
};

}  // namespace

TEST_CASE("reproduce runs what is missing, writes results and the table, and nothing twice") {
  const Setup setup;
  CHECK_THAT(setup.good({}).out, ContainsSubstring("t: A table") &&
                                     ContainsSubstring("quick: 0 of 6 runs done") &&
                                     ContainsSubstring("missing: UI8, seeds 1, 2"));
  const Outcome first = setup.good({"t", "--missing", "--note", "small images"});
  CHECK_THAT(first.err, ContainsSubstring("[6/6]") && ContainsSubstring("6 runs finished, 0 left"));
  CHECK(setup.results() == 6);

  // The same training by hand gives the same figures.
  octavo_good(setup.folder, {"train", "a.yaml", "precision=ui8", "train.seed=2", "--out", "by_hand"});
  const auto summary = nlohmann::json::parse(read_text(setup.folder / "by_hand/summary.json"));
  const auto environment = nlohmann::json::parse(read_text(setup.folder / "by_hand/env.json"));
  const auto result = setup.result("unified_int8", 2);
  for (const char* key : {"metric", "loss", "steps", "int8_mac_share", "metric_name", "policy", "device",
                          "isa", "data_crc32c", "numerics_version"})
    CHECK(result.at(key) == summary.at(key));
  for (const char* key : {"commit", "isa", "numerics_version"}) CHECK(result.at(key) == environment.at(key));
  CHECK(result.at("overrides") == nlohmann::json{"precision=ui8"});
  CHECK(result.at("config") == "a.yaml");
  CHECK(result.at("step_ms_median").get<double>() > 0);
  CHECK(result.at("seed") == 2);

  const std::string table = read_text(setup.folder / "results/t-quick.md");
  CHECK(first.out == table + "\n");
  CHECK_THAT(table, ContainsSubstring("91.50 [1]") && ContainsSubstring("not printed (recalled)") &&
                        !ContainsSubstring("77.77") && ContainsSubstring("Note: small images"));
  const std::string bytes = result.dump();
  const Outcome second = setup.good({"t", "--missing"});
  CHECK_THAT(second.err, ContainsSubstring("0 runs finished, 0 left") && !ContainsSubstring("[1/"));
  CHECK(second.out == first.out);
  CHECK(setup.result("unified_int8", 2).dump() == bytes);
  CHECK(setup.good({"t"}).out == first.out);
  CHECK_THAT(
      setup.good({"--list"}).out,
      ContainsSubstring("quick: 6 of 6 runs done\n  full: 0 of 3 runs done\n    missing: FP32, seeds 1"));
}

TEST_CASE("reproduce: a variant of a table is shown and does not replace it") {
  const Setup setup;
  setup.good({"t", "--missing", "--seeds", "5", "optimizer.lr=0.01"});
  CHECK(setup.results() == 3);
  CHECK(!fs::exists(setup.folder / "results/t-quick.md"));
  CHECK(setup.result("fp32", 5).at("settings").at("optimizer.lr") == "0.01");
  // Where the data lie is no variant.
  setup.good({"t", "--missing", "data.threads=1"});
  CHECK(fs::exists(setup.folder / "results/t-quick.md"));
  CHECK(setup.result("unified_int8", 1).at("overrides") == nlohmann::json{"precision=ui8"});
}

TEST_CASE("reproduce: runs that ran out of time or were stopped go on, with the same figures") {
  const std::string row = "rows:\n  - {name: UI8, policy: ui8, seeds: [1]}\n";
  const Setup setup(row, tiny_config("unified_int8", 400));
  setup.good({"t", "--missing", "--results", "unbroken", "--runs", "elsewhere"});

  const Outcome late = setup.good({"t", "--missing", "--minutes", "0.0001"});
  CHECK_THAT(late.err,
             ContainsSubstring("out of time after step") && ContainsSubstring("0 runs finished, 2 left"));
  CHECK(setup.results() == 0);
  CHECK_THAT(late.out, ContainsSubstring("| UI8 (seeds 1) | - | - | missing |"));
  {
    Child child(setup.folder, setup.command({"t", "--missing"}));
    fs::path metrics;
    for (int i = 0; i < 4000 && metrics.empty(); ++i) {  // until one of the two has gone on for a while
      for (const auto& entry : fs::directory_iterator(setup.folder / "runs/reproduce")) {
        const std::string text = read_text(entry.path() / "metrics.jsonl");
        if (std::count(text.begin(), text.end(), '\n') > 40) metrics = entry.path();
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    REQUIRE(!metrics.empty());
    child.signal(SIGINT);
    const Outcome outcome = child.wait();
    CHECK(outcome.code == 130);
    CHECK_THAT(outcome.err, ContainsSubstring("stopped after step") && ContainsSubstring("2 left"));
  }
  setup.good({"t", "--missing"});
  for (const std::string policy : {"fp32", "unified_int8"})
    for (const char* key : {"metric", "loss", "steps", "int8_mac_share", "config_hash"})
      CHECK(setup.result(policy, 1).at(key) == setup.result(policy, 1, "unbroken").at(key));
}

TEST_CASE("reproduce: a run that was killed before its first checkpoint starts over") {
  const Setup setup("rows:\n  - {name: UI8, policy: ui8, seeds: [1]}\n");
  setup.good({"t", "--missing"});
  std::vector<fs::path> runs;
  for (const auto& entry : fs::directory_iterator(setup.folder / "runs/reproduce"))
    runs.push_back(entry.path());
  REQUIRE(runs.size() == 2);
  const auto before = setup.result("unified_int8", 1);
  for (const fs::path& run : runs) fs::remove_all(run / "checkpoints");
  fs::remove_all(setup.folder / "results");
  setup.good({"t", "--missing"});
  CHECK(setup.result("unified_int8", 1).at("metric") == before.at("metric"));
  for (const fs::path& run : runs)
    CHECK(json_lines(run / "metrics.jsonl").size() == 15);  // 12 steps, 3 evaluations
}

TEST_CASE("reproduce: a training that diverges is a result") {
  const Setup setup("rows:\n  - {name: hot, policy: fp32, seeds: [1]}\n");
  const std::vector<std::string> hot{"t", "--missing", "optimizer.lr=1000", "optimizer.weight_decay=1"};
  const Outcome first = setup.good(hot);
  CHECK_THAT(first.out, ContainsSubstring("diverged after step"));
  const auto result = setup.result("fp32", 1);
  CHECK(result.at("metric").is_null());
  CHECK_THAT(result.at("diverged").get<std::string>(), !ContainsSubstring(setup.folder.path().string()));
  CHECK_THAT(setup.good(hot).err, ContainsSubstring("0 runs finished, 0 left"));
}

TEST_CASE("reproduce: missing data end with 3, whether it should run or only show") {
  std::string config = tiny_config();
  const std::size_t from = config.find("data:");
  config.replace(from, config.find('\n', from) - from, "data: {set: cifar10, path: nowhere, batch: 16}");
  const Setup setup(rows, config);
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"t", "--missing"}, {"t"}}) {
    const Outcome outcome = setup.run(arguments);
    CHECK(outcome.code == 3);
    CHECK_THAT(outcome.err, ContainsSubstring((setup.folder / "nowhere").string()) &&
                                ContainsSubstring("cifar-10-binary.tar.gz") &&
                                ContainsSubstring("data.set=shapes"));
  }
  CHECK(!fs::exists(setup.folder / "runs"));
}

TEST_CASE("reproduce: one run that cannot be built leaves the others alone") {
  const Setup setup(
      "rows:\n  - {name: good, policy: fp32, seeds: [1]}\n"
      "  - {name: bad, policy: fp32, seeds: [1], overrides: [model.with.width=-1]}\n");
  const Outcome outcome = setup.run({"t", "--missing"});
  CHECK(outcome.code == 2);
  CHECK_THAT(outcome.err, ContainsSubstring("1 runs finished, 1 left"));
  CHECK(setup.results() == 1);
}

TEST_CASE("reproduce: damaged results end with 8, wrong tables and names with 2") {
  const Setup setup;
  fs::create_directory(setup.folder / "results");
  write_text(setup.folder / "results/x.json", "{\"config\": ");
  const Outcome damaged = setup.run({"t", "--missing"});
  CHECK(damaged.code == 8);
  CHECK_THAT(damaged.err, ContainsSubstring("results/x.json"));
  fs::remove(setup.folder / "results/x.json");

  const Outcome name = setup.run({"u"});
  CHECK(name.code == 2);
  CHECK_THAT(name.err, ContainsSubstring("no table 'u'") && ContainsSubstring("valid: t"));
  write_text(setup.folder / "tables/t.yaml", "title: a\nrow: []\n");
  const Outcome key = setup.run({"tables/t.yaml"});
  CHECK(key.code == 2);
  CHECK_THAT(key.err, ContainsSubstring("t.yaml:2:1") && ContainsSubstring("unknown key 'row'"));
  CHECK(setup.run({"t", "--scale", "huge"}).code == 2);
  CHECK(setup.run({"t", "--minutes", "0"}).code == 2);
}
