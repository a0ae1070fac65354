// Run folders written by hand, with known numbers.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "support/temporary_folder.h"

namespace octavo::testing {

using Json = nlohmann::ordered_json;

struct HandRun {
  std::string policy = "unified_int8", data = "cifar10", metric_name = "accuracy";
  int seed = 1, steps = 400, steps_per_epoch = 100;
  double metric = 0.9, step_ms = 50;
  bool finished = true, procedural = false;
};

inline std::string hand_metrics(const HandRun& run) {
  std::string lines;
  for (int step = 1; step <= run.steps; ++step) {
    lines += Json{{"phase", "train"},
                  {"step", step},
                  {"epoch", (step - 1) / run.steps_per_epoch},
                  {"loss", 2.0 / (1 + 0.01 * step)},
                  {"lr", 0.1},
                  {"gradient_norm", 1.5},
                  {"seconds", run.step_ms / 1000},
                  {"samples_per_second", 128000 / run.step_ms}}
                 .dump() +
             "\n";
    if (step % run.steps_per_epoch == 0)
      lines += Json{{"phase", "eval"},
                    {"step", step},
                    {"epoch", step / run.steps_per_epoch},
                    {"loss", 0.5},
                    {run.metric_name, run.metric * step / run.steps},
                    {"seconds", 1.0},
                    {"samples_per_second", 1000.0}}
                   .dump() +
               "\n";
  }
  return lines;
}

inline Json hand_summary(const HandRun& run) {
  return {{"policy", run.policy},
          {"model", "resnet_cifar"},
          {"data", run.data},
          {"procedural", run.procedural},
          {"device", "cpu"},
          {"isa", "avx2"},
          {"seed", run.seed},
          {"steps", run.steps},
          {"metric_name", run.metric_name},
          {"metric", run.metric},
          {"loss", 0.25},
          {"best_metric", run.metric},
          {"best_step", run.steps},
          {"int8_mac_share", {{"forward", 0.75}, {"grad_input", 1.0}, {"grad_weight", 0.875}}},
          {"step_ms_median", run.step_ms},
          {"samples_per_second", 128000 / run.step_ms},
          {"peak_bytes", 256 << 20}};
}

/// The plan of two layers, one in float.
inline Json hand_plan() {
  Json rows = Json::array();
  rows.push_back({{"layer", "net.conv1"},
                  {"product", "forward"},
                  {"integer", false},
                  {"kernel", "onednn/conv_f32"},
                  {"macs", 1000000},
                  {"why", "kept in fp32 by '@first_conv'"}});
  rows.push_back({{"layer", "net.conv2"},
                  {"product", "forward"},
                  {"integer", true},
                  {"kernel", "avx2/conv_s8"},
                  {"macs", 3000000},
                  {"data", "net.relu1 activation s8 tensor nearest"},
                  {"other", "net.conv2.weight weight s8 tensor nearest"}});
  return {{"step", 0}, {"plan", rows}};
}

/// config.yaml, env.json, metrics.jsonl, and summary.json of a finished run. Precision is written by the
/// tests.
inline void write_hand_run(const std::filesystem::path& folder, const HandRun& run = {}) {
  std::filesystem::create_directories(folder);
  write_text(folder / "config.yaml", "model:\n  file: /models/resnet_cifar.yaml\ndata:\n  set: " + run.data +
                                         "\ntrain:\n  steps: 400\n  seed: " + std::to_string(run.seed) +
                                         "\nprecision:\n  policy: " + run.policy + "\n");
  write_text(folder / "env.json",
             Json{{"octavo", "0.1.0"}, {"cpu", "a & b <cpu>"}, {"threads", 2}}.dump(1) + "\n");
  write_text(folder / "metrics.jsonl", hand_metrics(run));
  if (run.finished) write_text(folder / "summary.json", hand_summary(run).dump(1) + "\n");
}

}  // namespace octavo::testing
