// Recordings: statistics of every layer's operands at chosen steps of an FP32 training, one JSON line each,
// and on demand the tensors themselves. Policies are replayed on them in seconds.
//   config.yaml                resolved: replay reads policies' options with it
//   recording.jsonl            first line: facts of the run; then one line per step, layer and operand
//   tensors/step-N.safetensors "<layer>.x", ".w", ".g" of the steps that were sampled
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "octavo/precision.h"
#include "train/engine.h"

namespace octavo {

/// One operand of one layer in one step.
struct OperandRecord {
  std::int64_t step = 0;
  LayerInfo layer;
  Operand operand = Operand::gradient;
  bool non_negative = false;
  std::int64_t elements = 0;
  float max_abs = 0;
  MagnitudeHistogram histogram;
  std::vector<ChannelSummary> channels;  ///< last axis; W: input channels
  std::vector<float> sample_max;         ///< X and G
};

struct Recording {
  nlohmann::json facts;                ///< config, seed, steps_per_epoch
  std::vector<OperandRecord> records;  ///< in order of steps
};

struct RecordOptions {
  std::filesystem::path folder;  ///< must not exist
  std::int64_t every = 100, steps = 0;
  bool tensors = false;
  std::function<void(std::int64_t step)> on_sample;
};

/// Trains the engine (in FP32) for `steps` steps and records every `every`-th, the first included.
void record(Engine& engine, const RecordOptions& options);

/// Errc::data with the line when the file is damaged.
Recording read_recording(const std::filesystem::path& folder);

}  // namespace octavo
