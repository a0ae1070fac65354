#include "cudnn_conv.h"

#include <stdexcept>

#ifdef OCTAVO_CUDNN
#include <array>

#include "cudnn_plan.h"
#endif

namespace octavo::kernels::cuda {

#ifdef OCTAVO_CUDNN

namespace {

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

class PlannedConv final : public CudnnConv {
 public:
  PlannedConv(const CudnnProblem& problem, const std::string& what, const std::string& device)
      : plan_(problem.math, what, device) {
    describe(problem);
  }

  bool choose_engine() {
    const CudnnDescriptor* const operation = &*operation_;
    return plan_.choose_engine({&operation, 1});
  }
  std::int64_t workspace_bytes() const override { return plan_.workspace_bytes(); }
  void run(const CudnnTensors& tensors, cudaStream_t stream) const override {
    plan_.run(tensor_ids, std::array{tensors.x, tensors.w, tensors.y}, tensors.workspace, stream);
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
    operation_.emplace(names.type, plan_.what())
        .set(names.x, x_)
        .set(names.w, w_)
        .set(names.y, y_)
        .set(names.convolution, convolution_)
        .set(names.alpha, 1.0F)
        .set(names.beta, 0.0F)
        .finalize("an operation of cuDNN");
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

  CudnnPlan plan_;
  CudnnDescriptor x_{CUDNN_BACKEND_TENSOR_DESCRIPTOR, plan_.what()},
      w_{CUDNN_BACKEND_TENSOR_DESCRIPTOR, plan_.what()}, y_{CUDNN_BACKEND_TENSOR_DESCRIPTOR, plan_.what()};
  CudnnDescriptor convolution_{CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, plan_.what()};
  std::optional<CudnnDescriptor> operation_;
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
