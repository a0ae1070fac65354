#include "cudnn_conv.h"

#include <stdexcept>

#ifdef OCTAVO_CUDNN
#include <algorithm>
#include <array>
#include <map>
#include <mutex>

#include "check.h"
#include "cudnn_descriptor.h"
#endif

namespace octavo::kernels::cuda {

#ifdef OCTAVO_CUDNN

namespace {

constexpr std::int64_t most_workspace = std::int64_t{1} << 30;
constexpr std::array<std::int64_t, 3> tensor_ids = {1, 2, 3};  // X, W, Y

/// How an operation names its tensors and numbers.
struct Operation {
  cudnnBackendDescriptorType_t type;
  cudnnBackendAttributeName_t x, w, y, convolution, alpha, beta;
};
Operation operation_of(Product product) {
  if (product == Product::forward)
    return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
  if (product == Product::grad_input)
    return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
  return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
}

/// Whether Y has the size that cuDNN computes: padding is the same on both sides.
bool symmetric(std::int64_t in, std::int64_t out, std::int64_t taps, std::int64_t stride, std::int64_t pad,
               std::int64_t dilation) {
  const std::int64_t room = in + 2 * pad - ((taps - 1) * dilation + 1);
  return room >= 0 && out == room / stride + 1;
}
bool symmetric(const ConvShape& s) {
  return symmetric(s.h, s.ho, s.r, s.stride_h, s.pad_h, s.dilation_h) &&
         symmetric(s.w, s.wo, s.s, s.stride_w, s.pad_w, s.dilation_w);
}

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

class PlannedConv final : public CudnnConv {
 public:
  PlannedConv(const CudnnProblem& problem, const std::string& what, const std::string& device)
      : what_(what), handle_(device.empty() ? handle_of_device(what) : nullptr), math_(problem.math) {
    if (handle_ == nullptr)
      device_.set_all<char>(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, device);
    else
      device_.set(CUDNN_ATTR_DEVICEPROP_HANDLE, handle_.get());
    device_.finalize("a device of cuDNN");
    describe(problem);
  }

  /// False where there is no engine.
  bool choose_engine() {
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

  std::int64_t workspace_bytes() const override { return workspace_; }

  void run(const CudnnTensors& tensors, cudaStream_t stream) const override {
    if (handle_ == nullptr) throw std::runtime_error(what_ + "a plan for a described device does not run");
    check_cudnn(cudnnSetStream(handle_.get(), stream), what_, "cudnnSetStream");
    const std::array pointers = {tensors.x, tensors.w, tensors.y};
    const void* const workspace = tensors.workspace;
    CudnnDescriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, what_);
    pack.set_all<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, tensor_ids)
        .set_pointers(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, pointers)
        .set_pointers(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, {&workspace, 1})
        .finalize("pointers of cuDNN");
    check_cudnn(cudnnBackendExecute(handle_.get(), plan_->get(), pack.get()), what_, "cudnnBackendExecute");
  }

 private:
  void describe(const CudnnProblem& problem) {
    const ConvShape& s = problem.shape;
    const bool integers = problem.math == LibraryMath::s8, narrow = problem.math == LibraryMath::bf16;
    const cudnnDataType_t operand = integers ? CUDNN_DATA_INT8
                                    : narrow ? CUDNN_DATA_BFLOAT16
                                             : CUDNN_DATA_FLOAT;
    const cudnnDataType_t sum = integers ? CUDNN_DATA_INT32 : CUDNN_DATA_FLOAT;
    describe_tensor(x_, tensor_ids[0], operand, {s.n, s.c, s.h, s.w});
    describe_tensor(w_, tensor_ids[1], operand, {s.k, s.c / s.groups, s.r, s.s});
    describe_tensor(y_, tensor_ids[2], narrow ? operand : sum, {s.n, s.k, s.ho, s.wo});
    const auto pair = [](std::int64_t h, std::int64_t w) { return std::array{h, w}; };
    convolution_.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, sum)
        .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION)
        .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2})
        .set_all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS, pair(s.dilation_h, s.dilation_w))
        .set_all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, pair(s.stride_h, s.stride_w))
        .set_all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, pair(s.pad_h, s.pad_w))
        .set_all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, pair(s.pad_h, s.pad_w))
        .finalize("a convolution of cuDNN");
    const Operation names = operation_of(problem.product);
    operation_.emplace(names.type, what_)
        .set(names.x, x_)
        .set(names.w, w_)
        .set(names.y, y_)
        .set(names.convolution, convolution_)
        .set(names.alpha, 1.0F)
        .set(names.beta, 0.0F)
        .finalize("an operation of cuDNN");
    graph_.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, *operation_);
  }

  /// Sizes in cuDNN's order [n, c, h, w], in memory channels innermost.
  void describe_tensor(CudnnDescriptor& tensor, std::int64_t id, cudnnDataType_t type,
                       const std::array<std::int64_t, 4>& sizes) const {
    const auto [n, c, h, w] = sizes;
    const std::array strides = {h * w * c, std::int64_t{1}, w * c, c};
    tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type)
        .set_all<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS, sizes)
        .set_all<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES, strides)
        .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id)
        .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, alignment)
        .finalize("a tensor of cuDNN");
  }

  bool choose_engine_of(const CudnnDescriptor& heuristic) {
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

  bool takes(const CudnnDescriptor& config) {
    const CudnnDescriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR, what_);
    config.get_into(CUDNN_ATTR_ENGINECFG_ENGINE, engine);
    for (const auto note : engine.get_all<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                                                       CUDNN_NUMERICAL_NOTE_TYPE_COUNT))
      if (!permits(math_, note)) return false;
    for (const auto note : engine.get_all<cudnnBackendBehaviorNote_t>(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE,
                                                                      CUDNN_BEHAVIOR_NOTE_TYPE_COUNT))
      if (!permits(note)) return false;
    plan_.emplace(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, what_)
        .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config)
        .set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device_);
    if (!plan_->try_finalize("a plan of cuDNN")) return false;
    workspace_ = plan_->get_all<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, 1).at(0);
    return workspace_ <= most_workspace;
  }

  std::string what_;
  Handle handle_;  // null: for a described device
  LibraryMath math_;
  CudnnDescriptor device_{CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, what_};
  CudnnDescriptor x_{CUDNN_BACKEND_TENSOR_DESCRIPTOR, what_}, w_{CUDNN_BACKEND_TENSOR_DESCRIPTOR, what_},
      y_{CUDNN_BACKEND_TENSOR_DESCRIPTOR, what_};
  CudnnDescriptor convolution_{CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, what_};
  CudnnDescriptor graph_{CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, what_};
  std::optional<CudnnDescriptor> operation_, plan_;
  std::vector<CudnnDescriptor> heuristic_, configs_;
  std::int64_t workspace_ = 0;
};

}  // namespace

bool has_cudnn() { return true; }

std::shared_ptr<const CudnnConv> CudnnConv::plan(const CudnnProblem& problem, const std::string& what,
                                                 const std::string& device) {
  if (!symmetric(problem.shape)) return nullptr;
  auto planned = std::make_shared<PlannedConv>(problem, what, device);
  if (!planned->choose_engine()) return nullptr;
  return planned;
}

#else

bool has_cudnn() { return false; }

std::shared_ptr<const CudnnConv> CudnnConv::plan(const CudnnProblem&, const std::string& what,
                                                 const std::string&) {
  throw std::runtime_error(what + "this build has no cuDNN");
}

#endif

}  // namespace octavo::kernels::cuda
