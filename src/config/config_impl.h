// What stands behind Config: the layers as written and the settings they give.
#pragma once

#include <string>
#include <vector>

#include "config/yaml.h"
#include "octavo/config.h"

namespace octavo {

struct Config::Impl {
  std::string path;
  Catalog catalog;
  YamlNode file;                       ///< the file with its includes
  std::vector<std::string> overrides;  ///< in order
  YamlNode document;                   ///< file and overrides merged
  Settings settings;
  std::vector<std::string> folders;  ///< where models are looked up
};

}  // namespace octavo
