// What a training reads and how much memory it takes, as lines for people.
#pragma once

#include <string>

#include "train/engine.h"

namespace octavo::cli {

std::string data_line(const Engine& engine);  ///< "data: shapes (procedural), 10000 training samples, ..."
std::string memory_line(Engine& engine);  ///< "memory: ... MiB = ...": what stays allocated during training

}  // namespace octavo::cli
