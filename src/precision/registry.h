// The table of precision policies: the built-in ones of policy_list.inc and those that the application
// registered.
#pragma once

#include <string>
#include <vector>

#include "octavo/precision.h"

namespace octavo {

/// Errc::config with the nearest name when there is no such policy.
const PolicyDef& find_policy(const std::string& name);
std::vector<PolicyDef> policies();

}  // namespace octavo
