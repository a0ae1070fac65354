// A matrix product by NVIDIA's cuBLASLt, planned once: descriptors, layouts, and the algorithm that the
// library's heuristic names. The library's header stays in lt_matmul.cpp.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <string>

namespace octavo::kernels::cuda {

/// Whether this build has cuBLASLt; without it every plan throws.
bool has_cublaslt();

/// What a library multiplies in: bytes to s32 sums, or FP32 matrices, whose elements it may round to TF32 or
/// bfloat16 before it multiplies.
enum class LibraryMath : std::uint8_t { s8, fp32, tf32, bf16 };

/// D = op(A) op(B) [+ bias] [+ D], in the library's terms: matrices lie column by column, `ld` elements
/// apart. op(A) is m x k, op(B) k x n, D m x n.
struct MatmulShape {
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t lda = 0, ldb = 0, ldd = 0;
  bool transpose_a = false, transpose_b = false;
  bool bias = false;  // a float for each row of D is added
};

/// Pointers of the device.
struct MatmulArgs {
  const void *a = nullptr, *b = nullptr;
  void* d = nullptr;
  const float* bias = nullptr;
  bool accumulate = false;  // in float: D is added
  void* workspace = nullptr;
};

class LtMatmul {
 public:
  /// Null where the library has no algorithm for it. `what` begins every message. Throws std::runtime_error
  /// for errors of cuBLASLt.
  static std::shared_ptr<const LtMatmul> plan(const MatmulShape& shape, LibraryMath math,
                                              const std::string& what);
  virtual ~LtMatmul() = default;

  /// Operands and D begin at multiples of so many bytes, and so does the workspace.
  static constexpr std::size_t alignment = 16;
  virtual std::int64_t workspace_bytes() const = 0;
  /// On `stream`, which may be captured: nothing is planned or allocated.
  virtual void run(const MatmulArgs& args, cudaStream_t stream) const = 0;

 protected:
  LtMatmul() = default;
  LtMatmul(const LtMatmul&) = delete;
  LtMatmul& operator=(const LtMatmul&) = delete;
};

}  // namespace octavo::kernels::cuda
