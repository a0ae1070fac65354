#include "train/report/facts.h"

#include <algorithm>

#include "config/yaml.h"
#include "train/report/json_lines.h"
#include "train/report/series.h"

namespace octavo::report {
namespace {

// Scalar at "section.key" of the saved configuration; "" when there is none.
std::string setting(const YamlNode& config, const char* section, const char* key) {
  const YamlNode* inner = config.find(section);
  const YamlNode* found = inner != nullptr && inner->is_map() ? inner->find(key) : nullptr;
  return found != nullptr && found->is_scalar() ? found->text : std::string();
}

void take_configuration(const RunRecord& run, RunFacts& facts) {
  const YamlNode config = parse_yaml(run.config, (run.path / "config.yaml").string());
  if (!config.is_map()) return;
  facts.policy = setting(config, "precision", "policy");
  facts.data = setting(config, "data", "set");
  facts.model = std::filesystem::path(setting(config, "model", "file")).stem().string();
  facts.seed = parse_integer(setting(config, "train", "seed"));
  const auto steps = parse_integer(setting(config, "train", "steps"));
  const auto epochs = parse_integer(setting(config, "train", "epochs"));
  facts.total_steps = steps.value_or(0) > 0 ? *steps : epochs.value_or(0) * run.steps_per_epoch();
}

void take_plan(const RunRecord& run, RunFacts& facts) {
  double all[3] = {}, integer[3] = {};
  for (const PlanRow& row : run.plan) {
    const std::size_t p = row.product == "forward" ? 0 : row.product == "grad_input" ? 1 : 2;
    all[p] += row.macs;
    integer[p] += row.integer ? row.macs : 0;
  }
  const auto share = [&](std::size_t p) { return all[p] > 0 ? integer[p] / all[p] : 0; };
  if (!run.plan.empty()) facts.int8 = Int8MacShare{share(0), share(1), share(2)};
}

// Metrics are fractions, but nobody promises it of those that an application adds.
Unit unit_of(const RunRecord& run) {
  if (run.metric_name == "loss" || run.metric_name == "perplexity") return Unit::plain;
  const bool fractions = std::all_of(run.evaluations.begin(), run.evaluations.end(),
                                     [](const EvalPoint& p) { return !(p.metric < 0) && !(p.metric > 1); });
  return fractions ? Unit::percent : Unit::plain;
}

void take_events(const RunRecord& run, RunFacts& facts) {
  facts.steps = run.last_step();
  facts.metric_name = run.metric_name;
  facts.metric_unit = unit_of(run);
  for (const EvalPoint& point : run.evaluations) {
    const bool better = lower_is_better(run.metric_name) ? point.metric < facts.best_metric
                                                         : point.metric > facts.best_metric;
    if (!(facts.best_step > 0) || better) {
      facts.best_metric = point.metric;
      facts.best_step = point.step;
    }
    facts.metric = point.metric;
    facts.loss = point.loss;
  }
  std::vector<double> seconds, rates;
  for (const TrainPoint& point : run.train) {
    seconds.push_back(point.seconds);
    rates.push_back(point.samples_per_second);
  }
  facts.step_ms = 1000 * quantile(std::move(seconds), 0.5);
  facts.samples_per_second = quantile(std::move(rates), 0.5);
}

void take_summary(const RunRecord& run, RunFacts& facts) {
  const nlohmann::json summary(run.summary);
  const JsonLine line{summary, (run.path / "summary.json").string()};
  facts.policy = line.text("policy");
  facts.model = line.text("model");
  facts.data = line.text("data");
  facts.procedural = line.flag("procedural");
  facts.seed = line.integer("seed");
  facts.steps = facts.total_steps = line.integer("steps");
  facts.metric_name = line.text("metric_name");
  facts.metric = line.number("metric");
  facts.loss = line.number("loss");
  facts.step_ms = line.number("step_ms_median");
  facts.samples_per_second = line.number("samples_per_second");
  facts.peak_bytes = line.number("peak_bytes");
  if (summary.contains("best_step")) {
    facts.best_metric = line.number("best_metric");
    facts.best_step = line.integer("best_step");
  }
  const auto share = summary.find("int8_mac_share");
  if (share == summary.end()) return;
  if (!share->is_object()) line.refuse("int8_mac_share", "an object");
  const JsonLine inner{*share, line.where};
  facts.int8 = Int8MacShare{inner.number("forward"), inner.number("grad_input"), inner.number("grad_weight")};
}

}  // namespace

bool lower_is_better(const std::string& metric_name) {
  return metric_name == "loss" || metric_name == "perplexity" || metric_name.ends_with("error");
}

RunFacts facts_of(const RunRecord& run) {
  RunFacts facts;
  facts.name = run.name;
  facts.finished = run.finished();
  const auto procedural = run.environment.find("procedural_data");
  facts.procedural = procedural != run.environment.end() && *procedural == true;
  take_configuration(run, facts);
  take_plan(run, facts);
  take_events(run, facts);
  if (facts.finished) take_summary(run, facts);
  return facts;
}

}  // namespace octavo::report
