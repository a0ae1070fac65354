// A convolution by NVIDIA's cuDNN (the graphs of version 9), planned once: its tensors, and the first engine
// of the library's heuristics that multiplies as asked and gives the same bits in every run. The library's
// header stays in cudnn_*.cpp.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>

#include "../kernels.h"
#include "lt_matmul.h"

namespace octavo::kernels::cuda {

/// Whether this build has cuDNN; without it every plan throws.
bool has_cudnn();

/// Dense tensors as in ConvShape: FP32 ones, in bf16 all three of bfloat16 with FP32 sums inside, or in s8 X
/// and W of bytes and Y of their s32 sums.
struct CudnnProblem {
  ConvShape shape;
  Product product = Product::forward;
  LibraryMath math = LibraryMath::fp32;
};

/// Pointers of the device; the product writes one of them.
struct CudnnTensors {
  const void *x = nullptr, *w = nullptr, *y = nullptr;
  void* workspace = nullptr;
};

class CudnnConv {
 public:
  /// Null where the library has no engine for it. `what` begins every message. `device`: described in cuDNN's
  /// JSON, in place of the current one, so that plans can be looked at where there is none; they do not run.
  /// Throws std::runtime_error for errors of cuDNN.
  static std::shared_ptr<const CudnnConv> plan(const CudnnProblem& problem, const std::string& what,
                                               const std::string& device = {});
  virtual ~CudnnConv() = default;

  /// Tensors and workspace begin at multiples of so many bytes.
  static constexpr std::int64_t alignment = 16;
  virtual std::int64_t workspace_bytes() const = 0;
  /// On `stream`, which may be captured: nothing is planned or allocated on the device.
  virtual void run(const CudnnTensors& tensors, cudaStream_t stream) const = 0;

 protected:
  CudnnConv() = default;
  CudnnConv(const CudnnConv&) = delete;
  CudnnConv& operator=(const CudnnConv&) = delete;
};

}  // namespace octavo::kernels::cuda
