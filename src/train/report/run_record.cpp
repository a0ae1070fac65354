#include "train/report/run_record.h"

#include <algorithm>
#include <set>

#include "core/check.h"
#include "train/file_io.h"
#include "train/report/json_lines.h"
#include "train/strict_json.h"

namespace octavo::report {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t largest_document = 64 << 20;

nlohmann::ordered_json read_object(const fs::path& file) {
  if (!fs::exists(file)) return nlohmann::ordered_json::object();
  const std::string text = FileReader(system_files(), file).text(largest_document);
  // Strict first, for its limits and message; then in the order of the file, as people wrote it.
  const nlohmann::json strict = parse_strict_json(text, file.string(), 1'000'000);
  require(strict.is_object(), Errc::checkpoint, file.string(), ": should be one JSON object");
  return nlohmann::ordered_json::parse(text);
}

// A step that is told twice counts as told last, so that steps ascend.
template <class Point>
void append(std::vector<Point>& points, const Point& point) {
  while (!points.empty() && points.back().step >= point.step) points.pop_back();
  points.push_back(point);
}

void add_train(const JsonLine& line, RunRecord& run) {
  append(run.train,
         TrainPoint{line.integer("step"), line.integer("epoch"), line.number("loss"), line.number("lr"),
                    line.number("gradient_norm"), line.number("seconds"), line.number("samples_per_second")});
}

// The metric is the one member that has no fixed name.
void add_evaluation(const JsonLine& line, RunRecord& run) {
  static const std::set<std::string> fixed = {"phase", "step",    "epoch",
                                              "loss",  "seconds", "samples_per_second"};
  for (const auto& [key, value] : line.value.items())
    if (!fixed.count(key) && (value.is_number() || value.is_null())) run.metric_name = key;
  if (run.metric_name.empty()) run.metric_name = "loss";
  append(run.evaluations,
         EvalPoint{line.integer("step"), line.number("loss"), line.number(run.metric_name.c_str())});
}

}  // namespace

double OctaveHistogram::total() const {
  double sum = zeros;
  for (double count : counts) sum += count;
  return sum;
}

std::int64_t RunRecord::last_step() const {
  std::int64_t step = train.empty() ? 0 : train.back().step;
  if (!evaluations.empty()) step = std::max(step, evaluations.back().step);
  return step;
}

std::int64_t RunRecord::steps_per_epoch() const {
  const auto second = std::find_if(train.begin(), train.end(), [](const auto& p) { return p.epoch > 0; });
  return second == train.end() || second->epoch != 1 ? 0 : second->step - 1;
}

RunRecord read_run(const fs::path& path) {
  require(fs::exists(path / "config.yaml"), Errc::checkpoint, fs::absolute(path).string(),
          ": is no run folder, it has no config.yaml; give a folder that `octavo train` wrote, or `last`");
  RunRecord run;
  run.path = fs::absolute(path).lexically_normal();
  run.name =
      run.path.has_filename() ? run.path.filename().string() : run.path.parent_path().filename().string();
  run.config = FileReader(system_files(), path / "config.yaml").text(largest_document);
  run.environment = read_object(path / "env.json");
  run.summary = read_object(path / "summary.json");
  each_line(path / "metrics.jsonl", [&](const JsonLine& line) {
    const std::string phase = line.text("phase");
    if (phase == "train") add_train(line, run);
    if (phase == "eval") add_evaluation(line, run);
  });
  read_precision(path / "precision.jsonl", run);
  return run;
}

}  // namespace octavo::report
