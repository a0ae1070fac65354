// precision.jsonl: the plan, and what each slot measured and did.
#include <algorithm>
#include <cmath>
#include <tuple>
#include <unordered_map>

#include "core/check.h"
#include "train/report/json_lines.h"
#include "train/report/run_record.h"

namespace octavo::report {
namespace {

using Json = nlohmann::json;

constexpr int exponent_limit = 4096;
constexpr std::size_t most_octaves = 4096;

// "s8 tensor stochastic" -> 8; NaN when the format does not begin with a type.
double bits_of(const std::string& format) {
  std::size_t end = 1;
  while (end < format.size() && format[end] >= '0' && format[end] <= '9') ++end;
  if (end == 1 || end > 4 || (format[0] != 's' && format[0] != 'u')) return unknown;
  return std::stod(format.substr(1, end - 1));
}

std::vector<PlanRow> read_plan(const JsonLine& line) {
  const Json& plan = line.value.at("plan");
  if (!plan.is_array()) line.refuse("plan", "a list");
  std::vector<PlanRow> rows;
  for (const Json& entry : plan) {
    if (!entry.is_object()) line.refuse("plan", "a list of objects");
    const JsonLine row{entry, line.where};
    rows.push_back({row.text("layer"), row.text("product"), row.text("kernel"), row.text("data"),
                    row.text("other"), row.text("why"), row.flag("integer"), row.number("macs")});
    if (std::isnan(rows.back().macs)) rows.back().macs = 0;
  }
  return rows;
}

std::optional<OctaveHistogram> read_histogram(const JsonLine& line, const SlotSample& sample) {
  const auto found = line.value.find("histogram");
  if (found == line.value.end() || found->is_null()) return {};
  if (!found->is_object()) line.refuse("histogram", "an object");
  const JsonLine inner{*found, line.where};
  OctaveHistogram histogram;
  histogram.step = sample.step;
  histogram.clip = sample.clip;
  const std::int64_t first = inner.integer("first_exponent");
  if (std::abs(first) > exponent_limit) inner.refuse("first_exponent", "an exponent of a float");
  histogram.first_exponent = static_cast<int>(first);
  const double zeros = inner.value.contains("zeros") ? inner.number("zeros") : line.number("zeros");
  histogram.zeros = zeros > 0 ? zeros : 0;
  const auto counts = found->find("counts");
  if (counts == found->end() || !counts->is_array() || counts->size() > most_octaves)
    inner.refuse("counts", "a list of counts");
  for (const Json& count : *counts) {
    if (!count.is_number() || count.get<double>() < 0) inner.refuse("counts", "a list of counts");
    histogram.counts.push_back(count.get<double>());
  }
  return histogram;
}

SlotSample read_sample(const JsonLine& line, const std::string& format) {
  SlotSample sample{line.integer("step"),
                    line.number("bits"),
                    line.number("max_abs"),
                    line.number("clip"),
                    line.number("saturated_share"),
                    line.number("cosine_distance"),
                    line.number("learning_rate_factor")};
  if (std::isnan(sample.bits)) sample.bits = bits_of(format);
  return sample;
}

// Events of a slot come in the order of their steps; a step that is told twice counts as told last.
void add_event(const JsonLine& line, SlotRecord& slot) {
  slot.format = line.text("format");
  const SlotSample sample = read_sample(line, slot.format);
  if (auto histogram = read_histogram(line, sample)) {
    if (!slot.first) slot.first = histogram;
    slot.last = std::move(histogram);
  }
  if (const std::string reason = line.text("reason"); !reason.empty()) ++slot.reasons[reason];
  while (!slot.samples.empty() && slot.samples.back().step >= sample.step) slot.samples.pop_back();
  slot.samples.push_back(sample);
}

int operand_rank(const std::string& operand) {
  return operand == "weight" ? 0 : operand == "activation" ? 1 : operand == "gradient" ? 2 : 3;
}

// Layers of the plan in model order, others behind them.
void sort_slots(RunRecord& run) {
  std::unordered_map<std::string, std::size_t> order;
  for (const PlanRow& row : run.plan) order.try_emplace(row.layer, order.size());
  const auto rank = [&](const SlotRecord& slot) {
    const auto found = order.find(slot.layer);
    return std::tuple(found == order.end() ? order.size() : found->second, operand_rank(slot.operand));
  };
  std::stable_sort(run.slots.begin(), run.slots.end(),
                   [&](const SlotRecord& a, const SlotRecord& b) { return rank(a) < rank(b); });
}

}  // namespace

void read_precision(const std::filesystem::path& file, RunRecord& run) {
  std::unordered_map<std::string, std::size_t> places;
  each_line(file, [&](const JsonLine& line) {
    if (line.value.contains("plan")) run.plan = read_plan(line);
    const std::string key = line.text("slot");
    if (key.empty()) return;
    const auto [found, added] = places.try_emplace(key, run.slots.size());
    if (added) run.slots.push_back({key, line.text("layer"), line.text("operand"), {}, {}, {}, {}, {}});
    add_event(line, run.slots[found->second]);
  });
  sort_slots(run);
}

}  // namespace octavo::report
