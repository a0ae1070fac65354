#include "train/step_runner.h"

#include <cmath>
#include <map>

#include "core/check.h"
#include "train/cpu_steps.h"
#ifdef OCTAVO_CUDA
#include "device/cuda_steps.h"
#endif

namespace octavo {
namespace {

std::map<std::string, StepRunnerFactory>& factories() {
  static std::map<std::string, StepRunnerFactory> known{
      {"cpu", make_cpu_steps},
#ifdef OCTAVO_CUDA
      {"cuda", device::make_cuda_steps},
#endif
  };
  return known;
}

}  // namespace

void register_step_runner(const std::string& device, StepRunnerFactory factory) {
  factories()[device] = factory;
}

std::unique_ptr<StepRunner> make_step_runner(const StepRunnerParts& parts) {
  const std::string& device = parts.config.train().device;
  require(device == "cuda" || parts.config.train().device_float == "own", Errc::config,
          "train.device_float: NVIDIA's libraries are for train.device=cuda; leave it out");
  const auto found = factories().find(device);
  require(
      found != factories().end(), Errc::resource,
      "train.device: this octavo was built without CUDA; use train.device=cpu (--device cpu), or build with "
      "-DOCTAVO_CUDA=ON (docs/gpu.md)");
  return found->second(parts);
}

BatchTypes batch_types(const Batch& batch) {
  BatchTypes types;
  for (std::size_t i = 0; i < batch.names.size(); ++i) {
    TensorType& type = types[batch.names[i]] = batch.values[i].type();
    if (batch.is_raw(batch.names[i])) type.dtype = DType::f32;
  }
  return types;
}

BatchPointers batch_pointers(const Batch& batch) {
  BatchPointers pointers;
  for (std::size_t i = 0; i < batch.names.size(); ++i) pointers[batch.names[i]] = batch.values[i].data();
  return pointers;
}

bool writes_finite(const Program& program, const Plan& plan, const Node& node) {
  for (const ValueId id : writes(node)) {
    const Value& value = plan.graph.value(id);
    const DType type = value.type.dtype;
    if (value.kind == ValueKind::view || (type != DType::f32 && type != DType::bf16)) continue;
    Tensor copy = Tensor::empty(value.type.shape, type);
    program.read_value(plan, id, copy.data());
    const kernels::FloatSource values(copy.data(), kernel_type(type));
    for (std::int64_t i = 0; i < value.type.shape.elements(); ++i)
      if (!std::isfinite(values[i])) return false;
  }
  return true;
}

void refuse_loss(std::int64_t step, double loss, const std::string& first_bad_node) {
  fail(Errc::numeric, "step ", step, ": the loss is ", loss, ", Inf or NaN comes first from '",
       first_bad_node, "'; weights are those before this step. Lower optimizer.lr or add gradient.clip_norm");
}

void refuse_gradients(std::int64_t step, double norm, const std::vector<ParameterData>& parameters) {
  constexpr const char* advice =
      "; weights are those before this step. Lower optimizer.lr or add gradient.clip_norm";
  for (const ParameterData& data : parameters)
    for (const float g : data.frozen ? std::span<const float>{} : data.gradient.as<float>())
      require(std::isfinite(g), Errc::numeric, "step ", step, ": the gradient of '", data.name, "' holds ", g,
              advice);
  fail(Errc::numeric, "step ", step, ": the norm of the gradients is ", norm, ", their squares exceed FP32",
       advice);
}

}  // namespace octavo
