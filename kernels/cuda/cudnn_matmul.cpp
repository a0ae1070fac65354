// The graph: a matrix product to s32, the scales' product beside it, and the product of both. cuDNN fuses all
// of it into one kernel.
#include "cudnn_matmul.h"

#include <stdexcept>

#ifdef OCTAVO_CUDNN
#include <array>
#include <deque>

#include "cudnn_plan.h"
#endif

namespace octavo::kernels::cuda {

#ifdef OCTAVO_CUDNN

namespace {

using Sizes = std::array<std::int64_t, 3>;
enum TensorId : std::int64_t { id_a = 1, id_b, id_c, id_a_scale, id_b_scale, id_sums, id_scale };

class PlannedMatmul final : public CudnnMatmul {
 public:
  PlannedMatmul(const CudnnMatmulProblem& problem, const std::string& what, const std::string& device)
      : plan_(LibraryMath::s8, what, device), scaled_(problem.scales.has_value()) {
    describe(problem);
  }

  bool choose_engine(std::string& why) {
    std::vector<const CudnnDescriptor*> operations;
    operations.reserve(operations_.size());
    for (const CudnnDescriptor& each : operations_) operations.push_back(&each);
    if (plan_.choose_engine(operations)) return true;
    why = !plan_.refusal().empty() ? "cuDNN cannot compile it: " + plan_.refusal()
                                   : "cuDNN has no engine for it";
    return false;
  }

  std::int64_t workspace_bytes() const override { return plan_.workspace_bytes(); }

  void run(const CudnnMatmulTensors& tensors, cudaStream_t stream) const override {
    constexpr std::array<std::int64_t, 5> ids = {id_a, id_b, id_c, id_a_scale, id_b_scale};
    const std::array<const void*, 5> pointers = {tensors.a, tensors.b, tensors.c, tensors.a_scale,
                                                 tensors.b_scale};
    const std::size_t count = scaled_ ? 5 : 3;
    plan_.run(std::span(ids).first(count), std::span(pointers).first(count), tensors.workspace, stream);
  }

 private:
  void describe(const CudnnMatmulProblem& p) {
    const Sizes results = {p.batch, p.rows, p.columns};
    const Sizes lines = {p.rows * p.columns, p.columns, 1};
    const CudnnDescriptor& a = tensor(id_a, CUDNN_DATA_INT8, {p.batch, p.rows, p.contraction},
                                      {p.rows * p.row_bytes, p.row_bytes, 1});
    const CudnnDescriptor& b = tensor(id_b, CUDNN_DATA_INT8, {1, p.contraction, p.columns},
                                      {p.columns * p.row_bytes, 1, p.row_bytes});
    if (!p.scales) return multiply(a, b, tensor(id_c, CUDNN_DATA_INT32, results, lines));
    const CudnnDescriptor& sums = tensor(id_sums, CUDNN_DATA_INT32, results, lines, true);
    multiply(a, b, sums);
    const std::int64_t batches = p.scales->a_vector && p.batch > 1 ? p.batch : 1;
    const std::int64_t rows = p.scales->a_vector && p.batch == 1 ? p.rows : 1;
    const std::int64_t columns = p.scales->b_vector ? p.columns : 1;
    const CudnnDescriptor& scale = tensor(id_scale, CUDNN_DATA_FLOAT, results, lines, true);
    scale_by(tensor(id_a_scale, CUDNN_DATA_FLOAT, {batches, rows, 1}, {rows, 1, 1}),
             tensor(id_b_scale, CUDNN_DATA_FLOAT, {1, 1, columns}, {columns, columns, 1}), scale);
    const bool narrow = p.scales->type == FloatType::bf16;
    scale_by(sums, scale, tensor(id_c, narrow ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT, results, lines));
  }

  /// Virtual: what passes from one operation to the next and is not in memory.
  const CudnnDescriptor& tensor(std::int64_t id, cudnnDataType_t type, const Sizes& sizes,
                                const Sizes& strides, bool is_virtual = false) {
    const std::int64_t bytes = type == CUDNN_DATA_INT8 ? 1 : type == CUDNN_DATA_BFLOAT16 ? 2 : 4;
    // Scales lie anywhere, and so do sums of a part behind those of an odd number.
    const bool anywhere = id == id_a_scale || id == id_b_scale || sizes[2] * bytes % alignment != 0;
    CudnnDescriptor& made = parts_.emplace_back(CUDNN_BACKEND_TENSOR_DESCRIPTOR, plan_.what());
    made.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type)
        .set_all<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS, sizes)
        .set_all<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES, strides)
        .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id)
        .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, anywhere ? bytes : alignment)
        .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, is_virtual)
        .finalize("a tensor of cuDNN");
    return made;
  }
  void multiply(const CudnnDescriptor& a, const CudnnDescriptor& b, const CudnnDescriptor& c) {
    CudnnDescriptor& matmul = parts_.emplace_back(CUDNN_BACKEND_MATMUL_DESCRIPTOR, plan_.what());
    matmul.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_INT32).finalize("a matrix product of cuDNN");
    operations_.emplace_back(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, plan_.what())
        .set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a)
        .set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b)
        .set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, c)
        .set(CUDNN_ATTR_OPERATION_MATMUL_DESC, matmul)
        .finalize("an operation of cuDNN");
  }
  void scale_by(const CudnnDescriptor& x, const CudnnDescriptor& b, const CudnnDescriptor& y) {
    CudnnDescriptor& product = parts_.emplace_back(CUDNN_BACKEND_POINTWISE_DESCRIPTOR, plan_.what());
    product.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_POINTWISE_MUL)
        .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT)
        .finalize("a product of cuDNN");
    operations_.emplace_back(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, plan_.what())
        .set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, product)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y)
        .finalize("an operation of cuDNN");
  }

  CudnnPlan plan_;
  std::deque<CudnnDescriptor> parts_, operations_;
  bool scaled_;
};

}  // namespace

std::shared_ptr<const CudnnMatmul> CudnnMatmul::plan(const CudnnMatmulProblem& problem,
                                                     const std::string& what, std::string& why,
                                                     const std::string& device) {
  auto planned = std::make_shared<PlannedMatmul>(problem, what, device);
  if (!planned->choose_engine(why)) return nullptr;
  return planned;
}

#else

std::shared_ptr<const CudnnMatmul> CudnnMatmul::plan(const CudnnMatmulProblem&, const std::string& what,
                                                     std::string&, const std::string&) {
  throw std::runtime_error(what + "this build has no cuDNN");
}

#endif

}  // namespace octavo::kernels::cuda
