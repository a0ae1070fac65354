// Check of a document against the table of keys, and its way back to YAML.
#include "config/schema.h"

#include <algorithm>

#include "config/field.h"
#include "core/check.h"

namespace octavo {
namespace {

// First part of "a.b.c" below `prefix` ("" or "a."), or "" when the path is elsewhere.
std::string child_name(const std::string& path, const std::string& prefix) {
  if (!path.starts_with(prefix)) return "";
  const std::size_t end = path.find('.', prefix.size());
  return path.substr(prefix.size(), end == std::string::npos ? end : end - prefix.size());
}

class Reader {
 public:
  Reader(const Catalog& catalog, Problems& problems) : keys_(config_keys(catalog)), problems_(problems) {}

  Settings read(const YamlNode& root) {
    visit(root, "");
    return std::move(settings_);
  }

 private:
  void visit(const YamlNode& map, const std::string& prefix) {
    for (const YamlEntry& entry : map.entries) {
      const std::string path = prefix + entry.key;
      if (const KeySpec* spec = find(path)) {
        take(*spec, entry.value);
      } else if (is_section(path)) {
        visit_section(entry, path);
      } else {
        problems_.add(entry.position, unknown(entry.key, prefix));
      }
    }
  }

  const KeySpec* find(const std::string& path) const {
    const auto at =
        std::find_if(keys_.begin(), keys_.end(), [&](const KeySpec& key) { return key.path == path; });
    return at == keys_.end() ? nullptr : &*at;
  }

  bool is_section(const std::string& path) const { return !names_below(path + ".").empty(); }

  void take(const KeySpec& spec, const YamlNode& value) {
    if (value.is_null()) return;  // `key:` alone leaves the default
    try {
      spec.read(value, spec, settings_);
    } catch (const Error& error) {
      problems_.add(error);
    }
  }

  void visit_section(const YamlEntry& entry, const std::string& path) {
    if (entry.value.is_map()) return visit(entry.value, path + ".");
    if (entry.value.is_null()) return;
    std::string keys;
    for (const std::string& name : names_below(path + ".")) keys += (keys.empty() ? "" : ", ") + name;
    problems_.add(entry.value.position,
                  concat("'", path, "' expects the keys ", keys, ", found ", describe(entry.value)));
  }

  std::vector<std::string> names_below(const std::string& prefix) const {
    std::vector<std::string> names;
    for (const KeySpec& key : keys_) {
      const std::string name = child_name(key.path, prefix);
      if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
    return names;
  }

  std::string unknown(const std::string& key, const std::string& prefix) const {
    const std::string place = prefix.empty() ? "" : " under '" + prefix.substr(0, prefix.size() - 1) + "'";
    const std::string text = concat("unknown key '", key, "'", place);
    const std::vector<std::string> here = names_below(prefix);
    if (!nearest_name(key, here).empty()) return text + suggestion(key, here);
    for (const KeySpec& spec : keys_)
      if (spec.path.ends_with("." + key)) return text + "; did you mean '" + spec.path + "'?";
    return text + suggestion(key, here);
  }

  std::vector<KeySpec> keys_;
  Problems& problems_;
  Settings settings_;
};

// Rules that tie several keys together.
class Rules {
 public:
  Rules(const YamlNode& root, Problems& problems) : root_(root), problems_(problems) {}

  void check(const Settings& s) {
    one_of("model.use", "model.file");
    one_of("train.epochs", "train.steps");
    if (!given("data.set")) problems_.add(root_.position, "'data.set' is required");
    if (s.optimizer.nesterov && s.optimizer.momentum == 0)
      problems_.add(at("optimizer.nesterov"), "'optimizer.nesterov' needs 'optimizer.momentum' above 0");
    if (s.data.normalize.mean.size() != s.data.normalize.std.size())
      problems_.add(at("data.normalize"), "'data.normalize' needs 'mean' and 'std' of equal length");
    if (s.schedule.type == "step" && !given("schedule.every"))
      problems_.add(at("schedule.type"), "'schedule.type' step needs 'schedule.every'");
    if (s.schedule.type == "multistep") check_multistep(s.schedule.at);
  }

 private:
  bool given(std::string_view path) const {
    const YamlNode* node = find_path(root_, path);
    return node != nullptr && !node->is_null();
  }

  Position at(std::string_view path) const {
    const YamlNode* node = find_path(root_, path);
    return node != nullptr ? node->position : root_.position;
  }

  void one_of(std::string_view first, std::string_view second) {
    const bool both = given(first) && given(second);
    if (both) problems_.add(at(second), concat("'", first, "' and '", second, "' exclude each other"));
    if (!given(first) && !given(second))
      problems_.add(root_.position, concat("one of '", first, "' and '", second, "' is required"));
  }

  void check_multistep(const std::vector<Duration>& at_durations) {
    if (!given("schedule.at"))
      problems_.add(at("schedule.type"), "'schedule.type' multistep needs 'schedule.at'");
    for (std::size_t i = 1; i < at_durations.size(); ++i) {
      const Duration &before = at_durations[i - 1], &after = at_durations[i];
      if (before.in_epochs != after.in_epochs || before.count >= after.count)
        return problems_.add(at("schedule.at"), "'schedule.at' must ascend, all in epochs or all in steps");
    }
  }

  const YamlNode& root_;
  Problems& problems_;
};

OptionValue read_option(const YamlNode& node, const OptionSpec& option) {
  KeySpec spec;
  spec.path = "precision.options." + option.name;
  OptionValue value;
  if (option.type == OptionSpec::Type::flag) {
    bool flag = false;
    spec.type = type_name(flag);
    read_field(node, spec, flag);
    return {flag ? "true" : "false", flag ? 1.0 : 0.0};
  }
  if (option.type == OptionSpec::Type::choice) {
    spec.type = type_name(value.text);
    spec.choices = option.choices;
    read_field(node, spec, value.text);
    return value;
  }
  spec.limits = Limits{option.min, option.max};
  if (option.type == OptionSpec::Type::integer) {
    std::int64_t integer = 0;
    spec.type = type_name(integer);
    read_field(node, spec, integer);
    return {write_field(integer), static_cast<double>(integer)};
  }
  spec.type = type_name(value.number);
  read_field(node, spec, value.number);
  value.text = write_field(value.number);
  return value;
}

std::vector<std::string> split(const std::string& path) {
  std::vector<std::string> parts(1);
  for (const char c : path) {
    if (c == '.') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

}  // namespace

const YamlNode* find_path(const YamlNode& root, std::string_view path) {
  const YamlNode* node = &root;
  while (node != nullptr && !path.empty()) {
    const std::size_t end = std::min(path.find('.'), path.size());
    node = node->find(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return node;
}

const PolicySpec* find_policy(const Catalog& catalog, std::string_view name) {
  for (const PolicySpec& policy : catalog.policies) {
    const auto& aliases = policy.aliases;
    if (policy.name == name || std::find(aliases.begin(), aliases.end(), name) != aliases.end())
      return &policy;
  }
  return nullptr;
}

std::map<std::string, OptionValue> read_options(const YamlNode* given, const PolicySpec& policy,
                                                Problems& problems) {
  std::map<std::string, OptionValue> values;
  std::vector<std::string> names;
  for (const OptionSpec& option : policy.options) {
    names.push_back(option.name);
    const YamlNode* node = given != nullptr ? given->find(option.name) : nullptr;
    const YamlNode fallback = make_scalar(option.default_value, {});
    try {
      values[option.name] = read_option(node != nullptr && !node->is_null() ? *node : fallback, option);
    } catch (const Error& error) {
      problems.add(error);
      values[option.name] = read_option(fallback, option);
    }
  }
  if (given == nullptr) return values;
  for (const YamlEntry& entry : given->entries)
    if (std::find(names.begin(), names.end(), entry.key) == names.end())
      problems.add(entry.position, concat("unknown option '", entry.key, "' of policy '", policy.name, "'",
                                          names.empty() ? "; it has none" : suggestion(entry.key, names)));
  return values;
}

Settings read_settings(const YamlNode& root, const Catalog& catalog, Problems& problems) {
  Settings settings = Reader(catalog, problems).read(root);
  Rules(root, problems).check(settings);
  if (const PolicySpec* policy = find_policy(catalog, settings.precision.policy)) {
    settings.precision.policy = policy->name;
    settings.precision.options = read_options(find_path(root, "precision.options"), *policy, problems);
  }
  return settings;
}

std::string write_settings(const Settings& settings, const Catalog& catalog) {
  std::string text;
  std::vector<std::string> open;  // sections of the line before
  for (const KeySpec& spec : config_keys(catalog)) {
    const std::string value = spec.write(settings);
    if (value.empty() || (spec.path == "model.use" && !settings.model.file.empty())) continue;
    std::vector<std::string> sections = split(spec.path);
    const std::string name = sections.back();
    sections.pop_back();
    std::size_t common = 0;
    while (common < std::min(open.size(), sections.size()) && open[common] == sections[common]) ++common;
    for (std::size_t depth = common; depth < sections.size(); ++depth)
      text += std::string(2 * depth, ' ') + sections[depth] + ":\n";
    text += std::string(2 * sections.size(), ' ') + name + ": " + value + "\n";
    open = sections;
  }
  return text;
}

}  // namespace octavo
