// The head of a report: what ran, how far, and the figures one looks for first.
#include <cmath>

#include "train/report/markup.h"
#include "train/report/sections.h"
#include "train/report/text.h"

namespace octavo::report {
namespace {

constexpr double int8_result = 0.95;  // below it in any product: not an INT8 result

void tile(Markup& out, const std::string& label, const std::string& value, const std::string& detail) {
  out.open("div", {{"class", "tile"}}).element("h3", {}, label).element("p", {{"class", "value"}}, value);
  out.element("p", {{"class", "note"}}, detail).close();
}

void share_bar(Markup& out, const char* product, double share) {
  const double inside = std::isfinite(share) ? std::min(std::max(share, 0.0), 1.0) : 0;
  out.open("li").element("span", {}, product);
  out.open("b", {{"class", "bar"}})
      .element("i", {{"style", "width:" + coordinate(100 * inside) + "%"}}, "")
      .close();
  out.element("span", {{"class", "number"}}, percent_text(share, 1)).close();
}

void share_tile(Markup& out, const RunFacts& facts) {
  out.open("div", {{"class", "tile shares"}}).element("h3", {}, "INT8 share of the MACs");
  if (facts.int8) {
    out.open("ul");
    share_bar(out, "forward", facts.int8->forward);
    share_bar(out, "grad_input", facts.int8->grad_input);
    share_bar(out, "grad_weight", facts.int8->grad_weight);
    out.close();
  } else {
    out.element("p", {{"class", "value"}}, "–");
  }
  out.close();
}

std::string progress_text(const RunFacts& facts) {
  if (facts.finished) return "finished, " + count_text(facts.steps) + " steps";
  const std::string of = facts.total_steps > 0 ? " of " + count_text(facts.total_steps) : "";
  return "not finished: step " + count_text(facts.steps) + of;
}

void head(Markup& out, const RunFacts& facts) {
  out.element("h1", {}, facts.name).open("p", {{"class", "about"}});
  out.element("strong", {}, facts.policy.empty() ? "unknown policy" : facts.policy);
  out.text(" · " + facts.model + " on " + facts.data);
  if (facts.seed) out.text(" · seed " + std::to_string(*facts.seed));
  out.text(" · " + progress_text(facts));
  if (facts.procedural)
    out.text(" ").element("mark", {{"title", "The library draws these images: no result on real data"}},
                          "procedural data");
  out.close();
}

// The contract: a result with less than 95% of a product's MACs in integers is no INT8 result, and says
// where.
void below_int8(Markup& out, const RunRecord& run, const RunFacts& facts) {
  if (!facts.int8 || facts.policy == "fp32") return;
  const Int8MacShare& share = *facts.int8;
  if (std::min({share.forward, share.grad_input, share.grad_weight}) >= int8_result) return;
  std::string text =
      "Not an INT8 result: less than 95% of the multiply-accumulates of a product ran in integers. In float:";
  for (const PlanRow& row : run.plan)
    if (!row.integer)
      text += " " + row.layer + " " + row.product + (row.why.empty() ? ";" : " (" + row.why + ");");
  text.back() = '.';
  out.element("p", {{"class", "warning"}}, text);
}

}  // namespace

std::string overview(const RunRecord& run, const RunFacts& facts) {
  const bool percent = facts.metric_unit == Unit::percent;
  const auto metric = [&](double value) { return percent ? percent_text(value, 2) : number_text(value, 4); };
  Markup out;
  head(out, facts);
  out.open("div", {{"class", "tiles"}});
  tile(out, facts.metric_name.empty() ? "metric" : facts.metric_name, metric(facts.metric),
       facts.best_step > 0 ? "best " + metric(facts.best_metric) + " at step " + count_text(facts.best_step)
                           : "not evaluated yet");
  tile(out, "evaluation loss", number_text(facts.loss, 4), "last evaluation");
  tile(out, "step", std::isfinite(facts.step_ms) ? fixed_text(facts.step_ms, 1) + " ms" : "–", "median");
  tile(out, "samples per second", number_text(facts.samples_per_second, 4), "median");
  tile(out, "peak memory", bytes_text(facts.peak_bytes),
       facts.finished ? "of the process" : "known at the end");
  share_tile(out, facts);
  out.close();
  below_int8(out, run, facts);
  return out.take();
}

}  // namespace octavo::report
