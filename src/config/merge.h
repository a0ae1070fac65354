// Layers of one configuration: included files below the file, overrides above it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/problems.h"
#include "config/yaml.h"

namespace octavo {

/// The file with its `include:` files merged below it. Errc::config on a cycle, or more than 8 levels.
YamlNode read_with_includes(const std::string& path);

/// Merges maps key by key, `over` wins. A choice that `over` makes drops what it replaces in `base`:
/// train.steps drops train.epochs, another model or policy drops the values given to the former.
void merge_into(YamlNode& base, const YamlNode& over);

/// "optimizer.lr=0.1" as nested maps; Errc::config when it is not of that form. `number` counts from 1.
YamlNode parse_override(std::string_view text, int number);

/// Absolute places of a relative path, from the folder of the file that names it, then the working folder.
std::vector<std::string> places_of(const std::string& path, const std::string& folder);

std::string parent_folder(const std::string& path);                  ///< absolute
std::string first_existing(const std::vector<std::string>& places);  ///< "" when there is none

}  // namespace octavo
