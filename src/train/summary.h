// Tables and summaries of a training for people and for summary.json.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "train/engine.h"

namespace octavo {

Int8MacShare mac_share(const MacCount& macs);

/// Layers in model order: op, output shape of one sample, parameters, MACs of one sample; totals.
std::string layer_table(const Program& program);

/// Per layer and product: formats granted, kernel, and why a product runs in float.
std::string precision_plan(const Plan& plan, const Program& program);
nlohmann::ordered_json precision_plan_json(const Plan& plan, const Program& program);

/// summary.json (DESIGN section 5); `step_seconds` of all training steps of this process.
nlohmann::ordered_json run_summary(Engine& engine, const EvalReport& last, const EvalReport& best,
                                   std::vector<double> step_seconds);

}  // namespace octavo
