#ifdef OCTAVO_CUDNN
#include "cudnn_plan.h"

#include <map>
#include <mutex>

#include "check.h"

namespace octavo::kernels::cuda {
namespace {

constexpr std::int64_t most_workspace = std::int64_t{1} << 30;

/// Whether an engine with this note multiplies as asked. Integers have the same sums in any order; of floats
/// all that would lose bits or change from run to run is refused.
bool permits(LibraryMath math, cudnnBackendNumericalNote_t note) {
  if (math == LibraryMath::s8 || note == CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP) return true;
  return math != LibraryMath::fp32 && note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
}
/// Bytes in an order of their own are not what is in memory.
bool permits(cudnnBackendBehaviorNote_t note) {
  return note != CUDNN_BEHAVIOR_NOTE_REQUIRES_FILTER_INT8x32_REORDER &&
         note != CUDNN_BEHAVIOR_NOTE_REQUIRES_BIAS_INT8x32_REORDER;
}

using Handle = std::shared_ptr<cudnnContext>;

/// One for each device, which lives as long as a product of it.
Handle handle_of_device(const std::string& what) {
  static std::mutex mutex;
  static std::map<int, std::weak_ptr<cudnnContext>> known;
  const std::lock_guard lock(mutex);
  int device = 0;
  check(cudaGetDevice(&device), what, "current device");
  if (Handle handle = known[device].lock()) return handle;
  cudnnHandle_t made = nullptr;
  check_cudnn(cudnnCreate(&made), what, "cudnnCreate");
  Handle handle(made, cudnnDestroy);
  known[device] = handle;
  return handle;
}

}  // namespace

CudnnPlan::CudnnPlan(LibraryMath math, const std::string& what, const std::string& device)
    : what_(what), handle_(device.empty() ? handle_of_device(what) : nullptr), math_(math) {
  if (handle_ == nullptr)
    device_.set_all<char>(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, device);
  else
    device_.set(CUDNN_ATTR_DEVICEPROP_HANDLE, handle_.get());
  device_.finalize("a device of cuDNN");
}

bool CudnnPlan::choose_engine(std::span<const CudnnDescriptor* const> operations) {
  graph_.set_descriptors(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations);
  if (!graph_.try_finalize("a graph of cuDNN")) return false;
  for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    heuristic_.emplace_back(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, what_);
    heuristic_.back()
        .set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph_)
        .set(CUDNN_ATTR_ENGINEHEUR_MODE, mode)
        .set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device_);
    if (heuristic_.back().try_finalize("a heuristic of cuDNN") && choose_engine_of(heuristic_.back()))
      return true;
  }
  return false;
}

bool CudnnPlan::choose_engine_of(const CudnnDescriptor& heuristic) {
  const std::int64_t offered =
      heuristic.get_raw(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, nullptr);
  std::vector<cudnnBackendDescriptor_t> raw;
  const std::size_t first = configs_.size();
  for (std::int64_t i = 0; i < offered; ++i)
    raw.push_back(configs_.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, what_).get());
  const std::int64_t count =
      heuristic.get_raw(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, offered, raw.data());
  for (std::int64_t i = 0; i < count; ++i)
    if (takes(configs_[first + static_cast<std::size_t>(i)])) return true;
  return false;
}

bool CudnnPlan::takes(const CudnnDescriptor& config) {
  const CudnnDescriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR, what_);
  config.get_into(CUDNN_ATTR_ENGINECFG_ENGINE, engine);
  for (const auto note : engine.get_all<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                                                     CUDNN_NUMERICAL_NOTE_TYPE_COUNT))
    if (!permits(math_, note)) return false;
  bool compiles = false;
  for (const auto note : engine.get_all<cudnnBackendBehaviorNote_t>(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE,
                                                                    CUDNN_BEHAVIOR_NOTE_TYPE_COUNT)) {
    if (!permits(note)) return false;
    compiles = compiles || note == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
  }
  plan_.emplace(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, what_)
      .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config)
      .set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device_);
  if (!finalize_plan(compiles)) return false;
  workspace_ = plan_->get_all<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, 1).at(0);
  return workspace_ <= most_workspace;
}

/// An engine that makes code for the device cannot where there is no driver, whatever the error says.
bool CudnnPlan::finalize_plan(bool compiles) {
  if (!compiles) return plan_->try_finalize("a plan of cuDNN");
  const cudnnStatus_t status = cudnnBackendFinalize(plan_->get());
  if (status == CUDNN_STATUS_SUCCESS) return true;
  refusal_ = describe_cudnn(status);
  return false;
}

void CudnnPlan::run(std::span<const std::int64_t> ids, std::span<const void* const> pointers,
                    const void* workspace, cudaStream_t stream) const {
  if (handle_ == nullptr) throw std::runtime_error(what_ + "a plan for a described device does not run");
  check_cudnn(cudnnSetStream(handle_.get(), stream), what_, "cudnnSetStream");
  CudnnDescriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, what_);
  pack.set_all<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids)
      .set_pointers(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, pointers)
      .set_pointers(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, {&workspace, 1})
      .finalize("pointers of cuDNN");
  check_cudnn(cudnnBackendExecute(handle_.get(), plan_->get(), pack.get()), what_, "cudnnBackendExecute");
}

}  // namespace octavo::kernels::cuda
#endif
