// Widths, clipping, deviation and learning-rate factors of the slots over time. A quantity that never changed
// is one sentence instead of a map.
#include <algorithm>
#include <cmath>
#include <map>

#include "train/report/figure.h"
#include "train/report/sections.h"
#include "train/report/slot_grid.h"

namespace octavo::report {
namespace {

using Slots = std::vector<const SlotRecord*>;

constexpr double no_change = 1e-5;  // relative; smaller differences are rounding
struct MapKind {
  const char* title;
  const char* note;
  Quantity quantity;
  std::string (*same)(double);  // said when all slots have this value all the time
  ColourScale (*scale)(Range);
  Unit unit;
};

double clip_ratio(const SlotSample& sample) {
  return sample.max_abs > 0 && sample.clip >= 0 ? sample.clip / sample.max_abs : unknown;
}

const MapKind clip_kind{
    "Clip ratio",
    "range / largest magnitude; blue clips values, orange leaves range unused",
    {clip_ratio, Quantity::Join::mean},
    [](double value) {
      return std::abs(value - 1) < 1e-6
                 ? std::string("The range was the largest magnitude in every slot and step.")
                 : "The ratio was " + number_text(value, 3) + " in every slot.";
    },
    [](Range range) {
      return ColourScale{
          ColourScale::Kind::diverging, {std::min(range.low, 0.5), std::max(range.high, 2.0)}, false, 1};
    },
    Unit::plain};

const MapKind saturated_kind{
    "Saturated share",
    "values beyond the range; the largest share of each column",
    {[](const SlotSample& sample) { return sample.saturated_share; }, Quantity::Join::largest},
    [](double value) {
      return value > 0 ? "The share was " + value_text(value, Unit::percent) + " in every slot."
                       : std::string("No recorded step clipped a value.");
    },
    [](Range range) {
      // The palest colour is left to 0.
      return ColourScale{ColourScale::Kind::rising, {range.low / 4, range.high}, true, 1};
    },
    Unit::percent};

const MapKind distance_kind{
    "Cosine distance",
    "of the quantized gradient, as the policy measured it; stronger is farther",
    {[](const SlotSample& sample) { return sample.cosine_distance; }, Quantity::Join::mean},
    [](double value) { return "The distance was " + number_text(value, 3) + " in every slot."; },
    [](Range range) {
      return ColourScale{ColourScale::Kind::rising, range, true, 1};
    },
    Unit::plain};

const MapKind rate_kind{
    "Learning-rate factor",
    "what the policy multiplies the layer's learning rate by; stronger is slower",
    {[](const SlotSample& sample) { return sample.learning_rate_factor; }, Quantity::Join::mean},
    [](double value) {
      return std::abs(value - 1) < no_change ? std::string("The policy left every learning rate as it is.")
                                             : "The factor was " + number_text(value, 3) + " in every slot.";
    },
    [](Range range) {
      return ColourScale{
          ColourScale::Kind::falling, {std::min(range.low, 0.9), std::max(range.high, 1.0)}, false, 1};
    },
    Unit::plain};

const Quantity width_quantity{[](const SlotSample& sample) { return sample.bits; }, Quantity::Join::last};

std::string slot_map(const MapKind& kind, const Slots& slots, const std::vector<double>& edges) {
  HeatMap map{kind.title, kind.note, edges, heat_rows(slots, edges, kind.quantity), {}, kind.unit, true};
  if (map.rows.empty()) return {};
  const Range range = value_range(map.rows);
  if (range.high - range.low <= no_change * std::abs(range.high))
    return empty_figure(kind.title, kind.same(range.high));
  map.scale = kind.scale(range);
  // Zero has no logarithm: such a scale begins at the smallest value above it.
  if (map.scale.logarithmic) map.scale = kind.scale(positive_range(map.rows));
  return heat_map(map);
}

std::string operand_block(const RunRecord& run, const char* operand, const char* title, const char* about) {
  Slots slots;
  for (const SlotRecord& slot : run.slots)
    if (slot.operand == operand) slots.push_back(&slot);
  if (slots.empty()) return {};
  const std::vector<double> edges = column_edges(slots, run.last_step());
  Markup out;
  out.open("h3", {{"class", "block"}})
      .text(title)
      .element("span", {}, std::to_string(slots.size()) + " slots, " + about);
  out.close().open("div", {{"class", "grid"}});
  for (const MapKind* kind : {&clip_kind, &saturated_kind, &distance_kind, &rate_kind})
    out.raw(slot_map(*kind, slots, edges));
  return out.take();
}

// The one width of a slot; NaN when it changed or was never told.
double constant_width(const SlotRecord& slot) {
  double width = unknown;
  for (const SlotSample& sample : slot.samples) {
    if (!std::isfinite(sample.bits)) continue;
    if (std::isfinite(width) && sample.bits != width) return unknown;
    width = sample.bits;
  }
  return width;
}

// Rows of the slots that differ from what most have all the time; of the others their number.
std::string width_block(const RunRecord& run) {
  std::map<double, std::size_t> constant;
  for (const SlotRecord& slot : run.slots)
    if (const double width = constant_width(slot); std::isfinite(width)) ++constant[width];
  const auto most = std::max_element(constant.begin(), constant.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  Slots slots;
  for (const SlotRecord& slot : run.slots)
    if (most == constant.end() || constant_width(slot) != most->first) slots.push_back(&slot);
  if (slots.empty())
    return empty_figure("Width", "All " + std::to_string(run.slots.size()) + " slots had " +
                                     value_text(most->first, Unit::bits) + " all the time.");
  const std::vector<double> edges = column_edges(slots, run.last_step());
  HeatMap map{"Width",   "bits of the integers", edges, heat_rows(slots, edges, width_quantity), {},
              Unit::bits};
  if (map.rows.empty()) return empty_figure("Width", "The run did not record the widths of its slots.");
  if (most != constant.end())
    map.note += "; the other " + std::to_string(most->second) + " slots had " +
                value_text(most->first, Unit::bits) + " all the time";
  const Range range = value_range(map.rows);
  map.scale = {ColourScale::Kind::diverging, {std::min(range.low, 8.0), std::max(range.high, 8.0)}, false, 8};
  map.wide = true;
  return "<div class=\"wide scroll\">" + heat_map(map) + "</div>";
}

std::string interventions(const RunRecord& run) {
  Markup rows;
  int total = 0;
  for (const SlotRecord& slot : run.slots)
    for (const auto& [reason, times] : slot.reasons) {
      total += times;
      rows.open("tr").element("td", {{"class", "name"}}, slot.key).element("td", {}, reason);
      rows.element("td", {{"class", "number"}}, count_text(times)).close();
    }
  if (total == 0) return {};
  Markup out;
  out.open("details").element("summary", {}, "The controller intervened " + count_text(total) + " times");
  out.open("div", {{"class", "scroll"}}).open("table").open("thead").open("tr");
  out.element("th", {}, "slot").element("th", {}, "reason").element("th", {{"class", "number"}}, "times");
  out.close().close().open("tbody").raw(rows.take());
  return out.take();
}

}  // namespace

std::string precision_section(const RunRecord& run) {
  if (run.slots.empty())
    return "<p class=\"empty\">No operand was quantized in a recorded step: every product ran in float, or "
           "the run did "
           "not record its precision.</p>";
  return width_block(run) +
         operand_block(run, "gradient", "Gradients", "operands of the data and weight gradient") +
         operand_block(run, "activation", "Activations",
                       "operands of the forward product and the weight gradient") +
         operand_block(run, "weight", "Weights", "operands of the forward product and the data gradient") +
         interventions(run);
}

}  // namespace octavo::report
