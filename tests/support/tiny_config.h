// The smallest configuration that trains.
#pragma once

#include <string>

namespace octavo::testing {

inline const std::string models = std::string(OCTAVO_SOURCE_DIR) + "/models/";

/// 8x8 images, 4 steps an epoch, a few milliseconds a step.
inline std::string tiny_config(const std::string& policy = "unified_int8", int steps = 12) {
  return "model: {file: " + models + "resnet8.yaml, with: {width: 16}}\n" +
         "data: {set: shapes, size: 8, samples: 64, batch: 16}\n" + "optimizer: {lr: 0.05, momentum: 0.9}\n" +
         "train: {steps: " + std::to_string(steps) + ", seed: 3, threads: 2, eval_every: 4 steps, " +
         "checkpoint_every: 4 steps}\n" + "precision: {policy: " + policy + "}\n";
}

}  // namespace octavo::testing
