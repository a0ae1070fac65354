// One model file as written: its parts found and their keys checked, nothing expanded.
#pragma once

#include <string>
#include <vector>

#include "config/problems.h"
#include "config/yaml.h"

namespace octavo {

struct ModelFile {
  std::string path;
  std::string name;  ///< file name without ending
  YamlNode root;

  const YamlNode* part(std::string_view key) const;  ///< nullptr when absent or null
  const YamlNode* block(std::string_view name) const;
  std::vector<std::string> block_names() const;
};

/// Reads the file and checks its outer structure; problems are thrown together.
ModelFile read_model_file(const std::string& path);

/// Adds a problem for each key that is not in `allowed`.
void check_keys(const YamlNode& map, const std::vector<std::string>& allowed, const std::string& place,
                Problems& problems);

/// A letter or '_', then letters, digits and '_'.
bool is_identifier(std::string_view text);

}  // namespace octavo
