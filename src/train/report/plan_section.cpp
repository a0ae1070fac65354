// The plan: which kernel ran each product of each layer, on which operands, and why some stayed in float.
#include <algorithm>
#include <string_view>

#include "train/report/markup.h"
#include "train/report/sections.h"
#include "train/report/text.h"

namespace octavo::report {
namespace {

void header(Markup& out) {
  out.open("thead").open("tr");
  for (const char* name : {"layer", "product", "kernel", "data", "other operand"})
    out.element("th", {}, name);
  out.element("th", {{"class", "number"}}, "MACs").element("th", {{"class", "number"}}, "share");
  out.close().close();
}

// A slot's key is source, operand and format; the source is in the row's title.
std::string format_of(const std::string& slot) {
  for (const char* operand : {" weight ", " activation ", " gradient "})
    if (const std::size_t at = slot.rfind(operand); at != std::string::npos)
      return slot.substr(at + std::string_view(operand).size());
  return slot;
}

void body_row(Markup& out, const PlanRow& row, bool first_of_layer, double all) {
  std::string classes = first_of_layer ? "first" : "";
  if (!row.integer) classes += classes.empty() ? "float" : " float";
  out.open("tr", {{"class", classes}}).element("td", {{"class", "name"}}, first_of_layer ? row.layer : "");
  out.element("td", {}, row.product).element("td", {{"class", "name"}}, row.kernel);
  if (row.integer)
    for (const std::string& slot : {row.data, row.other})
      out.element("td", {{"class", "name"}, {"title", slot}}, format_of(slot));
  else
    out.element("td", {{"colspan", "2"}, {"class", "why"}}, row.why.empty() ? "float" : "float: " + row.why);
  out.element("td", {{"class", "number"}}, fixed_text(row.macs / 1e6, 2) + " M");
  out.element("td", {{"class", "number"}}, all > 0 ? percent_text(row.macs / all, 1) : "–").close();
}

}  // namespace

std::string plan_section(const RunRecord& run) {
  if (run.plan.empty()) return "<p class=\"empty\">This run recorded no plan.</p>";
  double all = 0, integer = 0;
  for (const PlanRow& row : run.plan) {
    all += row.macs;
    integer += row.integer ? row.macs : 0;
  }
  const auto count =
      std::count_if(run.plan.begin(), run.plan.end(), [](const PlanRow& r) { return r.integer; });
  Markup out;
  out.element("p", {{"class", "about"}},
              std::to_string(count) + " of " + std::to_string(run.plan.size()) + " products in integers, " +
                  (all > 0 ? percent_text(integer / all, 1) : "–") +
                  " of the multiply-accumulates of a step.");
  out.open("div", {{"class", "scroll"}}).open("table", {{"class", count > 0 ? "mixed" : ""}});
  header(out);
  out.open("tbody");
  for (std::size_t i = 0; i < run.plan.size(); ++i)
    body_row(out, run.plan[i], i == 0 || run.plan[i].layer != run.plan[i - 1].layer, all);
  return out.take();
}

}  // namespace octavo::report
