// Loss, metric, learning rate, gradient norm and speed over steps.
#include "train/report/curves.h"
#include "train/report/line_chart.h"
#include "train/report/sections.h"

namespace octavo::report {
namespace {

constexpr const char* no_step = "No step was recorded.";

Range whole_run(const RunRecord& run) { return {0, static_cast<double>(run.last_step())}; }

LineChart loss_chart(const RunRecord& run, double steps_per_epoch) {
  const std::vector<Point> raw = train_points(run, &TrainPoint::loss);
  const std::size_t window = smoothing_window(raw.size());
  LineChart chart{.title = "Loss",
                  .from_zero = true,
                  .steps_per_epoch = steps_per_epoch,
                  .x = whole_run(run),
                  .empty = no_step};
  if (window > 1) chart.curves.push_back({"each step", raw, 1, Curve::Style::faint});
  const std::string name = window > 1 ? "training, mean of " + std::to_string(window) + " steps" : "training";
  chart.curves.push_back({name, smooth(raw, window), 1, Curve::Style::line});
  if (!run.evaluations.empty())
    chart.curves.push_back({"evaluation", evaluation_points(run, &EvalPoint::loss), 2, Curve::Style::dots});
  return chart;
}

LineChart metric_chart(const RunRecord& run, const RunFacts& facts, double steps_per_epoch) {
  LineChart chart{.title = facts.metric_name.empty() ? "Metric" : title_case(facts.metric_name),
                  .unit = facts.metric_unit,
                  .steps_per_epoch = steps_per_epoch,
                  .x = whole_run(run),
                  .empty = "The run was not evaluated yet."};
  chart.curves.push_back(
      {facts.metric_name, evaluation_points(run, &EvalPoint::metric), 2, Curve::Style::dots});
  if (facts.best_step > 0)
    chart.note = "best " + value_text(facts.best_metric, facts.metric_unit) + " at step " +
                 count_text(facts.best_step);
  return chart;
}

// A number of every step; a noisy one is drawn pale behind its mean.
LineChart step_chart(const std::string& title, const std::vector<Point>& points, int colour, bool noisy) {
  LineChart chart{.title = title, .from_zero = true, .size = LineChart::Size::third, .empty = no_step};
  const std::size_t window = noisy ? smoothing_window(points.size()) : 1;
  if (window > 1) {
    chart.note = "with the mean of " + std::to_string(window) + " steps";
    chart.curves.push_back({"each step", points, colour, Curve::Style::faint});
  }
  chart.curves.push_back({title, smooth(points, window), colour, Curve::Style::line});
  chart.legend = false;
  return chart;
}

}  // namespace

std::string training_section(const RunRecord& run, const RunFacts& facts) {
  const auto steps_per_epoch = static_cast<double>(run.steps_per_epoch());
  const auto curve = [&](const char* title, double TrainPoint::*member, double factor, int colour,
                         bool noisy) {
    return line_chart(step_chart(title, train_points(run, member, factor), colour, noisy));
  };
  return "<div class=\"grid\">" + line_chart(loss_chart(run, steps_per_epoch)) +
         line_chart(metric_chart(run, facts, steps_per_epoch)) + "</div><div class=\"three grid\">" +
         curve("Learning rate", &TrainPoint::learning_rate, 1, 3, false) +
         curve("Gradient norm", &TrainPoint::gradient_norm, 1, 4, true) +
         curve("Time of a step, ms", &TrainPoint::seconds, 1000, 7, true) + "</div>";
}

}  // namespace octavo::report
