// The page of `octavo replay`: what policies would have chosen on a recording, over each other.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "lab/replay.h"

namespace octavo::report {

/// Rows by policy, as replay() gives them; `recording` is named in the head.
std::string replay_page(const std::string& recording,
                        const std::map<std::string, std::vector<ReplayRow>>& by_policy);

}  // namespace octavo::report
