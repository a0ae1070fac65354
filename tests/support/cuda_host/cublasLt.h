// What kernels/cuda calls of cuBLASLt, done by the host: descriptors are checked as its documentation says,
// and products are plain loops that run when the stream does. What it would not refuse but what a step must
// not do, planning during a capture, is refused too.
#pragma once

#include "cublaslt_descriptors.h"

/// What a product is, all of its descriptors.
struct CublasLtProblem {
  cublasLtMatmulDescOpaque_t desc;
  cublasLtMatrixLayoutOpaque_t a, b, c, d;

  bool transposed_a() const { return desc.transpose_a == CUBLAS_OP_T; }
  bool transposed_b() const { return desc.transpose_b == CUBLAS_OP_T; }
  std::uint64_t m() const { return d.rows; }
  std::uint64_t n() const { return d.columns; }
  std::uint64_t k() const { return transposed_a() ? a.rows : a.columns; }

  cublasStatus_t check() const {
    for (const cublasLtMatrixLayoutOpaque_t* layout : {&a, &b, &c, &d})
      if (layout->rows == 0 || layout->columns == 0 || layout->ld < static_cast<std::int64_t>(layout->rows))
        return CUBLAS_STATUS_INVALID_VALUE;
    const bool fits = (transposed_a() ? a.columns : a.rows) == m() &&
                      (transposed_b() ? b.rows : b.columns) == n() &&
                      (transposed_b() ? b.columns : b.rows) == k() && c == d;
    if (!fits) return CUBLAS_STATUS_INVALID_VALUE;
    return desc.compute == CUBLAS_COMPUTE_32I ? integers() : floats();
  }
  bool biased() const { return desc.epilogue == CUBLASLT_EPILOGUE_BIAS; }
  /// cublasLtMatmul(), requirements of its IMMA kernels with the regular order of data.
  cublasStatus_t integers() const {
    const bool types = a.type == CUDA_R_8I && b.type == CUDA_R_8I && d.type == CUDA_R_32I &&
                       desc.scale == CUDA_R_32I && !biased();
    const bool sizes =
        m() % 4 == 0 && k() % 4 == 0 && a.ld % 4 == 0 && b.ld % 4 == 0 && c.ld % 4 == 0 && d.ld % 4 == 0;
    return types && sizes && transposed_a() && !transposed_b() ? CUBLAS_STATUS_SUCCESS
                                                               : CUBLAS_STATUS_NOT_SUPPORTED;
  }
  cublasStatus_t floats() const {
    const bool types =
        a.type == CUDA_R_32F && b.type == CUDA_R_32F && d.type == CUDA_R_32F && desc.scale == CUDA_R_32F;
    return types ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
  }
  /// Equal for equal problems, as far as a test can tell.
  std::uint64_t fingerprint() const {
    std::uint64_t print =
        static_cast<std::uint64_t>(desc.compute) * 8 + biased() * 4 + transposed_a() * 2 + transposed_b();
    for (const cublasLtMatrixLayoutOpaque_t* layout : {&a, &b, &d})
      for (const std::uint64_t value :
           {layout->rows, layout->columns, static_cast<std::uint64_t>(layout->ld)})
        print = (print ^ value) * 0x100000001b3;
    return print;
  }
};

struct cublasLtMatmulAlgo_t {
  std::uint64_t data[8];  // the problem, the workspace, alignments of A, B, C and D
};
struct cublasLtMatmulHeuristicResult_t {
  cublasLtMatmulAlgo_t algo;
  std::size_t workspaceSize;
  cublasStatus_t state;
  float wavesCount;
};

inline cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                                     cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                                     cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                                     cublasLtMatmulPreference_t preference, int asked,
                                                     cublasLtMatmulHeuristicResult_t* results, int* count) {
  if (cuda_host.captures > 0) return CUBLAS_STATUS_INTERNAL_ERROR;
  if (handle == nullptr || asked < 1) return CUBLAS_STATUS_INVALID_VALUE;
  const CublasLtProblem problem{*desc, *a, *b, *c, *d};
  const cublasStatus_t status = problem.check();
  *count = 0;
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  // Sums in float that are added up in place have no fixed order, which a training must have.
  if (desc->scale == CUDA_R_32F && (preference->reductions & 1) != 0) return CUBLAS_STATUS_INTERNAL_ERROR;
  if (cublaslt_host.without_algorithms) return CUBLAS_STATUS_NOT_SUPPORTED;
  ++cublaslt_host.plans;
  *count = 1;
  results[0] = {};
  results[0].workspaceSize = std::min<std::size_t>(preference->workspace, cublaslt_host.workspace);
  results[0].algo.data[0] = problem.fingerprint(), results[0].algo.data[1] = results[0].workspaceSize;
  std::copy_n(preference->alignment, 4, results[0].algo.data + 2);
  return CUBLAS_STATUS_SUCCESS;
}

/// As tensor cores take it: the lowest bits of TF32 fall away, bfloat16 is the nearest.
inline float cublaslt_host_operand(float value, cublasComputeType_t compute) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (compute == CUBLAS_COMPUTE_32F_FAST_TF32) return std::bit_cast<float>(bits & ~0x1fffU);
  if (compute == CUBLAS_COMPUTE_32F_FAST_16BF)
    return std::bit_cast<float>((bits + 0x7fffU + (bits >> 16 & 1U)) & 0xffff0000U);
  return value;
}

struct CublasLtPointers {
  const void *a, *b;
  void* d;
  double beta;
};
template <class In, class Sum>
void cublaslt_host_multiply(const CublasLtProblem& p, const CublasLtPointers& at) {
  const auto operand = [&](const void* data, const cublasLtMatrixLayoutOpaque_t& layout, bool transposed,
                           std::uint64_t row, std::uint64_t column) {
    if (transposed) std::swap(row, column);
    const In value = static_cast<const In*>(data)[column * static_cast<std::uint64_t>(layout.ld) + row];
    if constexpr (std::is_same_v<In, float>)
      return cublaslt_host_operand(value, p.desc.compute);
    else
      return static_cast<Sum>(value);
  };
  for (std::uint64_t column = 0; column < p.n(); ++column)
    for (std::uint64_t row = 0; row < p.m(); ++row) {
      Sum sum = 0;
      for (std::uint64_t i = 0; i < p.k(); ++i)
        sum += operand(at.a, p.a, p.transposed_a(), row, i) * operand(at.b, p.b, p.transposed_b(), i, column);
      Sum& result = static_cast<Sum*>(at.d)[column * static_cast<std::uint64_t>(p.d.ld) + row];
      if (p.biased()) sum += static_cast<Sum>(static_cast<const float*>(p.desc.bias)[row]);
      result = at.beta == 0 ? sum : sum + result;
    }
}

inline cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha,
                                     const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                                     cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                                     cublasLtMatrixLayout_t c_layout, void* d,
                                     cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo,
                                     void* workspace, std::size_t bytes, cudaStream_t stream) {
  const CublasLtProblem problem{*desc, *a_layout, *b_layout, *c_layout, *d_layout};
  const cublasStatus_t status = problem.check();
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  const auto begins_at = [](const void* pointer, std::uint64_t alignment) {
    return pointer != nullptr && reinterpret_cast<std::uintptr_t>(pointer) % alignment == 0;
  };
  const std::uint64_t* const chosen = algo->data;
  if (handle == nullptr || chosen[0] != problem.fingerprint() || bytes < chosen[1] ||
      (chosen[1] > 0 && !begins_at(workspace, 16)) || !begins_at(a, chosen[2]) || !begins_at(b, chosen[3]) ||
      !begins_at(c, chosen[4]) || !begins_at(d, chosen[5]))
    return CUBLAS_STATUS_INVALID_VALUE;
  const bool integers = desc->compute == CUBLAS_COMPUTE_32I;
  const auto factor = [&](const void* pointer) {
    return integers ? static_cast<double>(*static_cast<const std::int32_t*>(pointer))
                    : static_cast<double>(*static_cast<const float*>(pointer));
  };
  const CublasLtPointers pointers{a, b, d, factor(beta)};
  const bool adds = pointers.beta == 1 && !integers;
  if (factor(alpha) != 1 || (pointers.beta != 0 && !adds) || (problem.biased() && desc->bias == nullptr))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  ++cublaslt_host.products;
  cuda_host_run(stream, [=, needed = chosen[1]] {
    if (needed > 0) std::memset(workspace, 0xFF, needed);
    if (integers)
      cublaslt_host_multiply<std::int8_t, std::int32_t>(problem, pointers);
    else
      cublaslt_host_multiply<float, float>(problem, pointers);
  });
  return CUBLAS_STATUS_SUCCESS;
}
