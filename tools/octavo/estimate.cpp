#include "estimate.h"

#include "progress.h"

namespace octavo::cli {
namespace {

std::int64_t bytes_of(const NamedTensors& tensors) {
  std::int64_t bytes = 0;
  for (const NamedTensor& entry : tensors) bytes += entry.tensor.bytes();
  return bytes;
}

std::string mebibytes(std::int64_t bytes) { return fixed(static_cast<double>(bytes) / (1 << 20), 1); }

}  // namespace

std::string data_line(const Engine& engine) {
  const DatasetInfo& info = engine.train_info();
  const std::int64_t batch = engine.config().data().batch * engine.config().gradient().accumulate;
  return "data: " + info.name + (info.procedural ? " (procedural), " : ", ") + std::to_string(info.samples) +
         " training samples; " + std::to_string(engine.total_steps()) + " steps of " + std::to_string(batch) +
         " samples, " + std::to_string(engine.steps_per_epoch()) + " an epoch\n";
}

std::string memory_line(Engine& engine) {
  std::int64_t parameters = 0, gradients = 0;
  for (const ParameterData& data : engine.program().parameters) {
    parameters += data.value.bytes();
    if (!data.frozen) gradients += data.gradient.bytes();
  }
  const std::int64_t optimizer = bytes_of(engine.state().optimizer),
                     arena = engine.training_plan().arena_bytes;
  return "memory: " + mebibytes(parameters + gradients + optimizer + arena) + " MiB = parameters " +
         mebibytes(parameters) + " + gradients " + mebibytes(gradients) + " + optimizer " +
         mebibytes(optimizer) + " + activations " + mebibytes(arena) + "\n";
}

}  // namespace octavo::cli
