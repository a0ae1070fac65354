#include "train/reproduce/plan.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "config/config_impl.h"
#include "config/model_file.h"
#include "config/model_language.h"
#include "config/problems.h"
#include "config/schema.h"
#include "core/check.h"
#include "core/numerics.h"
#include "octavo/trainer.h"
#include "precision/registry.h"
#include "train/crc32c.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

std::string checksum(const std::string& text) { return crc_text(crc32c(std::as_bytes(std::span(text)))); }

// Names after `use:`, at any depth.
void collect_uses(const YamlNode& node, std::set<std::string>& names) {
  for (const YamlNode& item : node.items) collect_uses(item, names);
  for (const YamlEntry& entry : node.entries) {
    if (entry.key == "use" && entry.value.is_scalar()) names.insert(entry.value.text);
    collect_uses(entry.value, names);
  }
}

// The model file and every file that it uses by a plain name, comments and layout left out.
std::string model_text(const std::string& path, const std::vector<std::string>& folders,
                       std::set<std::string>& seen) {
  if (!seen.insert(path).second) return "";
  const ModelFile file = read_model_file(path);
  std::string text = to_flow_text(file.root);
  std::set<std::string> names;
  collect_uses(file.root, names);
  std::vector<std::string> places{fs::path(path).parent_path().string()};
  places.insert(places.end(), folders.begin(), folders.end());
  for (const std::string& name : names)
    if (name.find('$') == std::string::npos && file.block(name) == nullptr)
      text += model_text(find_model(name, places, file.root.position), folders, seen);
  return text;
}

bool decides(const std::string& key, bool fp32) {
  static const std::set<std::string> others{"model.use",        "model.file",      "data.path",
                                            "data.threads",     "train.seed",      "train.threads",
                                            "train.eval_every", "train.keep_last", "train.checkpoint_every",
                                            "train.recompute",  "output.dir",      "precision.strict"};
  if (fp32 && key.starts_with("precision.") && key != "precision.policy") return false;
  return !others.contains(key);
}

void add_options(const Config& config, DecidingSettings& settings) {
  const PolicySpec* policy = find_policy(config.impl().catalog, config.precision().policy);
  Problems none;
  const auto defaults = read_options(nullptr, *policy, none);
  for (const auto& [name, value] : config.precision().options)
    if (value.text != defaults.at(name).text) settings["precision.options." + name] = value.text;
}

PlannedRun planned_run(const std::string& path, std::vector<std::string> overrides, std::int64_t seed) {
  std::vector<std::string> all = overrides;
  all.push_back(concat("train.seed=", seed));
  Config config = Config::load(path, all, catalog());
  DecidingSettings settings = deciding_settings(config);
  const std::string hash = settings_hash(settings), model = fs::path(config.model().file).stem().string();
  std::string name = concat(model, "-", config.precision().policy, "-", hash, "-seed", seed);
  std::erase_if(overrides, [](const std::string& text) { return !decides_numbers(text); });
  return {std::move(config), path, std::move(overrides), std::move(settings), hash, std::move(name)};
}

// The same training in FP32: whatever an override says of the precision falls away.
std::vector<std::string> in_fp32(const std::vector<std::string>& overrides) {
  std::vector<std::string> kept;
  for (const std::string& text : overrides)
    if (!text.starts_with("precision.") && !text.starts_with("precision=")) kept.push_back(text);
  kept.emplace_back("precision=fp32");
  return kept;
}

PlannedRow plan_row(const PaperTable& table, const PaperRow& row, const PlanChoices& choices) {
  PlannedRow planned{row, {}, {}};
  if (row.policy.empty()) return planned;
  const TableScale& scale = table.scale(choices.scale);
  std::vector<std::string> overrides, baseline;
  const auto add = [](std::vector<std::string>& to, const std::vector<std::string>& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  add(overrides, table.overrides);
  add(overrides, scale.overrides);
  overrides.push_back("precision=" + row.policy);
  add(overrides, row.overrides);
  add(baseline, overrides);
  add(overrides, row.method);
  add(overrides, choices.overrides);
  add(baseline, choices.overrides);
  baseline = in_fp32(baseline);
  const std::vector<std::int64_t>& own = row.seeds.empty() ? scale.seeds : row.seeds;
  for (const std::int64_t seed : choices.seeds.empty() ? own : choices.seeds) {
    planned.runs.push_back(planned_run(row.config, overrides, seed));
    if (planned.runs.back().config.precision().policy != "fp32")
      planned.baselines.push_back(planned_run(row.config, baseline, seed));
  }
  return planned;
}

}  // namespace

bool decides_numbers(const std::string& override_text) {
  return decides(override_text.substr(0, override_text.find('=')), false);
}

DecidingSettings deciding_settings(const Config& config) {
  const Settings& settings = config.settings();
  const bool fp32 = settings.precision.policy == "fp32";
  DecidingSettings result;
  for (const KeySpec& spec : config_keys(config.impl().catalog)) {
    if (!decides(spec.path, fp32) || spec.path == "precision.options") continue;
    const std::string text = spec.write(settings);
    if (text != spec.default_text) result[spec.path] = text;
  }
  result["precision.policy"] = settings.precision.policy;
  const int revision = find_policy(settings.precision.policy).revision;
  if (revision > 1) result["precision.revision"] = std::to_string(revision);
  if (settings.precision.edges == "bf16")
    result["precision.edges.revision"] = std::to_string(bf16_edges_revision);
  if (!fp32) add_options(config, result);
  std::set<std::string> seen;
  result["model"] = fs::path(settings.model.file).stem().string() + "@" +
                    checksum(model_text(settings.model.file, config.impl().folders, seen));
  return result;
}

std::string settings_hash(const DecidingSettings& settings) {
  std::string text;
  for (const auto& [key, value] : settings) text += key + "=" + value + "\n";
  return checksum(text);
}

PlannedTable plan_table(const PaperTable& table, const PlanChoices& choices) {
  PlannedTable planned{table, choices.scale, {}};
  Problems problems;
  for (const PaperRow& row : table.rows) {
    try {
      planned.rows.push_back(plan_row(table, row, choices));
    } catch (const Error& error) {
      problems.add(row.position, concat("[row '", row.name, "'] ", error.what()));
    }
  }
  problems.throw_if_any();
  return planned;
}

std::vector<PlannedRun> distinct_runs(const std::vector<PlannedTable>& tables) {
  std::vector<PlannedRun> runs;
  std::set<std::string> names;
  const auto add = [&](const PlannedRun& run) {
    if (names.insert(run.name).second) runs.push_back(run);
  };
  for (const PlannedTable& table : tables)
    for (const PlannedRow& row : table.rows) {
      std::for_each(row.baselines.begin(), row.baselines.end(), add);
      std::for_each(row.runs.begin(), row.runs.end(), add);
    }
  return runs;
}

}  // namespace octavo
