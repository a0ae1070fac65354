// Tables of papers: their files, the identity of a run, results on disk, and what a table may say.
#include "train/reproduce/comparison.h"

#include <algorithm>
#include <cmath>

#include "core/numerics.h"
#include "octavo/trainer.h"
#include "support/catch.h"
#include "support/temporary_folder.h"

using namespace octavo;
using octavo::testing::read_text;
using octavo::testing::TemporaryFolder;
using octavo::testing::write_text;
namespace fs = std::filesystem;

namespace {

const std::string source = OCTAVO_SOURCE_DIR;

std::string failure(Errc code, const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  FAIL("no error");
  return "";
}

/// A folder with a configuration and a table of three rows.
struct Tables {
  TemporaryFolder folder;

  Tables() {
    fs::copy(source + "/models/resnet_cifar.yaml", folder / "net.yaml");
    write_text(folder / "a.yaml",
               "model: {file: net.yaml}\ndata: {set: shapes, batch: 16}\noptimizer: {lr: 0.1}\n"
               "train: {steps: 8}\nprecision: {policy: unified_int8}\n");
  }

  static std::string head() {
    return "title: A table\nconfig: a.yaml\nbar: 1\npapers: {p: \"Author, Title, 2020\"}\n"
           "scales: {quick: {seeds: [1, 2, 3]}, full: {seeds: [4], overrides: [train.steps=9]}}\nrows:\n";
  }
  static std::string rows() {
    return "  - {name: FP32, policy: fp32, published: {metric: {value: 92.5, source: printed, cite: p}}}\n"
           "  - name: UI8\n    policy: ui8\n    published:\n"
           "      metric: {value: 77.77, source: recalled, cite: p}\n"
           "      drop: {value: 0.25, source: derived, cite: p}\n"
           "  - {name: other, unmeasured: no such policy}\n";
  }
  PaperTable table(const std::string& text) const {
    write_text(folder / "t.yaml", text);
    return load_paper_table((folder / "t.yaml").string());
  }
  PlannedTable planned(const std::string& text = head() + rows(), const PlanChoices& choices = {}) const {
    return plan_table(table(text), choices);
  }
};

RunRecord record_for(const PlannedRun& run, double metric) {
  RunRecord record;
  record.name = run.name;
  record.config_hash = run.hash;
  record.settings = run.settings;
  record.policy = run.config.precision().policy;
  record.seed = run.seed();
  record.numerics_version = numerics_version;
  record.commit = "abc";
  record.metric_name = "accuracy";
  record.metric = metric;
  record.int8_mac_share = {1, 1, 0.96};
  return record;
}

/// Results of the rows FP32 and UI8: accuracies by seed.
void add_results(const PlannedTable& table, Records& records, const std::vector<double>& fp32,
                 const std::vector<double>& ui8) {
  for (std::size_t i = 0; i < fp32.size(); ++i) records.add(record_for(table.rows[0].runs[i], fp32[i]));
  for (std::size_t i = 0; i < ui8.size(); ++i) records.add(record_for(table.rows[1].runs[i], ui8[i]));
}

}  // namespace

TEST_CASE("a table file is read with what was published, but no recalled figure") {
  const Tables tables;
  const PaperTable table = tables.table(Tables::head() + Tables::rows());
  REQUIRE(table.rows.size() == 3);
  CHECK(table.name == "t");
  CHECK(table.full.seeds == std::vector<std::int64_t>{4});
  CHECK(table.rows[0].metric.value == 92.5);
  CHECK(table.rows[0].metric.cite == "Author, Title, 2020");
  CHECK(table.rows[1].metric.source == Attestation::recalled);
  CHECK_FALSE(table.rows[1].metric.value.has_value());
  CHECK(table.rows[1].drop.value == 0.25);
  CHECK(table.rows[2].policy.empty());
  CHECK(table.rows[0].config == (tables.folder / "a.yaml").string());
}

TEST_CASE("wrong table files name the place") {
  const Tables tables;
  const std::string head = Tables::head();
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases = {
      {"titel: x\n" + head + Tables::rows(), {"t.yaml:1:1", "titel", "did you mean 'title'"}},
      {"titel: x\nrow: []\n", {"t.yaml:1:1", "t.yaml:2:1", "did you mean 'rows'", "'title' is required"}},
      {head + "  - {name: a, polcy: fp32}\n", {"t.yaml:7:15", "polcy", "did you mean 'policy'"}},
      {head + "  - {name: a}\n", {"t.yaml:7:5", "[row 'a']", "'unmeasured'"}},
      {head + "  - {name: a, policy: fp32, unmeasured: x}\n", {"t.yaml:7:23", "[row 'a']"}},
      {head + "  - {name: a, policy: fp32}\n  - {name: a, policy: ui8}\n", {"t.yaml:8:5", "twice"}},
      {head + "  - {name: a, policy: fp32, published: {metric: {value: 9, source: seen, cite: p}}}\n",
       {"t.yaml:7:68", "seen", "printed"}},
      {head + "  - {name: a, policy: fp32, published: {metric: {source: printed, cite: p}}}\n",
       {"t.yaml:7:", "needs its 'value'"}},
      {head + "  - {name: a, policy: fp32, published: {metric: {value: 9, source: printed, cite: q}}}\n",
       {"t.yaml:7:", "'papers'", "'q'"}},
      {head + "  - {name: a, policy: fp32, published: {metric: {value: 9, source: none}}}\n",
       {"t.yaml:7:", "not published"}},
      {head + "  - {name: a, policy: fp32, published: {metrik: {source: none}}}\n",
       {"t.yaml:7:41", "metrik"}},
      {head, {"t.yaml:7:1", "'rows'"}},
      {"config: b.yaml\ntitle: x\nbar: 1\n", {"t.yaml:1:", "b.yaml", "'scales'", "'rows'"}},
  };
  for (const auto& wrong : cases) {
    CAPTURE(wrong.first);
    const std::string message = failure(Errc::config, [&] { tables.table(wrong.first); });
    for (const std::string& part : wrong.second) CHECK_THAT(message, ContainsSubstring(part));
  }
  // What is no valid configuration shows when the table is planned, at its row.
  const std::string period = head + "  - {name: a, policy: ui8, overrides: [precision.options.perod=3]}\n";
  CHECK_THAT(failure(Errc::config, [&] { tables.planned(period); }),
             ContainsSubstring("t.yaml:7:5: [row 'a']") && ContainsSubstring("did you mean 'period'"));
}

TEST_CASE("the identity of a run: settings that decide its numbers, and the model's text") {
  const Tables tables;
  const std::string path = (tables.folder / "a.yaml").string();
  const auto hash = [&](const std::vector<std::string>& overrides) {
    return settings_hash(deciding_settings(Config::load(path, overrides, catalog())));
  };
  const std::string plain = hash({});
  const std::vector<std::string> alike{"train.seed=7",
                                       "train.threads=3",
                                       "data.threads=2",
                                       "data.path=x",
                                       "train.eval_every=1 steps",
                                       "train.checkpoint_every=2 steps",
                                       "train.keep_last=9",
                                       "output.dir=x",
                                       "precision.strict=true",
                                       "precision=ui8",
                                       "precision.options.period=100",
                                       "optimizer.lr=0.1",
                                       "model.file=" + (tables.folder / "net.yaml").string()};
  for (const std::string& same : alike) {
    CAPTURE(same);
    CHECK(hash({same}) == plain);
  }
  for (const std::string other :
       {"optimizer.lr=0.2", "train.steps=9", "data.batch=8", "model.with.depth=8", "precision=fp32",
        "precision.options.period=10", "precision.keep_fp32=[]", "gradient.clip_norm=1", "data.set=mnist"}) {
    CAPTURE(other);
    CHECK(hash({other}) != plain);
  }
  CHECK(hash({"precision=fp32", "precision.bits.gradient=6", "precision.keep_fp32=[]"}) ==
        hash({"precision=fp32"}));

  const std::string net = read_text(tables.folder / "net.yaml");
  write_text(tables.folder / "net.yaml", "# a comment\n" + net);
  CHECK(hash({}) == plain);
  std::string wider = net;
  wider.replace(wider.find("width: 16"), 9, "width: 24");
  write_text(tables.folder / "net.yaml", wider);
  CHECK(hash({}) != plain);
}

TEST_CASE("a model that uses another one has the text of both in its identity") {
  const TemporaryFolder folder;
  fs::create_directory(folder / "models");
  for (const char* name : {"resnet8.yaml", "resnet_cifar.yaml"})
    fs::copy(source + "/models/" + name, folder / "models");
  write_text(folder / "a.yaml", "model: {use: resnet8}\ndata: {set: shapes}\ntrain: {steps: 8}\n");
  const auto hash = [&] {
    return settings_hash(deciding_settings(Config::load((folder / "a.yaml").string(), {}, catalog())));
  };
  const std::string before = hash(), used = read_text(folder / "models/resnet_cifar.yaml");
  std::string changed = used;
  changed.replace(changed.find("label_smoothing: 0,"), 19, "label_smoothing: 0.1,");
  write_text(folder / "models/resnet_cifar.yaml", changed);
  CHECK(hash() != before);
  write_text(folder / "models/resnet_cifar.yaml", used);
  CHECK(hash() == before);
}

TEST_CASE("rows share their baseline, command line overrides and seeds apply to all") {
  const Tables tables;
  const PlannedTable table = tables.planned();
  REQUIRE(table.rows[1].baselines.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) CHECK(table.rows[1].baselines[i].name == table.rows[0].runs[i].name);
  CHECK(table.rows[0].baselines.empty());
  CHECK(table.rows[2].runs.empty());
  CHECK(distinct_runs({table, table}).size() == 6);
  CHECK(table.rows[1].runs[1].name == "net-unified_int8-" + table.rows[1].runs[0].hash + "-seed2");

  const PlannedTable full =
      tables.planned(Tables::head() + Tables::rows(), {"full", {"optimizer.lr=0.3"}, {8, 9}});
  REQUIRE(full.rows[1].runs.size() == 2);
  const Config& config = full.rows[1].runs[1].config;
  CHECK(config.train().seed == 9);
  CHECK(config.train().steps == 9);
  CHECK(config.optimizer().lr == 0.3);
  CHECK(full.rows[1].baselines[1].config.optimizer().lr == 0.3);

  // An own rate of a row is its baseline's too; its precision is not.
  const PlannedTable own = tables.planned(
      Tables::head() +
      "  - {name: a, policy: ui8, seeds: [5], overrides: [optimizer.lr=0.2, precision.bits.gradient=6]}\n");
  REQUIRE(own.rows[0].baselines.size() == 1);
  CHECK(own.rows[0].baselines[0].config.optimizer().lr == 0.2);
  CHECK(own.rows[0].baselines[0].config.precision().policy == "fp32");
  CHECK(own.rows[0].baselines[0].seed() == 5);

  // What belongs to the method is not.
  const PlannedTable method =
      tables.planned(Tables::head() +
                     "  - {name: base, policy: fp32}\n"
                     "  - {name: a, policy: ui8, method: [optimizer.momentum=0.25]}\n");
  CHECK(method.rows[1].runs[0].config.optimizer().momentum == 0.25);
  REQUIRE(method.rows[1].baselines.size() == 3);
  CHECK(method.rows[1].baselines[0].name == method.rows[0].runs[0].name);
}

TEST_CASE("mean and standard error, against figures worked out by hand") {
  const MeanAndError three = mean_and_error({1, 2, 4});
  CHECK(three.mean == Approx(7.0 / 3));
  CHECK(three.error.value() == Approx(std::sqrt(42.0 / 18 / 3)));
  CHECK(mean_and_error({-0.5, 0.5}).error.value() == Approx(0.5));
  CHECK_FALSE(mean_and_error({3}).error.has_value());
}

TEST_CASE("drops pair the seeds, and large errors leave a row undecided") {
  const Tables tables;
  const PlannedTable table = tables.planned();
  struct Case {
    std::vector<double> fp32, ui8;
    Verdict verdict;
    double drop, error;
  };
  // The bar is 1 point. Drops in points, worked out by hand.
  const std::vector<Case> cases = {
      {{0.90, 0.92, 0.91}, {0.895, 0.915, 0.905}, Verdict::within, 0.5, 0},
      {{0.90, 0.92, 0.91}, {0.87, 0.89, 0.88}, Verdict::above, 3, 0},
      {{0.90, 0.90, 0.90}, {0.90, 0.91, 0.89}, Verdict::undecided, 0, 1 / std::sqrt(3.0)},
      {{0.90, 0.90, 0.90}, {0.90, 0.908, 0.892}, Verdict::within, 0, 0.8 / std::sqrt(3.0)},
      {{0.90, 0.92, 0.91}, {0.88, 0.88}, Verdict::incomplete, 3, 1},
      {{}, {0.88, 0.88}, Verdict::incomplete, 0, 0},
  };
  for (const Case& c : cases) {
    const TemporaryFolder folder;
    Records records(folder / "results");
    add_results(table, records, c.fp32, c.ui8);
    const RowComparison row = compare_rows(table, records)[1];
    CHECK(row.verdict == c.verdict);
    REQUIRE(row.drop.has_value() == !c.fp32.empty());
    if (!row.drop) continue;
    CHECK(row.drop->mean == Approx(c.drop).margin(1e-9));
    CHECK(row.drop->error.value() == Approx(c.error).margin(1e-9));
  }
}

TEST_CASE("one seed decides nothing, a diverged run and other images are no pair") {
  const Tables tables;
  const TemporaryFolder folder;
  const PlannedTable one = tables.planned(Tables::head() + Tables::rows(), {"full", {}, {}});
  Records single(folder / "single");
  add_results(one, single, {0.9}, {0.9});
  CHECK(compare_rows(one, single)[1].verdict == Verdict::undecided);

  const PlannedTable table = tables.planned();
  Records records(folder / "results");
  add_results(table, records, {0.9, 0.9, 0.9}, {0.9, 0.9, 0.9});
  RunRecord other = record_for(table.rows[1].runs[2], 0.9);
  other.data_crc32c = "12345678";
  records.add(other);
  CHECK(compare_rows(table, records)[1].verdict == Verdict::incomplete);
  other.data_crc32c.clear();
  other.diverged = "step 3: the loss is not finite";
  other.metric = std::nan("");
  other.steps = 2;
  records.add(other);
  CHECK(compare_rows(table, records)[1].verdict == Verdict::diverged);
  CHECK_THAT(render_table(table, Records(folder / "results"), "x"),
             ContainsSubstring("diverged after step 2"));
}

TEST_CASE("a table shows published beside measured, and never a recalled figure") {
  const Tables tables;
  const TemporaryFolder folder;
  const PlannedTable table = tables.planned();
  Records records(folder / "results");
  add_results(table, records, {0.90, 0.92, 0.91}, {0.895, 0.915});
  const std::string text = render_table(table, records, "octavo reproduce t");
  CHECK_THAT(text, ContainsSubstring("| FP32 | 92.50 [1] | - | 90.00 / 92.00 / 91.00 | - |"));
  CHECK_THAT(text, ContainsSubstring(
                       "| UI8 | not printed (recalled) [1] | 0.25 (derived) [1] | 89.50 / 91.50 / missing "
                       "| 0.50 ± 0.00 | incomplete | 100.0 / 100.0 / 96.0 |"));
  CHECK_THAT(text, ContainsSubstring("| other | - | - | not measured: no such policy |"));
  CHECK_THAT(text, ContainsSubstring("[1] Author, Title, 2020"));
  CHECK_THAT(text, ContainsSubstring("numerics version " + std::to_string(numerics_version)));
  CHECK_THAT(text, !ContainsSubstring("77.77"));

  RunRecord in_float = record_for(table.rows[1].runs[2], 0.9);
  in_float.int8_mac_share.forward = 0.9;
  in_float.in_float = {"conv0 forward: kept by '@first_conv'"};
  in_float.note = "recompressed images";
  records.add(in_float);
  const std::string noted = render_table(table, records, "octavo reproduce t");
  CHECK_THAT(noted, ContainsSubstring("below 95%: UI8; in float: conv0 forward: kept by '@first_conv'."));
  CHECK_THAT(noted, ContainsSubstring("Note: recompressed images"));
}

TEST_CASE("results come back from disk, those of other numerics do not count") {
  const Tables tables;
  const TemporaryFolder folder;
  const PlannedRun run = tables.planned().rows[1].runs[0];
  Records written(folder / "results");
  RunRecord record = record_for(run, 0.875);
  record.overrides = {"optimizer.lr=0.1"};
  record.step_ms = 12.5;
  record.precision_share = 0.0125;
  written.add(record);
  const Records read(folder / "results");
  REQUIRE(read.find(run) != nullptr);
  CHECK(read.find(run)->metric == 0.875);
  CHECK(read.find(run)->overrides == record.overrides);
  CHECK(read.find(run)->step_ms == 12.5);
  CHECK(read.find(run)->precision_share == 0.0125);
  CHECK(read.find(run)->settings == run.settings);
  CHECK_FALSE(read.outdated(run));

  record.numerics_version = numerics_version + 1;
  written.add(record);
  const Records later(folder / "results");
  CHECK(later.find(run) == nullptr);
  CHECK(later.outdated(run));
  CHECK(Records(folder / "nowhere").all().empty());
}

TEST_CASE("damaged results are reported together, by path") {
  const Tables tables;
  const TemporaryFolder folder;
  const PlannedTable table = tables.planned();
  Records written(folder / "results");
  add_results(table, written, {0.9, 0.9, 0.9}, {0.9, 0.9});
  const auto path = [&](int row, int i) {
    const auto& runs = table.rows[static_cast<std::size_t>(row)].runs;
    return folder / "results" / (runs[static_cast<std::size_t>(i)].name + ".json");
  };
  const std::string good = read_text(path(0, 0));
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  write_text(path(0, 0), good.substr(0, good.size() / 2));  // cut off
  write_text(path(0, 1), good);                             // another run's
  write_text(path(0, 2), replaced("\"metric\": 0.9", "\"metrik\": 0.9"));
  write_text(path(1, 0), replaced("\"data.batch\": \"16\"", "\"data.batch\": \"32\""));
  const std::string message = failure(Errc::self_check, [&] { Records again(folder / "results"); });
  for (const auto& damaged : {path(0, 0), path(0, 1), path(0, 2), path(1, 0)})
    CHECK_THAT(message, ContainsSubstring(damaged.string()));
  CHECK_THAT(message, !ContainsSubstring(path(1, 1).string()));
}

TEST_CASE("the tables of this repository are valid, and quick is at least 5 epochs of CIFAR-10") {
  const std::vector<std::string> paths = paper_table_paths(source + "/configs/paper");
  REQUIRE(paths.size() >= 8);
  std::map<std::string, PlannedTable> quick;
  for (const std::string& path : paths) {
    CAPTURE(path);
    const PaperTable table = load_paper_table(path);
    for (const char* scale : {"quick", "full"}) {
      const PlannedTable planned = plan_table(table, {scale, {}, {}});
      for (const PlannedRun& run : distinct_runs({planned}))
        if (run.config.data().set == "cifar10") CHECK(run.config.train().epochs >= 5);
      if (scale == std::string("quick")) quick.emplace(table.name, planned);
    }
  }
  // The same training in several tables is one run.
  const auto run_of = [&](const std::string& table, const std::string& row) {
    const auto& rows = quick.at(table).rows;
    const auto at = std::find_if(rows.begin(), rows.end(), [&](const PlannedRow& planned) {
      return planned.row.name.starts_with(row);
    });
    REQUIRE(at != rows.end());
    return at->runs.at(0).name;
  };
  const std::string unified = run_of("cifar10_mobilenetv2", "Unified INT8");
  CHECK(run_of("ui8_period", "period 100 ") == unified);
  CHECK(run_of("ui8_rate_scaling", "alpha 20, beta 0.1") == unified);
  CHECK(run_of("ui8_clipping", "clipping and rate scaling") == unified);
  CHECK(run_of("ui8_period", "period 10") != unified);
}
