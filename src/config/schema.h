// The table of every configuration key, and the check of a document against it.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/problems.h"
#include "config/yaml.h"
#include "octavo/config.h"

namespace octavo {

struct Limits {
  double min = 0, max = 0;
  bool open_min = false, open_max = false;  ///< the end itself is not allowed
};

/// One key: its place, meaning, limits, and how its value gets into and out of the settings.
struct KeySpec {
  std::string path;  ///< "optimizer.lr"
  std::string type;  ///< "number", "list of durations", ...
  std::optional<Limits> limits;
  std::vector<std::string> choices;
  std::string help;                                                      ///< one line, with the unit
  std::string default_text;                                              ///< YAML; empty: unset
  std::function<void(const YamlNode&, const KeySpec&, Settings&)> read;  ///< throws Errc::config
  std::function<std::string(const Settings&)> write;                     ///< YAML text; empty: unset

  bool accepts(double value) const;
  std::string allowed() const;  ///< "a number in (0, 1000]", "one of step, cosine"
};

/// Every key in the order of `dump`; choices are filled from the catalog.
std::vector<KeySpec> config_keys(const Catalog& catalog);

/// Table of keys for people: path, allowed values, default, help.
std::string describe_keys(const Catalog& catalog);

/// Fills settings from a document; what is wrong goes to `problems`. Paths are not looked up here.
Settings read_settings(const YamlNode& root, const Catalog& catalog, Problems& problems);

/// YAML text of all settings.
std::string write_settings(const Settings& settings, const Catalog& catalog);

/// The policy of that name or alias, or nullptr.
const PolicySpec* find_policy(const Catalog& catalog, std::string_view name);

/// Every option of the policy: values of `given` (a map or null) checked, defaults for the rest.
std::map<std::string, OptionValue> read_options(const YamlNode* given, const PolicySpec& policy,
                                                Problems& problems);

/// Value at a dotted path of nested maps, or nullptr.
const YamlNode* find_path(const YamlNode& root, std::string_view path);

}  // namespace octavo
