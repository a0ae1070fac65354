// Histograms of the gradients, the earliest and the latest that the run recorded.
#include <algorithm>
#include <cmath>

#include "train/report/histogram_chart.h"
#include "train/report/markup.h"
#include "train/report/sections.h"
#include "train/report/text.h"

namespace octavo::report {
namespace {

constexpr std::size_t most_charts = 24;
constexpr double visible_share = 1e-4;  // octaves with less stay outside the shared axis

// Octaves in which some histogram has a visible share, and the ends of the ranges.
Range shared_exponents(const std::vector<const SlotRecord*>& slots) {
  Range range{HUGE_VAL, -HUGE_VAL};
  for (const SlotRecord* slot : slots)
    for (const OctaveHistogram* histogram : {&*slot->first, &*slot->last}) {
      if (histogram->clip > 0) range.high = std::max(range.high, std::ceil(std::log2(histogram->clip)));
      for (std::size_t i = 0; i < histogram->counts.size(); ++i) {
        if (!(histogram->counts[i] > visible_share * histogram->total())) continue;
        const double octave = histogram->first_exponent + static_cast<double>(i);
        range = {std::min(range.low, octave), std::max(range.high, octave + 1)};
      }
    }
  return range.low < range.high ? range : Range{-24, 0};
}

std::string steps_text(const std::vector<const SlotRecord*>& slots) {
  std::int64_t early = slots[0]->first->step, late = slots[0]->last->step;
  for (const SlotRecord* slot : slots) {
    early = std::min(early, slot->first->step);
    late = std::max(late, slot->last->step);
  }
  return early == late ? "step " + count_text(early)
                       : "step " + count_text(early) + " and step " + count_text(late);
}

}  // namespace

std::string gradient_section(const RunRecord& run) {
  std::vector<const SlotRecord*> slots;
  for (const SlotRecord& slot : run.slots)
    if (slot.operand == "gradient" && slot.first) slots.push_back(&slot);
  if (slots.empty()) return "<p class=\"empty\">This run kept no gradient histogram.</p>";
  const bool two =
      std::any_of(slots.begin(), slots.end(), [](const auto* s) { return s->first->step != s->last->step; });
  const std::size_t shown = std::min(slots.size(), most_charts);
  Markup out;
  out.open("p", {{"class", "about"}})
      .text("Magnitudes by octave at " + steps_text(slots) + ", as shares of all values. ");
  if (two)
    out.element("i", {{"class", "c2 line"}}, "")
        .text("early ")
        .element("i", {{"class", "c1 area"}}, "")
        .text("late. ");
  out.text("Dashed: the range of that step.");
  if (shown < slots.size())
    out.text(" " + std::to_string(shown) + " of " + std::to_string(slots.size()) +
             " slots, evenly over the depth.");
  out.close().open("div", {{"class", "small grid"}});
  const Range exponents = shared_exponents(slots);
  for (std::size_t i = 0; i < shown; ++i) {
    const SlotRecord& slot = *slots[shown < 2 ? 0 : i * (slots.size() - 1) / (shown - 1)];
    const bool again = slot.last->step != slot.first->step;
    out.raw(histogram_chart({slot.layer, &*slot.first, again ? &*slot.last : nullptr, exponents}));
  }
  return out.take();
}

}  // namespace octavo::report
