#include "train/report/replay_page.h"

#include <cmath>
#include <limits>
#include <set>

#include "precision/slots.h"
#include "train/report/figure.h"
#include "train/report/heat_map.h"
#include "train/report/line_chart.h"
#include "train/report/page.h"

namespace octavo::report {
namespace {

using ByPolicy = std::map<std::string, std::vector<ReplayRow>>;
constexpr double none = std::numeric_limits<double>::quiet_NaN();

/// One number of a row; NaN where the policy has none.
struct Quantity {
  const char *title, *note;
  double (*value)(const ReplayRow&);
  Unit unit = Unit::plain;
  bool logarithmic = false;
  bool gradients_only = false;
};

const Quantity quantities[] = {
    {"Width", "bits", [](const ReplayRow& row) { return static_cast<double>(row.bits); }, Unit::bits},
    {"Range over maximum", "1: nothing is clipped",
     [](const ReplayRow& row) { return row.max_abs > 0 ? row.clip / row.max_abs : none; }},
    {"Cosine distance", "of nearest rounding; policies with one scale per tensor",
     [](const ReplayRow& row) { return row.cosine_distance > 0 ? row.cosine_distance : none; }, Unit::plain,
     true},
    {"Shift of the mean", "log2(1 + relative shift of mean |v|); policies with one scale per tensor",
     [](const ReplayRow& row) { return row.mean_shift > 0 ? row.mean_shift : none; }, Unit::plain, true},
    {"Clipped values", "share of the values above the range",
     [](const ReplayRow& row) { return row.saturated_share; }, Unit::percent},
    {"Learning-rate factor", "", [](const ReplayRow& row) { return row.learning_rate_factor; }, Unit::plain,
     false, true},
};

/// Mean over the layers at each step.
std::vector<Point> mean_points(const std::vector<ReplayRow>& rows, Operand operand,
                               const Quantity& quantity) {
  std::map<std::int64_t, std::pair<double, int>> sums;
  for (const ReplayRow& row : rows) {
    if (row.operand != operand) continue;
    const double value = quantity.value(row);
    if (!std::isfinite(value)) continue;
    sums[row.step].first += value;
    ++sums[row.step].second;
  }
  std::vector<Point> points;
  points.reserve(sums.size());
  for (const auto& [step, sum] : sums) points.push_back({static_cast<double>(step), sum.first / sum.second});
  return points;
}

std::string overlay(const ByPolicy& by_policy, Operand operand, const Quantity& quantity) {
  LineChart chart{.title = quantity.title,
                  .note = quantity.note,
                  .unit = quantity.unit,
                  .logarithmic = quantity.logarithmic,
                  .legend = false,
                  .empty = "No policy has this number here."};
  int colour = 0;
  for (const auto& [policy, rows] : by_policy)
    chart.curves.push_back({policy, mean_points(rows, operand, quantity), ++colour, Curve::Style::dots});
  return line_chart(std::move(chart));
}

std::string overlays(const ByPolicy& by_policy, Operand operand) {
  std::vector<LegendEntry> legend;
  legend.reserve(by_policy.size());
  for (const auto& [policy, rows] : by_policy)
    legend.push_back({colour_class(static_cast<int>(legend.size()) + 1) + " line", policy});
  Markup out;
  out.raw("<div class=\"shared\">" + legend_markup(legend) + "</div>").open("div", {{"class", "grid"}});
  for (const Quantity& quantity : quantities)
    if (!quantity.gradients_only || operand == Operand::gradient)
      out.raw(overlay(by_policy, operand, quantity));
  return out.take();
}

/// Slots over steps: each column is one recorded step.
std::string width_map(const std::string& policy, const std::vector<ReplayRow>& rows) {
  std::set<std::int64_t> steps;
  for (const ReplayRow& row : rows) steps.insert(row.step);
  HeatMap map{
      .title = policy, .note = "width of each slot's integers after each recorded step", .unit = Unit::bits};
  map.edges.assign(steps.begin(), steps.end());
  map.edges.push_back(map.edges.back() + (map.edges.size() > 1 ? map.edges[1] - map.edges[0] : 1));
  std::map<std::string, HeatRow> by_slot;
  for (const ReplayRow& row : rows) {
    HeatRow& heat = by_slot[row.slot];
    heat.values.resize(steps.size(), none);
    heat.label = row.layer + " " + operand_name(row.operand);
    heat.name = row.slot;
    const auto column = std::distance(steps.begin(), steps.find(row.step));
    heat.values[static_cast<std::size_t>(column)] = row.bits;
  }
  for (auto& [slot, row] : by_slot) map.rows.push_back(std::move(row));
  const Range range = value_range(map.rows);
  map.scale = {ColourScale::Kind::diverging, {std::min(range.low, 8.0), std::max(range.high, 8.0)}, false, 8};
  map.wide = true;
  return "<div class=\"wide scroll\">" + heat_map(map) + "</div>";
}

/// Only of policies that change widths: other maps would have one colour.
std::string width_maps(const ByPolicy& by_policy) {
  std::string out;
  for (const auto& [policy, rows] : by_policy) {
    std::map<std::string, std::set<int>> widths;
    for (const ReplayRow& row : rows) widths[row.slot].insert(row.bits);
    for (const auto& [slot, seen] : widths)
      if (seen.size() > 1) {
        out += width_map(policy, rows);
        break;
      }
  }
  return out.empty() ? "<p class=\"note\">No policy changed a width on this recording.</p>" : out;
}

}  // namespace

std::string replay_page(const std::string& recording, const ByPolicy& by_policy) {
  Markup head;
  head.element("h1", {},
               std::to_string(by_policy.size()) + (by_policy.size() == 1 ? " policy" : " policies") +
                   " on one recording");
  head.element("p", {{"class", "note"}}, recording + "; means over the layers at each recorded step");
  return page("octavo replay", head.take(),
              {{"gradients", "Gradients", overlays(by_policy, Operand::gradient)},
               {"activations", "Activations", overlays(by_policy, Operand::activation)},
               {"weights", "Weights", overlays(by_policy, Operand::weight)},
               {"widths", "Widths", width_maps(by_policy)}});
}

}  // namespace octavo::report
