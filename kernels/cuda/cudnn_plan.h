// A graph of cuDNN on one device: the first engine of the library's heuristics that computes as asked, and
// its plan. For cudnn_*.cpp alone, which know the library's header.
#pragma once

#include "cudnn_descriptor.h"
#include "lt_matmul.h"

namespace octavo::kernels::cuda {

class CudnnPlan {
 public:
  /// `device`: described in cuDNN's JSON, in place of the current one; such plans do not run.
  CudnnPlan(LibraryMath math, const std::string& what, const std::string& device);
  CudnnPlan(const CudnnPlan&) = delete;
  CudnnPlan& operator=(const CudnnPlan&) = delete;

  /// Begins messages, and lives as long as the plan: descriptors of its operations may keep it.
  const std::string& what() const { return what_; }

  /// False where there is no engine. The operations live as long as the plan.
  bool choose_engine(std::span<const CudnnDescriptor* const> operations);
  /// Engines that heuristics named.
  std::size_t offered() const { return configs_.size(); }
  /// What the library said of the last engine whose code it could not make, which needs a driver.
  const std::string& refusal() const { return refusal_; }

  std::int64_t workspace_bytes() const { return workspace_; }
  void run(std::span<const std::int64_t> ids, std::span<const void* const> pointers, const void* workspace,
           cudaStream_t stream) const;

 private:
  bool choose_engine_of(const CudnnDescriptor& heuristic);
  bool takes(const CudnnDescriptor& config);
  bool finalize_plan(bool compiles);

  std::string what_;
  std::shared_ptr<cudnnContext> handle_;  // null: for a described device
  LibraryMath math_;
  CudnnDescriptor device_{CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, what_};
  CudnnDescriptor graph_{CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, what_};
  std::optional<CudnnDescriptor> plan_;
  std::vector<CudnnDescriptor> heuristic_, configs_;
  std::string refusal_;
  std::int64_t workspace_ = 0;
};

}  // namespace octavo::kernels::cuda
