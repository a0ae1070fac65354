// Fidelity: how far the integer products of each layer are from FP32's on the same weights and batch, policy
// by policy. Low-noise and quick: the yardstick to steer by before anything is trained.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "lab/probe.h"
#include "train/engine.h"

namespace octavo {

/// Calls visit(layer) for every layer whose backward node runs in the engine's next step, which it takes. The
/// engine has to train in FP32: integer products free the float tensors that are looked at.
void visit_layers(Engine& engine, const std::function<void(const LayerTensors&)>& visit);

struct FidelityRow {
  std::int64_t step = 0;
  std::string layer, policy;
  bool depthwise = false;
  LayerErrors errors;
};

/// Takes one step of the engine and measures every policy at every layer.
std::vector<FidelityRow> measure_fidelity(Engine& engine,
                                          const std::map<std::string, PrecisionSettings>& policies);

/// Means over layers and worst layers, one line per step and policy.
std::string fidelity_table(const std::vector<FidelityRow>& rows);
nlohmann::ordered_json fidelity_json(const std::vector<FidelityRow>& rows);

}  // namespace octavo
