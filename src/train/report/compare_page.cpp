// The page of `octavo compare`: the table, and the curves of all runs over each other.
#include "train/report/compare.h"
#include "train/report/curves.h"
#include "train/report/figure.h"
#include "train/report/line_chart.h"
#include "train/report/markup.h"
#include "train/report/page.h"

namespace octavo::report {
namespace {

std::string table_markup(const ComparisonTable& table) {
  Markup out;
  out.open("div", {{"class", "scroll"}}).open("table").open("thead").open("tr");
  for (const auto& column : table.columns)
    out.element("th", {{"class", column.number ? "number" : ""}}, column.name);
  out.close().close().open("tbody");
  for (const auto& row : table.rows) {
    out.open("tr", {{"class", "first"}});
    for (std::size_t c = 0; c < row.size(); ++c)
      out.element("td", {{"class", table.columns[c].number ? "number" : ""}}, row[c]);
    out.close();
  }
  return out.take();
}

std::string shared_legend(const std::vector<ComparedRun>& runs) {
  std::vector<LegendEntry> entries;
  entries.reserve(runs.size());
  for (const ComparedRun& run : runs)
    entries.push_back({colour_class(static_cast<int>(entries.size()) + 1) + " line", run.facts.name});
  return "<div class=\"shared\">" + legend_markup(entries) + "</div>";
}

// One chart with a curve per run.
template <class PointsOf>
std::string overlay(LineChart chart, const std::vector<ComparedRun>& runs, Curve::Style style,
                    const PointsOf& points_of) {
  int colour = 0;
  for (const ComparedRun& run : runs)
    chart.curves.push_back({run.facts.name, points_of(run.record), ++colour, style});
  chart.legend = false;
  return line_chart(std::move(chart));
}

std::string curves(const std::vector<ComparedRun>& runs) {
  const RunFacts& first = runs[0].facts;
  const std::string metric = first.metric_name.empty() ? "Metric" : title_case(first.metric_name);
  const auto smooth_loss = [](const RunRecord& run) {
    return smooth(train_points(run, &TrainPoint::loss), smoothing_window(run.train.size()));
  };
  constexpr const char* none = "No run was evaluated yet.";
  using enum Curve::Style;
  Markup out;
  out.raw(shared_legend(runs)).open("div", {{"class", "grid"}});
  out.raw(overlay({.title = metric, .unit = first.metric_unit, .empty = none}, runs, dots,
                  [](const RunRecord& run) { return evaluation_points(run, &EvalPoint::metric); }));
  out.raw(overlay({.title = metric + " by training time",
                   .note = "time in training steps; evaluations and checkpoints not counted",
                   .unit = first.metric_unit,
                   .x_label = "seconds",
                   .empty = none},
                  runs, dots,
                  [](const RunRecord& run) { return evaluation_points_by_time(run, &EvalPoint::metric); }));
  out.raw(overlay({.title = "Training loss",
                   .note = "smoothed over a fiftieth of the run",
                   .from_zero = true,
                   .empty = "No run recorded a step."},
                  runs, line, smooth_loss));
  out.raw(overlay({.title = "Evaluation loss", .from_zero = true, .empty = none}, runs, dots,
                  [](const RunRecord& run) { return evaluation_points(run, &EvalPoint::loss); }));
  out.raw(overlay({.title = "Learning rate", .from_zero = true, .empty = "No run recorded a step."}, runs,
                  line, [](const RunRecord& run) { return train_points(run, &TrainPoint::learning_rate); }));
  out.raw(overlay({.title = "Time of a step, ms",
                   .note = "smoothed",
                   .from_zero = true,
                   .empty = "No run recorded a step."},
                  runs, line, [](const RunRecord& run) {
                    return smooth(train_points(run, &TrainPoint::seconds, 1000),
                                  smoothing_window(run.train.size()));
                  }));
  return out.take();
}

}  // namespace

std::string comparison_page(const std::vector<ComparedRun>& runs) {
  Markup head;
  head.element("h1", {}, std::to_string(runs.size()) + " runs compared");
  std::string body = table_markup(comparison_table(runs));
  body +=
      "<p class=\"note spaced\">drop: how much worse the last metric is than that of the fp32 run with the "
      "same model, "
      "data, seed and steps; speedup: step time of that run over the step time of this one; int8: share of "
      "the multiply-accumulates of forward, grad_input and grad_weight.</p>";
  return page("octavo compare", head.take(),
              {{"results", "Results", body}, {"curves", "Curves", curves(runs)}});
}

}  // namespace octavo::report
