#include "train/report/slot_grid.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace octavo::report {
namespace {

constexpr std::size_t most_columns = 150, fewest_columns = 40, most_cells = 6'000;

std::size_t column_limit(std::size_t rows) {
  return std::clamp(most_cells / std::max<std::size_t>(rows, 1), fewest_columns, most_columns);
}

// "net." of "net.stage1.conv1" and all others: says nothing in a label.
std::size_t common_prefix(std::span<const SlotRecord* const> slots) {
  if (slots.size() < 2) return 0;
  std::size_t length = slots[0]->layer.rfind('.') == std::string::npos ? 0 : slots[0]->layer.rfind('.') + 1;
  for (const SlotRecord* slot : slots)
    while (length > 0 && slot->layer.compare(0, length, slots[0]->layer, 0, length) != 0) {
      const std::size_t dot = length < 2 ? std::string::npos : slots[0]->layer.rfind('.', length - 2);
      length = dot == std::string::npos ? 0 : dot + 1;
    }
  return length;
}

std::vector<double> column_values(const SlotRecord& slot, const std::vector<double>& edges,
                                  const Quantity& quantity) {
  std::vector<double> values(edges.size() - 1, unknown);
  std::vector<int> counts(values.size(), 0);
  for (const SlotSample& sample : slot.samples) {
    const double value = quantity.value(sample);
    if (!std::isfinite(value)) continue;
    const auto after = std::upper_bound(edges.begin(), edges.end(), static_cast<double>(sample.step));
    const auto c = std::min(static_cast<std::size_t>(std::max<std::ptrdiff_t>(after - edges.begin() - 1, 0)),
                            values.size() - 1);
    const int before = counts[c]++;
    if (before == 0 || quantity.join == Quantity::Join::last)
      values[c] = value;
    else if (quantity.join == Quantity::Join::largest)
      values[c] = std::max(values[c], value);
    else
      values[c] += (value - values[c]) / (before + 1);
  }
  for (std::size_t c = 1; c < values.size(); ++c)
    if (counts[c] == 0) values[c] = values[c - 1];
  return values;
}

}  // namespace

std::vector<double> column_edges(std::span<const SlotRecord* const> slots, std::int64_t last_step) {
  std::set<std::int64_t> steps;
  for (const SlotRecord* slot : slots)
    for (const SlotSample& sample : slot->samples) steps.insert(sample.step);
  if (steps.empty()) return {0, 1};
  const auto first = static_cast<double>(*steps.begin());
  const auto end = static_cast<double>(std::max(last_step, *steps.rbegin() + 1));
  const std::size_t limit = column_limit(slots.size());
  std::vector<double> edges(steps.begin(), steps.end());
  edges.push_back(end);
  double narrowest = end - first;
  for (std::size_t i = 0; i + 2 < edges.size(); ++i) narrowest = std::min(narrowest, edges[i + 1] - edges[i]);
  if (narrowest * static_cast<double>(limit) >= end - first) return edges;
  edges.clear();
  const std::size_t columns = std::min(limit, static_cast<std::size_t>(end - first));
  for (std::size_t c = 0; c <= columns; ++c)
    edges.push_back(
        std::round(first + (end - first) * static_cast<double>(c) / static_cast<double>(columns)));
  return edges;
}

std::vector<HeatRow> heat_rows(std::span<const SlotRecord* const> slots, const std::vector<double>& edges,
                               const Quantity& quantity) {
  const bool mixed = std::any_of(slots.begin(), slots.end(),
                                 [&](const SlotRecord* slot) { return slot->operand != slots[0]->operand; });
  const auto name_of = [&](const SlotRecord& slot) {
    return mixed ? slot.layer + " " + slot.operand : slot.layer;
  };
  std::map<std::string, int> times;
  for (const SlotRecord* slot : slots) ++times[name_of(*slot)];
  const std::size_t prefix = common_prefix(slots);
  std::vector<HeatRow> rows;
  for (const SlotRecord* slot : slots) {
    std::vector<double> values = column_values(*slot, edges, quantity);
    if (std::none_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); })) continue;
    const std::string name = name_of(*slot);
    // Slots of one layer and operand differ in source or format: only the key tells them apart.
    rows.push_back({name.substr(prefix), times[name] > 1 ? slot->key : name, std::move(values)});
  }
  return rows;
}

}  // namespace octavo::report
