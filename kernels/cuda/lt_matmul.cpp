#include "lt_matmul.h"

#include <stdexcept>

#ifdef OCTAVO_CUBLASLT
#include <cublasLt.h>

#include <map>
#include <mutex>

#include "check.h"
#endif

namespace octavo::kernels::cuda {

#ifdef OCTAVO_CUBLASLT

namespace {

/// The library may take so much, as NVIDIA advises for sm_90; an algorithm says what it needs.
constexpr std::uint64_t most_workspace = std::uint64_t{32} << 20;

void check_lt(cublasStatus_t status, const std::string& what, const char* function) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  std::string hint;
  if (status == CUBLAS_STATUS_NOT_INITIALIZED)
    hint = " Check the driver with nvidia-smi, and that it is new enough for this cuBLASLt.";
  if (status == CUBLAS_STATUS_ALLOC_FAILED) hint = " Use a smaller batch, or free memory on the device.";
  throw std::runtime_error(what + function + ": " + cublasLtGetStatusName(status) + ", " +
                           cublasLtGetStatusString(status) + "." + hint);
}

/// What `create` makes and `destroy` takes back.
template <class T>
using Owned = std::unique_ptr<T, cublasStatus_t (*)(T*)>;
template <class T, class... Arguments>
Owned<T> create(cublasStatus_t (*make)(T**, Arguments...), cublasStatus_t (*destroy)(T*),
                const std::string& what, const char* function, std::type_identity_t<Arguments>... arguments) {
  T* made = nullptr;
  check_lt(make(&made, arguments...), what, function);
  return Owned<T>(made, destroy);
}

using Handle = std::shared_ptr<cublasLtContext>;

/// One for each device, which lives as long as a product of it.
Handle handle_of_device(const std::string& what) {
  static std::mutex mutex;
  static std::map<int, std::weak_ptr<cublasLtContext>> known;
  const std::lock_guard lock(mutex);
  int device = 0;
  check(cudaGetDevice(&device), what, "current device");
  if (Handle handle = known[device].lock()) return handle;
  Handle handle = create(cublasLtCreate, cublasLtDestroy, what, "cublasLtCreate");
  known[device] = handle;
  return handle;
}

struct Types {
  cublasComputeType_t compute;
  cudaDataType_t scale, operand, result;
};
Types types_of(LibraryMath math) {
  switch (math) {
    case LibraryMath::s8:
      return {CUBLAS_COMPUTE_32I, CUDA_R_32I, CUDA_R_8I, CUDA_R_32I};
    case LibraryMath::fp32:
      return {CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, CUDA_R_32F};
    case LibraryMath::tf32:
      return {CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F, CUDA_R_32F, CUDA_R_32F};
    default:
      return {CUBLAS_COMPUTE_32F_FAST_16BF, CUDA_R_32F, CUDA_R_32F, CUDA_R_32F};
  }
}

class PlannedMatmul final : public LtMatmul {
 public:
  PlannedMatmul(const MatmulShape& s, LibraryMath math, const std::string& what)
      : what_(what),
        types_(types_of(math)),
        bias_(s.bias),
        handle_(handle_of_device(what)),
        matmul_(create(cublasLtMatmulDescCreate, cublasLtMatmulDescDestroy, what, "cublasLtMatmulDescCreate",
                       types_.compute, types_.scale)),
        a_(layout(types_.operand, s.transpose_a ? s.k : s.m, s.transpose_a ? s.m : s.k, s.lda)),
        b_(layout(types_.operand, s.transpose_b ? s.n : s.k, s.transpose_b ? s.k : s.n, s.ldb)),
        d_(layout(types_.result, s.m, s.n, s.ldd)) {
    set(CUBLASLT_MATMUL_DESC_TRANSA, static_cast<std::int32_t>(s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N));
    set(CUBLASLT_MATMUL_DESC_TRANSB, static_cast<std::int32_t>(s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N));
    if (bias_) set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(CUBLASLT_EPILOGUE_BIAS));
  }

  /// False where there is no algorithm.
  bool choose_algorithm() {
    const auto preference = create(cublasLtMatmulPreferenceCreate, cublasLtMatmulPreferenceDestroy, what_,
                                   "cublasLtMatmulPreferenceCreate");
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t which, auto value) {
      check_lt(cublasLtMatmulPreferenceSetAttribute(preference.get(), which, &value, sizeof(value)), what_,
               "cublasLtMatmulPreferenceSetAttribute");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, most_workspace);
    for (const auto which :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      prefer(which, static_cast<std::uint32_t>(alignment));
    // Adding up in place would leave the order of float sums to the run.
    if (types_.scale == CUDA_R_32F)
      prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
             static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    int count = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle_.get(), matmul_.get(), a_.get(), b_.get(), d_.get(), d_.get(),
                                       preference.get(), 1, &chosen_, &count);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED) return false;
    check_lt(status, what_, "cublasLtMatmulAlgoGetHeuristic");
    return count > 0 && chosen_.state == CUBLAS_STATUS_SUCCESS;
  }

  std::int64_t workspace_bytes() const override { return static_cast<std::int64_t>(chosen_.workspaceSize); }

  void run(const MatmulArgs& args, cudaStream_t stream) const override {
    if (bias_) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, args.bias);
    const float sums[] = {1, args.accumulate ? 1.0F : 0.0F};
    const std::int32_t integer_sums[] = {1, 0};
    const bool integers = types_.scale == CUDA_R_32I;
    const void* const alpha = integers ? static_cast<const void*>(integer_sums) : sums;
    const void* const beta = integers ? static_cast<const void*>(integer_sums + 1) : sums + 1;
    check_lt(cublasLtMatmul(handle_.get(), matmul_.get(), alpha, args.a, a_.get(), args.b, b_.get(), beta,
                            args.d, d_.get(), args.d, d_.get(), &chosen_.algo, args.workspace,
                            chosen_.workspaceSize, stream),
             what_, "cublasLtMatmul");
  }

 private:
  using Layout = Owned<cublasLtMatrixLayoutOpaque_t>;
  Layout layout(cudaDataType_t type, std::int64_t rows, std::int64_t columns, std::int64_t ld) const {
    return create(cublasLtMatrixLayoutCreate, cublasLtMatrixLayoutDestroy, what_,
                  "cublasLtMatrixLayoutCreate", type, static_cast<std::uint64_t>(rows),
                  static_cast<std::uint64_t>(columns), ld);
  }
  template <class T>
  void set(cublasLtMatmulDescAttributes_t which, T value) const {
    check_lt(cublasLtMatmulDescSetAttribute(matmul_.get(), which, &value, sizeof(value)), what_,
             "cublasLtMatmulDescSetAttribute");
  }

  std::string what_;
  Types types_;
  bool bias_;
  Handle handle_;
  Owned<cublasLtMatmulDescOpaque_t> matmul_;
  Layout a_, b_, d_;
  cublasLtMatmulHeuristicResult_t chosen_{};
};

}  // namespace

bool has_cublaslt() { return true; }

std::shared_ptr<const LtMatmul> LtMatmul::plan(const MatmulShape& shape, LibraryMath math,
                                               const std::string& what) {
  auto planned = std::make_shared<PlannedMatmul>(shape, math, what);
  if (!planned->choose_algorithm()) return nullptr;
  return planned;
}

#else

bool has_cublaslt() { return false; }

std::shared_ptr<const LtMatmul> LtMatmul::plan(const MatmulShape&, LibraryMath, const std::string& what) {
  throw std::runtime_error(what + "this build has no cuBLASLt");
}

#endif

}  // namespace octavo::kernels::cuda
