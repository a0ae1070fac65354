// octavo report and octavo compare on real runs, what a training leaves for them, and wrong input.
#include "cli_support.h"
#include "report_support.h"
#include "support/html.h"

using namespace octavo::testing;
namespace fs = std::filesystem;

namespace {

std::vector<fs::path> event_files(const fs::path& run) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(run / "tb")) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

TEST_CASE("a training ends with a page and TensorBoard events, report makes the page again") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config());
  octavo_good(folder, {"train", "a.yaml", "--out", "runs/int8"});
  const fs::path file = folder / "runs/int8/report.html";
  const std::string page = read_text(file);
  const auto elements = read_html(page);
  CHECK(page.find("://") == std::string::npos);
  CHECK(says(elements, "strong", "unified_int8"));
  CHECK(says(elements, "mark", "procedural data"));
  CHECK(says(elements, "p", "finished, 12 steps"));
  CHECK(says(elements, "td", "net.stage1.0.conv1"));
  const auto summary = nlohmann::json::parse(read_text(folder / "runs/int8/summary.json"));
  std::array<char, 32> metric{};
  std::snprintf(metric.data(), metric.size(), "%.2f%%", 100 * summary.at("metric").get<double>());
  CHECK(says(elements, "p", metric.data()));
  CHECK(event_files(folder / "runs/int8").size() == 1);

  fs::remove(file);
  const Outcome again = octavo_good(folder, {"report", "last"});
  CHECK(again.out == file.string() + "\n");
  CHECK(read_text(file) == page);
  octavo_good(folder, {"report", "runs/int8", "--out", "elsewhere.html"});
  CHECK(read_text(folder / "elsewhere.html") == page);
}

TEST_CASE("a stopped run and one that diverged have a page too") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config("fp32"));
  octavo_good(folder, {"train", "a.yaml", "--out", "run", "--steps", "5"});
  auto elements = read_html(read_text(folder / "run/report.html"));
  CHECK(says(elements, "p", "not finished: step 5 of 12"));
  CHECK(says(elements, "mark", "procedural data"));
  CHECK(says(elements, "p", "No operand was quantized"));
  octavo_good(folder, {"resume", "run"});
  CHECK(says(read_html(read_text(folder / "run/report.html")), "p", "finished, 12 steps"));
  CHECK(event_files(folder / "run").size() == 2);

  const Outcome diverged =
      octavo_run(folder, {"train", "a.yaml", "precision=unified_int8", "optimizer.lr=1000",
                          "optimizer.weight_decay=1", "train.steps=200", "--out", "bad"});
  CHECK(diverged.code == 6);
  elements = read_html(read_text(folder / "bad/report.html"));
  CHECK(says(elements, "p", "not finished"));
}

TEST_CASE("resuming repeats no line of precision.jsonl") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config());
  const std::string often = "precision.options.period=2";
  octavo_good(folder, {"train", "a.yaml", often, "--out", "unbroken"});
  // The checkpoint of step 4 is followed by events of steps that count from 4.
  octavo_good(folder, {"train", "a.yaml", often, "--out", "broken", "--steps", "4"});
  fs::copy(folder / "broken", folder / "kept", fs::copy_options::recursive);
  octavo_good(folder, {"resume", "broken", "--steps", "7"});
  fs::copy(folder / "broken/precision.jsonl", folder / "kept/precision.jsonl",
           fs::copy_options::overwrite_existing);
  octavo_good(folder, {"resume", "kept"});
  CHECK(read_text(folder / "kept/precision.jsonl") == read_text(folder / "unbroken/precision.jsonl"));
}

TEST_CASE("compare prints a table and writes a page") {
  TemporaryFolder folder;
  write_text(folder / "a.yaml", tiny_config());
  octavo_good(folder, {"train", "a.yaml", "precision=fp32", "--out", "full"});
  octavo_good(folder, {"train", "a.yaml", "--out", "int8"});
  const Outcome outcome = octavo_good(folder, {"compare", "full", "int8", "--html", "both.html"});
  CHECK(std::count(outcome.out.begin(), outcome.out.end(), '\n') == 3);
  for (const char* text :
       {"policy", "accuracy", "drop, points", "step ms", "samples/s", "fp32", "unified_int8", "(procedural)"})
    CHECK_THAT(outcome.out, ContainsSubstring(text));
  const auto elements = read_html(read_text(folder / "both.html"));
  CHECK(says(elements, "td", "unified_int8"));
  CHECK(says(elements, "h3", "Training loss"));
}

TEST_CASE("report and compare refuse what they cannot read") {
  TemporaryFolder folder;
  write_hand_run(folder / "a");
  write_hand_run(folder / "b");
  const auto refused = [&](const std::vector<std::string>& arguments, int code, const std::string& text) {
    const Outcome outcome = octavo_run(folder, arguments);
    CAPTURE(arguments, outcome.err);
    CHECK(outcome.code == code);
    CHECK(outcome.out.empty());
    CHECK_THAT(outcome.err, ContainsSubstring(text));
  };
  refused({"report"}, 2, "run");
  refused({"report", "nowhere"}, 4, (folder / "nowhere").string());
  refused({"report", "last"}, 4, "no run in");
  refused({"report", "a", "--out", "missing/a.html"}, 5, "missing");
  refused({"compare"}, 2, "runs");
  refused({"compare", "a"}, 2, "at least two");
  refused({"compare", "a", "a"}, 2, "given twice");
  refused({"compare", "a", "nowhere"}, 4, "is no run folder");
  write_text(folder / "b/metrics.jsonl", read_text(folder / "b/metrics.jsonl") + "{\"phase\":\n");
  refused({"compare", "a", "b"}, 4, "b/metrics.jsonl:405: damaged JSON");
  refused({"report", "b"}, 4, "remove the line");
  CHECK(!fs::exists(folder / "b/report.html"));
  octavo_good(folder, {"report", "a"});
  CHECK_THAT(octavo_good(folder, {"--help"}).out, ContainsSubstring("compare"));
}
