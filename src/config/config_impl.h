// What stands behind Config: the layers as written and the settings they give.
#pragma once

#include <string>
#include <vector>

#include "config/problems.h"
#include "octavo/config.h"

namespace octavo {

struct Config::Impl {
  std::string path;
  Catalog catalog;
  YamlNode file;                       ///< the file with its includes
  std::vector<std::string> overrides;  ///< in order
  YamlNode document;                   ///< file and overrides merged
  Settings settings;
  std::vector<std::string> folders;              ///< where models are looked up
  std::vector<std::string> missing_data_places;  ///< where data.path was looked up, when none of them exists

  /// As Config::load, but what is wrong goes to `problems` and keeps its default. Throws only where the file
  /// cannot be read as YAML.
  static Config load(const std::string& path, const std::vector<std::string>& overrides,
                     const Catalog& catalog, Problems& problems);
};

/// Puts "a.yaml:4:3: " before an error that begins with a key of this configuration ("data.fraction: ...").
Error at_key(const Config& config, const Error& error);

}  // namespace octavo
