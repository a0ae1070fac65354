// A product of byte matrices by cuDNN's runtime-fused engine, planned once: s32 sums, or floats that it
// multiplies by scales of rows and columns before it stores them. The library compiles the kernel for the
// device when it is planned. Its header stays in cudnn_*.cpp.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <optional>
#include <string>

#include "../kernels.h"

namespace octavo::kernels::cuda {

/// Results are float(sum) * (a_scale * b_scale), in this order, as our kernels have it.
struct CudnnScales {
  bool a_vector = false, b_vector = false;  // else one scale: of each row or batch of A, of each row of B
  FloatType type = FloatType::f32;          // of results
  bool operator==(const CudnnScales&) const = default;
};

/// C [batch][rows][columns] = A [batch][rows][contraction] B [columns][contraction], both of signed bytes.
struct CudnnMatmulProblem {
  std::int64_t batch = 1, rows = 0, columns = 0, contraction = 0;
  std::int64_t row_bytes = 0;              // from a row to the next, of both operands
  std::optional<CudnnScales> scales = {};  // none: s32 sums
};

/// Pointers of the device; those of scales for a problem that has them.
struct CudnnMatmulTensors {
  const void *a = nullptr, *b = nullptr;
  void* c = nullptr;
  const float *a_scale = nullptr, *b_scale = nullptr;
  void* workspace = nullptr;
};

class CudnnMatmul {
 public:
  /// Null where the library has no engine for it, or cannot compile it without a driver: `why` is then told.
  /// `what` and `device` as of CudnnConv. Throws std::runtime_error for errors of cuDNN.
  static std::shared_ptr<const CudnnMatmul> plan(const CudnnMatmulProblem& problem, const std::string& what,
                                                 std::string& why, const std::string& device = {});
  virtual ~CudnnMatmul() = default;

  /// A, B, C and the workspace begin at multiples of so many bytes, scales anywhere.
  static constexpr std::int64_t alignment = 16;
  virtual std::int64_t workspace_bytes() const = 0;
  /// On `stream`, which may be captured: nothing is planned or allocated on the device.
  virtual void run(const CudnnMatmulTensors& tensors, cudaStream_t stream) const = 0;

 protected:
  CudnnMatmul() = default;
  CudnnMatmul(const CudnnMatmul&) = delete;
  CudnnMatmul& operator=(const CudnnMatmul&) = delete;
};

}  // namespace octavo::kernels::cuda
