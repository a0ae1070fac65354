// Trainings on the device beside the same on the CPU. On the host's runtime all bits are the CPU's. On a GPU
// the exponentials of softmax may differ in their last bit, and with them roundings of gradients: one step,
// close.
#pragma once

#include <cmath>
#include <cstring>

#include "device/cuda_steps.h"
#include "device/plan_memory.h"
#include "support/catch.h"
#include "support/cuda_device.h"
#include "support/temporary_folder.h"
#include "support/tiny_config.h"
#include "train/engine.h"

namespace octavo::testing {

using kernels::test::on_host;

using Overrides = std::vector<std::string>;

// Every op that the device has, sizes that are no multiples of anything.
inline constexpr const char* every_op = R"(
inputs: {image: [H, W, C], label: []}
body:
  - {name: stem, op: conv2d, out: 20, kernel: 3, pad: 1, bias: true}
  - {name: bn1, op: batch_norm}
  - {name: act1, op: relu6}
  - {name: pool1, op: max_pool, kernel: 3, stride: 2, pad: 1}
  - {name: deep, op: conv2d, out: 20, kernel: 3, pad: 1, groups: 20}
  - {name: bn2, op: batch_norm}
  - {name: act2, op: relu, from: bn2}
  - {name: narrow, op: conv2d, out: 12, kernel: 1, from: act2}
  - {name: sides, op: conv2d, out: 8, kernel: 3, pad: 1, groups: 2, from: pool1}
  - {name: bn3, op: batch_norm, from: sides}
  - {name: joined, op: concat, from: [narrow, bn3]}
  - {name: sum, op: add, from: [joined, pool1]}
  - {name: act3, op: relu}
  - {name: pool2, op: avg_pool, kernel: 2}
  - {name: flat, op: flatten}
  - {name: drop, op: dropout, p: 0.3}
  - {name: fc1, op: linear, out: 24}
  - {name: act4, op: relu}
  - {name: head, op: linear, out: 10}
  - {name: loss, op: softmax_cross_entropy, label_smoothing: 0.1, from: [head, label]}
outputs: {logits: head}
losses: {loss: loss}
)";

// Layers whose sums a product's epilogue takes, of 64 and of 16 channels on 8x8 images, and some that it does
// not: two normalizations in one chain, rows, groups.
inline constexpr const char* summed = R"(
inputs: {image: [H, W, C], label: []}
body:
  - {name: stem, op: conv2d, out: 64, kernel: 3, pad: 1, bias: true}
  - {name: bn1, op: batch_norm}
  - {name: again, op: batch_norm}
  - {name: act1, op: relu}
  - {name: pair, op: conv2d, out: 64, kernel: 1, groups: 2}
  - {name: bn2, op: batch_norm}
  - {name: sum, op: add, from: [bn2, act1]}
  - {name: act2, op: relu}
  - {name: small, op: conv2d, out: 16, kernel: 1}
  - {name: bn3, op: batch_norm}
  - {name: act3, op: relu}
  - {name: odd, op: conv2d, out: 12, kernel: 3, stride: 2, pad: 1}
  - {name: bn4, op: batch_norm}
  - {name: flat, op: flatten}
  - {name: fc, op: linear, out: 64}
  - {name: bn5, op: batch_norm}
  - {name: act5, op: relu}
  - {name: head, op: linear, out: 10}
  - {name: loss, op: softmax_cross_entropy, from: [head, label]}
outputs: {logits: head}
losses: {loss: loss}
)";

// Products with a chain right behind them: bias and ReLU, rows, channels that are no multiple of 8, pooling
// that reads a stored value, dropout; normalization in evaluation.
inline constexpr const char* chained = R"(
inputs: {image: [H, W, C], label: []}
body:
  - {name: first, op: conv2d, out: 24, kernel: 3, pad: 1, bias: true}
  - {name: act1, op: relu}
  - {name: second, op: conv2d, out: 20, kernel: 3, stride: 2, pad: 1, bias: true}
  - {name: act2, op: relu}
  - {name: third, op: conv2d, out: 16, kernel: 1, bias: true}
  - {name: act3, op: relu6}
  - {name: fourth, op: conv2d, out: 32, kernel: 3, pad: 1, groups: 2, bias: true}
  - {name: act4, op: relu}
  - {name: fifth, op: conv2d, out: 16, kernel: 3, pad: 1, from: act4}
  - {name: bn5, op: batch_norm}
  - {name: act5, op: relu}
  - {name: sixth, op: conv2d, out: 16, kernel: 1}
  - {name: bn6, op: batch_norm}
  - {name: sum, op: add, from: [bn6, act5]}
  - {name: act6, op: relu}
  - {name: flat, op: flatten}
  - {name: fc1, op: linear, out: 40}
  - {name: act7, op: relu}
  - {name: drop, op: dropout, p: 0.3}
  - {name: fc2, op: linear, out: 24}
  - {name: act8, op: relu}
  - {name: head, op: linear, out: 10}
  - {name: loss, op: softmax_cross_entropy, from: [head, label]}
outputs: {logits: head}
losses: {loss: loss}
)";

inline Config config_of(const TemporaryFolder& folder, const Overrides& overrides) {
  write_text(folder / "a.yaml", tiny_config());
  write_text(folder / "every_op.yaml", every_op);
  write_text(folder / "summed.yaml", summed);
  write_text(folder / "chained.yaml", chained);
  std::string ranges = every_op;
  for (std::size_t at = 0; (at = ranges.find("op: batch_norm", at)) != std::string::npos; ++at)
    ranges.replace(at, 14, "op: range_batch_norm");
  write_text(folder / "range_norm.yaml", ranges);
  write_text(folder / "own_op.yaml",
             "inputs: {image: [H, W, C], label: []}\nbody:\n"
             "  - {name: own, op: test_offset}\n  - {name: flat, op: flatten}\n"
             "  - {name: head, op: linear, out: 10}\n"
             "  - {name: loss, op: softmax_cross_entropy, from: [head, label]}\n"
             "outputs: {logits: head}\nlosses: {loss: loss}\n");
  return Config::load((folder / "a.yaml").string(), overrides, catalog());
}

inline Overrides with(Overrides overrides, const Overrides& more) {
  overrides.insert(overrides.end(), more.begin(), more.end());
  return overrides;
}

inline std::unique_ptr<Engine> engine_of(const TemporaryFolder& folder, const Overrides& overrides,
                                         const std::string& device) {
  register_step_runner("cuda", device::make_cuda_steps);
  return std::make_unique<Engine>(
      config_of(folder, with({"precision.keep_fp32=[]", "train.device=" + device}, overrides)));
}

inline void require_equal(const NamedTensors& a, const NamedTensors& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    INFO(a[i].name);
    const Tensor &x = a[i].tensor, &y = b[i].tensor;
    REQUIRE(x.bytes() == y.bytes());
    CHECK(std::memcmp(x.data(), y.data(), static_cast<std::size_t>(x.bytes())) == 0);
  }
}

// Of a tensor from another; where the norm is below `floor` it is that of rounding, and the distance is to
// the floor.
inline double relative_distance(std::span<const float> from, std::span<const float> to, double floor) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < from.size(); ++i) {
    const double v = from[i], w = to[i];
    difference += (v - w) * (v - w), size += v * v;
  }
  return std::sqrt(difference) / std::max(std::sqrt(size), floor);
}

// Of gradients, but that of a bias before batch norm, which is rounding alone.
inline void require_close_gradients(Engine& cpu, Engine& gpu, double norm, double bound) {
  const NamedTensors a = cpu.state().optimizer, b = gpu.state().optimizer;
  REQUIRE(!a.empty());
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].name == "stem.bias.momentum") continue;
    INFO(a[i].name);
    CHECK(relative_distance(a[i].tensor.as<float>(), b[i].tensor.as<float>(), 1e-3 * norm) < bound);
  }
}

// Steps of both, then all that a checkpoint holds.
inline void require_equal_steps(Engine& cpu, Engine& gpu, int steps) {
  if (!on_host) {  // after one step from equal states the momentum has changed by the gradient
    const StepReport a = cpu.step(), b = gpu.step();
    CHECK(std::fabs(b.loss - a.loss) <= 1e-6 * a.loss);
    CHECK(std::fabs(b.gradient_norm - a.gradient_norm) <= 1e-4 * a.gradient_norm);
    return require_close_gradients(cpu, gpu, a.gradient_norm, 1e-3);
  }
  for (int i = 0; i < steps; ++i) {
    const StepReport a = cpu.step(), b = gpu.step();
    INFO("step " << i);
    CHECK(b.loss == a.loss);
    CHECK(b.gradient_norm == a.gradient_norm);
  }
  const EvalReport a = cpu.evaluate(), b = gpu.evaluate();
  CHECK(a.loss == b.loss);
  CHECK(a.metric == b.metric);
  const CheckpointContent x = cpu.state(), y = gpu.state();
  CHECK(x.state.at("precision").dump() == y.state.at("precision").dump());
  require_equal(x.model, y.model);
  require_equal(x.optimizer, y.optimizer);
}

inline void require_equal_training(const Overrides& overrides, int steps) {
  const TemporaryFolder folder;
  const auto cpu = engine_of(folder, overrides, "cpu"), gpu = engine_of(folder, overrides, "cuda");
  require_equal_steps(*cpu, *gpu, steps);
  CHECK(cpu->macs().integer == gpu->macs().integer);
  CHECK(cpu->macs().all == gpu->macs().all);
}

// What the first step that fails says.
inline std::string error_of(Engine& engine, int steps = 1) {
  try {
    for (int i = 0; i < steps; ++i) engine.step();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace octavo::testing
