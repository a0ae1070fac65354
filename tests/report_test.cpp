// Pages about runs: reading run folders, drawing, and what a page says.
#include "train/report/report.h"

#include <cmath>
#include <functional>
#include <sstream>

#include "octavo/error.h"
#include "report_support.h"
#include "support/catch.h"
#include "support/html.h"
#include "train/report/compare.h"

using namespace octavo;
using namespace octavo::testing;
using namespace octavo::report;
namespace fs = std::filesystem;

namespace {

std::string failure(Errc code, const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  FAIL("no error");
  return {};
}

Json slot_event(int step, const std::string& layer, const std::string& operand, double clip, double max_abs) {
  return {{"step", step},
          {"slot", layer + " " + operand + " s8"},
          {"layer", layer},
          {"operand", operand},
          {"format", "s8 tensor stochastic"},
          {"max_abs", max_abs},
          {"clip", clip},
          {"saturated_share", 0.0}};
}

std::string lines_of(const std::vector<Json>& events) {
  std::string text;
  for (const Json& event : events) text += event.dump() + "\n";
  return text;
}

std::string page_of(const fs::path& run) {
  write_report(run, run / "report.html");
  return read_text(run / "report.html");
}

// Cells of an aligned table: columns stand at least two spaces apart and their ends or beginnings below each
// other.
std::vector<std::vector<std::string>> cells_of(const std::string& table) {
  std::vector<std::vector<std::string>> rows;
  std::size_t width = 0;
  std::istringstream in(table);
  for (std::string line; std::getline(in, line);) {
    CHECK((rows.empty() || line.size() == width));  // the last column is flush right
    width = line.size();
    rows.emplace_back();
    for (std::size_t at = 0, end = 0; at < line.size(); at = line.find_first_not_of(' ', end)) {
      end = std::min(line.find("  ", at), line.size());
      rows.back().push_back(line.substr(at, end - at));
    }
  }
  return rows;
}

// Nothing is fetched: no address and no element that loads a file.
void check_self_contained(const std::string& page, const std::vector<HtmlElement>& elements) {
  CHECK(page.find("://") == std::string::npos);
  CHECK(page.find("url(") == std::string::npos);
  CHECK(page.find("@import") == std::string::npos);
  for (const HtmlElement& element : elements) {
    CHECK(element.attributes.count("src") == 0);
    CHECK((element.tag != "link" && element.tag != "img" && element.tag != "iframe"));
    if (element.attributes.count("href") > 0) CHECK(element.attributes.at("href")[0] == '#');
  }
}

}  // namespace

TEST_CASE("a run folder is read with all that it knows") {
  TemporaryFolder base;
  write_hand_run(base / "run");
  Json wide = slot_event(300, "net.conv2", "gradient", 0.5, 1);
  wide["bits"] = 16;
  wide["cosine_distance"] = 0.001;
  wide["histogram"] = {{"first_exponent", -4}, {"counts", {1, 2, 4}}, {"zeros", 9}};
  Json early = slot_event(0, "net.conv2", "gradient", 1, 1);
  early["histogram"] = {{"first_exponent", -9}, {"counts", {3}}};
  early["zeros"] = 5;
  early["reason"] = "saturated share above the limit";
  write_text(
      base / "run/precision.jsonl",
      lines_of({hand_plan(), early, wide, slot_event(0, "net.conv1", "activation", 2, 2)}) + "{\"step\":");
  const RunRecord run = read_run(base / "run");
  CHECK(run.name == "run");
  CHECK(run.finished());
  REQUIRE(run.train.size() == 400);
  CHECK(run.train[1].loss == Approx(2 / 1.02));
  CHECK(run.steps_per_epoch() == 100);
  REQUIRE(run.evaluations.size() == 4);
  CHECK(run.metric_name == "accuracy");
  CHECK(run.evaluations[1].metric == Approx(0.45));
  REQUIRE(run.plan.size() == 2);
  CHECK(run.plan[0].why == "kept in fp32 by '@first_conv'");
  CHECK(run.plan[1].integer);
  REQUIRE(run.slots.size() == 2);
  CHECK(run.slots[0].layer == "net.conv1");  // model order, not the order of events
  const SlotRecord& slot = run.slots[1];
  REQUIRE(slot.samples.size() == 2);
  CHECK(slot.samples[0].bits == 8);  // of the format, where the event does not say
  CHECK(slot.samples[1].bits == 16);
  CHECK(std::isnan(slot.samples[0].cosine_distance));
  CHECK(slot.samples[1].cosine_distance == 0.001);
  CHECK(slot.first->step == 0);
  CHECK(slot.first->zeros == 5);
  CHECK(slot.last->counts == std::vector<double>{1, 2, 4});
  CHECK(slot.last->total() == 16);
  CHECK(slot.last->clip == 0.5);
  CHECK(slot.reasons.at("saturated share above the limit") == 1);
}

TEST_CASE("a step told twice counts as told last") {
  TemporaryFolder base;
  write_hand_run(base / "run");
  write_text(base / "run/metrics.jsonl",
             "{\"phase\":\"train\",\"step\":1,\"epoch\":0,\"loss\":3}\n"
             "{\"phase\":\"train\",\"step\":2,\"epoch\":0,\"loss\":2}\n"
             "{\"phase\":\"train\",\"step\":2,\"epoch\":0,\"loss\":null}\n");
  write_text(base / "run/precision.jsonl",
             lines_of({slot_event(5, "a", "weight", 1, 1), slot_event(5, "a", "weight", 3, 4)}));
  const RunRecord run = read_run(base / "run");
  REQUIRE(run.train.size() == 2);
  CHECK(std::isnan(run.train[1].loss));
  REQUIRE(run.slots[0].samples.size() == 1);
  CHECK(run.slots[0].samples[0].clip == 3);
}

TEST_CASE("what is no run, or damaged, is named with file and line") {
  TemporaryFolder base;
  CHECK_THAT(failure(Errc::checkpoint, [&] { read_run(base / "none"); }), ContainsSubstring("no run folder"));
  const std::string step = "{\"phase\":\"train\",\"step\":1,\"epoch\":0,\"loss\":1}\n";
  struct Damage {
    std::string file, text, expected;
  };
  for (const Damage& damage :
       {Damage{"metrics.jsonl", step + "{\"phase\": tr\n" + step, "metrics.jsonl:2"},
        {"metrics.jsonl", step + step + "[1]\n", "metrics.jsonl:3"},
        {"metrics.jsonl", "{\"phase\":\"train\",\"epoch\":0}\n", "'step' should be a whole number"},
        {"metrics.jsonl", "{\"phase\":\"train\",\"step\":1,\"epoch\":0,\"loss\":\"x\"}\n",
         "'loss' should be a number"},
        {"metrics.jsonl", "{\"phase\":7}\n", "'phase' should be a text"},
        {"metrics.jsonl", "\xff\xfe\n", "metrics.jsonl:1"},
        {"precision.jsonl", "{\"plan\":{}}\n", "'plan' should be a list"},
        {"precision.jsonl", "{\"plan\":[3]}\n", "'plan' should be a list of objects"},
        {"precision.jsonl", "{\"slot\":\"a\"}\n", "'step' should be a whole number"},
        {"precision.jsonl", "{\"slot\":\"a\",\"step\":1,\"histogram\":[]}\n",
         "'histogram' should be an object"},
        {"precision.jsonl", "{\"slot\":\"a\",\"step\":1,\"histogram\":{\"first_exponent\":1e9}}\n",
         "'first_exponent'"},
        {"precision.jsonl",
         "{\"slot\":\"a\",\"step\":1,\"histogram\":{\"first_exponent\":1,\"counts\":[-1]}}\n", "'counts'"},
        {"summary.json", "{\"metric\":", "summary.json"},
        {"summary.json", "[]", "summary.json"},
        {"env.json", "3", "env.json"}}) {
    CAPTURE(damage.file, damage.text);
    fs::remove_all(base / "run");
    write_hand_run(base / "run");
    write_text(base / "run" / damage.file, damage.text);
    CHECK_THAT(failure(Errc::checkpoint, [&] { read_run(base / "run"); }),
               ContainsSubstring(damage.expected));
  }
  Json summary = hand_summary({});
  summary["metric"] = "high";
  fs::remove_all(base / "run");
  write_hand_run(base / "run");
  write_text(base / "run/summary.json", summary.dump());
  CHECK_THAT(failure(Errc::checkpoint, [&] { facts_of(read_run(base / "run")); }),
             ContainsSubstring("'metric'"));
}

TEST_CASE("facts of a run without a summary come from its events") {
  TemporaryFolder base;
  HandRun hand;
  hand.finished = false;
  hand.steps = 200;
  write_hand_run(base / "run", hand);
  write_text(base / "run/precision.jsonl", lines_of({hand_plan()}));
  const RunFacts facts = facts_of(read_run(base / "run"));
  CHECK(!facts.finished);
  CHECK(facts.policy == "unified_int8");
  CHECK(facts.model == "resnet_cifar");
  CHECK(facts.seed == 1);
  CHECK(facts.steps == 200);
  CHECK(facts.total_steps == 400);
  CHECK(facts.metric == Approx(0.9));
  CHECK(facts.best_step == 200);
  CHECK(facts.step_ms == Approx(50));
  CHECK(std::isnan(facts.peak_bytes));
  REQUIRE(facts.int8);
  CHECK(facts.int8->forward == 0.75);
}

TEST_CASE("the page says what the run did") {
  TemporaryFolder base;
  HandRun hand;
  hand.procedural = true;
  write_hand_run(base / "run", hand);
  Json late = slot_event(300, "net.conv2", "gradient", 0.25, 1);
  late["bits"] = 16;
  late["cosine_distance"] = 0.002;
  late["learning_rate_factor"] = 0.5;
  late["saturated_share"] = 0.125;
  late["histogram"] = {{"first_exponent", -4}, {"counts", {1, 2, 4}}, {"zeros", 1}};
  Json early = slot_event(0, "net.conv2", "gradient", 1, 1);
  early["cosine_distance"] = 0.0001;
  early["learning_rate_factor"] = 1.0;
  early["histogram"] = {{"first_exponent", -4}, {"counts", {4, 2, 1}}, {"zeros", 3}};
  write_text(base / "run/precision.jsonl", lines_of({hand_plan(), early, late}));
  const std::string page = page_of(base / "run");
  const auto elements = read_html(page);
  check_self_contained(page, elements);
  CHECK(says(elements, "title", "run"));
  CHECK(says(elements, "mark", "procedural data"));
  CHECK(says(elements, "strong", "unified_int8"));
  CHECK(says(elements, "p", "90.00%"));  // the metric
  CHECK(says(elements, "p", "best 90.00% at step 400"));
  CHECK(says(elements, "p", "50.0 ms"));
  CHECK(says(elements, "p", "256 MiB"));
  CHECK(says(elements, "span", "87.5%"));            // share of the weight gradient
  CHECK(says(elements, "p", "Not an INT8 result"));  // forward: 75%
  for (const char* title : {"Loss", "Accuracy", "Learning rate", "Width", "Clip ratio", "Saturated share",
                            "Cosine distance", "Learning-rate factor"})
    CHECK(says(elements, "h3", title));
  CHECK(says(elements, "p", "zeros 30.0% → 12.5%"));
  CHECK(says(elements, "td", "avx2/conv_s8"));
  CHECK(says(elements, "td", "float: kept in fp32 by '@first_conv'"));
  CHECK(says(elements, "td", "a & b <cpu>"));
  CHECK(says(elements, "pre", "policy: unified_int8"));
  const auto data = std::find_if(elements.begin(), elements.end(), [](const HtmlElement& element) {
    return element.tag == "script" && element.text.find("\"kind\":\"map\"") != std::string::npos;
  });
  REQUIRE(data != elements.end());
  const auto map = nlohmann::json::parse(data->text);  // the widths
  CHECK(map.at("edges") == nlohmann::json({0, 300, 400}));
  CHECK(map.at("rows").at(0).at("v") == nlohmann::json({8, 16}));
}

TEST_CASE("names from files cannot break the page") {
  TemporaryFolder base;
  HandRun hand;
  hand.metric_name = "</script><b onclick=\"x\">";
  write_hand_run(base / "run", hand);
  Json event = slot_event(0, "</script><svg>'\"&\x01", "gradient", 0.5, 1);
  Json other = slot_event(0, "plain", "gradient", 1, 1);
  write_text(base / "run/precision.jsonl", lines_of({event, other}));
  const std::string page = page_of(base / "run");
  const auto elements = read_html(page);
  CHECK(says(elements, "h3", "</script><b onclick=\"x\">"));
  for (const HtmlElement& element : elements) {
    CHECK((element.tag != "b" || element.attributes.count("onclick") == 0));
    if (element.attributes.count("type") > 0) CHECK(!nlohmann::json::parse(element.text).empty());
  }
}

TEST_CASE("runs that know little have a page that says so") {
  TemporaryFolder base;
  HandRun hand;
  hand.policy = "fp32";
  hand.finished = false;
  write_hand_run(base / "run", hand);
  auto elements = read_html(page_of(base / "run"));
  CHECK(says(elements, "p", "No operand was quantized"));
  CHECK(says(elements, "p", "kept no gradient histogram"));
  CHECK(says(elements, "p", "recorded no plan"));
  CHECK(says(elements, "p", "has no summary yet"));
  CHECK(says(elements, "p", "not finished: step 400 of 400"));
  for (const char* file : {"metrics.jsonl", "env.json"}) fs::remove(base / "run" / file);
  elements = read_html(page_of(base / "run"));
  CHECK(says(elements, "p", "No step was recorded"));
  CHECK(says(elements, "p", "was not evaluated yet"));
  CHECK(says(elements, "p", "did not record its machine"));
}

TEST_CASE("numbers of every kind leave the page whole") {
  TemporaryFolder base;
  write_hand_run(base / "run");
  std::string lines;
  const std::vector<std::string> losses = {"null", "0", "-1", "1e300", "-1e300", "1e-300", "5e-324", "3"};
  for (std::size_t i = 0; i < losses.size(); ++i)
    lines += "{\"phase\":\"train\",\"step\":" + std::to_string(i + 1) + ",\"epoch\":" + std::to_string(i) +
             ",\"loss\":" + losses[i] + ",\"lr\":1e17,\"gradient_norm\":" + losses[losses.size() - 1 - i] +
             ",\"seconds\":0}\n";
  write_text(base / "run/metrics.jsonl", lines);
  std::vector<Json> events;
  for (const double value : {0.0, 1e-45, 1e38, 3e-39}) {
    Json event = slot_event(static_cast<int>(events.size()), "a", "gradient", value, 1e38 - value);
    event["saturated_share"] = value;
    event["cosine_distance"] = value;
    event["learning_rate_factor"] = value;
    event["histogram"] = {{"first_exponent", -149}, {"counts", {value}}};
    events.push_back(event);
  }
  write_text(base / "run/precision.jsonl", lines_of(events));
  const auto elements = read_html(page_of(base / "run"));
  for (const HtmlElement& element : elements)
    for (const char* name : {"d", "x", "y", "x1", "x2", "cx", "cy"}) {
      const auto found = element.attributes.find(name);
      if (found == element.attributes.end()) continue;
      CAPTURE(element.tag, name, found->second);
      CHECK(found->second.find_first_of("nN") == std::string::npos);  // nan, inf
    }
}

TEST_CASE("a long run of many slots gives a small page") {
  TemporaryFolder base;
  HandRun hand;
  hand.steps = 10'000;
  write_hand_run(base / "run", hand);
  std::string lines = hand_plan().dump() + "\n";
  for (int step = 0; step < hand.steps; step += 50)
    for (int layer = 0; layer < 60; ++layer)
      for (const char* operand : {"weight", "activation", "gradient"}) {
        // Numbers without a pattern that would merge cells.
        const double noise = std::fmod(0.618033988 * (step + 7 * layer), 1);
        Json event = slot_event(step, "net.layer" + std::to_string(layer), operand, 0.2 + noise, 1);
        event["saturated_share"] = noise * 1e-3;
        event["cosine_distance"] = noise * 1e-3;
        event["learning_rate_factor"] = 0.5 + noise / 2;
        lines += event.dump() + "\n";
      }
  write_text(base / "run/precision.jsonl", lines);
  const std::string page = page_of(base / "run");
  read_html(page);
  CHECK(page.size() < 3'000'000);
}

TEST_CASE("compare lays known runs side by side") {
  TemporaryFolder base;
  const auto add = [&](const std::string& name, HandRun run) {
    write_hand_run(base / name, run);
    return base / name;
  };
  std::vector<fs::path> paths = {add("full", {.policy = "fp32", .metric = 0.92, .step_ms = 100}),
                                 add("int8", {.metric = 0.9, .step_ms = 50}),
                                 add("other-seed", {.seed = 2, .metric = 0.95, .procedural = true}),
                                 add("shorter", {.steps = 300, .metric = 0.8, .finished = false})};
  const auto runs = compare_runs(paths);
  REQUIRE(runs.size() == 4);
  CHECK(!runs[0].drop);
  REQUIRE(runs[1].drop);
  CHECK(*runs[1].drop == Approx(2));
  CHECK(*runs[1].speedup == Approx(2));
  CHECK(!runs[2].drop);  // another seed
  CHECK(!runs[3].drop);  // another number of steps
  const auto rows = cells_of(table_text(comparison_table(runs)));
  using Cells = std::vector<std::string>;
  REQUIRE(rows.size() == 5);
  CHECK(rows[0] == Cells{"run", "policy", "model", "data", "seed", "steps", "accuracy", "best",
                         "drop, points", "loss", "step ms", "speedup", "samples/s", "peak memory",
                         "int8 % fwd/dx/dw"});
  CHECK(rows[1] == Cells{"full", "fp32", "resnet_cifar", "cifar10", "1", "400", "92.00%", "92.00%", "-",
                         "0.2500", "100.0", "-", "1280", "256 MiB", "75.0/100.0/87.5"});
  CHECK(rows[2] == Cells{"int8", "unified_int8", "resnet_cifar", "cifar10", "1", "400", "90.00%", "90.00%",
                         "+2.00", "0.2500", "50.0", "2.00x", "2560", "256 MiB", "75.0/100.0/87.5"});
  CHECK(rows[3] == Cells{"other-seed", "unified_int8", "resnet_cifar", "cifar10 (procedural)", "2", "400",
                         "95.00%", "95.00%", "-", "0.2500", "50.0", "-", "2560", "256 MiB",
                         "75.0/100.0/87.5"});
  CHECK(rows[4] == Cells{"shorter", "unified_int8", "resnet_cifar", "cifar10", "1", "300 (unfinished)",
                         "80.00%", "80.00%", "-", "0.5000", "50.0", "-", "2560", "-", "-"});

  const std::string page = comparison_page(runs);
  const auto elements = read_html(page);
  check_self_contained(page, elements);
  for (const char* cell : {"+2.00", "2.00x", "cifar10 (procedural)"}) CHECK(says(elements, "td", cell));
  for (const char* title : {"Accuracy", "Accuracy by training time", "Training loss", "Evaluation loss"})
    CHECK(says(elements, "h3", title));
}

TEST_CASE("compare: a falling metric, different metrics, wrong input") {
  TemporaryFolder base;
  write_hand_run(base / "a", {.policy = "fp32", .metric_name = "perplexity", .metric = 80});
  write_hand_run(base / "b", {.metric_name = "perplexity", .metric = 85.5});
  write_hand_run(base / "c", {.metric = 0.5});
  CHECK(*compare_runs({base / "a", base / "b"})[1].drop == Approx(5.5));
  const std::string mixed = table_text(comparison_table(compare_runs({base / "b", base / "c"})));
  CHECK_THAT(mixed, ContainsSubstring("perplexity 85.5"));
  CHECK_THAT(mixed, ContainsSubstring("accuracy 50.00%"));
  CHECK_THAT(failure(Errc::config, [&] { compare_runs({base / "a"}); }), ContainsSubstring("at least two"));
  CHECK_THAT(failure(Errc::config,
                     [&] {
                       compare_runs({base / "a", base / "a"});
                     }),
             ContainsSubstring("twice"));
  CHECK_THAT(failure(Errc::checkpoint,
                     [&] {
                       compare_runs({base / "a", base / "none"});
                     }),
             ContainsSubstring("none"));
}
