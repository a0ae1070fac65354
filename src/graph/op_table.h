// The table of operations: the built-in ones of op_list.inc and those that the application registered.
#pragma once

#include <string>
#include <vector>

#include "octavo/op.h"

namespace octavo {

/// Errc::config with the nearest name when there is no such op. References stay valid for the life of the
/// process.
const OpDef& find_op(const std::string& type);
std::vector<std::string> op_names();

}  // namespace octavo
