// What `octavo check` does: finds all that is wrong with a configuration, its model and its data at once.
#pragma once

#include "train/engine.h"

namespace octavo {

struct CheckedConfig {
  std::unique_ptr<Engine> engine;  // ready to train when `missing_data` is empty
  std::string
      missing_data;  // what is wrong with the data set; the model was checked with its published sizes
};

/// Errc::config lists every problem of configuration and model, and of the data set where there are others.
/// Data that cannot be read and say nothing of the model's inputs are Errc::data, sizes beyond the memory
/// Errc::resource.
CheckedConfig check_configuration(const std::string& path, const std::vector<std::string>& overrides);

}  // namespace octavo
