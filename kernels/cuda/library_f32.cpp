#include "library_f32.h"

#include <array>
#include <stdexcept>

#include "cudnn_conv.h"
#include "pointers.h"

namespace octavo::kernels::cuda {
namespace {

/// Dense matrices row by row are the library's column by column, turned: Y' = W' X' of rows and filters.
MatmulShape matmul_of(const ConvShape& s, Product product, bool bias) {
  const std::int64_t pixels = s.n * s.ho * s.wo;
  if (product == Product::forward)
    return {.m = s.k,
            .n = pixels,
            .k = s.c,
            .lda = s.c,
            .ldb = s.c,
            .ldd = s.k,
            .transpose_a = true,
            .bias = bias};
  if (product == Product::grad_input)
    return {.m = s.c, .n = pixels, .k = s.k, .lda = s.c, .ldb = s.k, .ldd = s.c};
  return {.m = s.c, .n = s.k, .k = pixels, .lda = s.c, .ldb = s.k, .ldd = s.c, .transpose_b = true};
}

void check_pointers(const ConvF32Args& args, std::int64_t workspace, const std::string& what) {
  for (const auto& [pointer, name] : {std::pair{args.a, "a"}, {args.b, "b"}, {args.out, "out"}})
    check_pointer(pointer, name, what, LtMatmul::alignment);
  if (workspace > 0) check_pointer(args.scratch, "scratch", what, LtMatmul::alignment);
}

/// A linear layer or 1x1 convolution.
class LtConvF32 final : public LibraryF32 {
 public:
  LtConvF32(std::string name, Product product, std::string kernel, bool bias,
            std::shared_ptr<const LtMatmul> matmul)
      : name_(std::move(name)),
        product_(product),
        kernel_(std::move(kernel)),
        bias_(bias),
        matmul_(std::move(matmul)) {}

  std::string kernel() const override { return kernel_; }
  std::int64_t workspace_bytes() const override { return matmul_->workspace_bytes(); }
  void run(const ConvF32Args& args, cudaStream_t stream) const override {
    check_pointers(args, workspace_bytes(), name_);
    if (bias_ != (args.bias != nullptr))
      throw std::invalid_argument(name_ + "planned with or without a bias");
    // The matrix that has the innermost index of results comes first.
    const bool turned = product_ != Product::grad_weight;
    matmul_->run({.a = turned ? args.b : args.a,
                  .b = turned ? args.a : args.b,
                  .d = args.out,
                  .bias = args.bias,
                  .accumulate = args.accumulate,
                  .workspace = args.scratch},
                 stream);
  }

 private:
  std::string name_;
  Product product_;
  std::string kernel_;
  bool bias_;
  std::shared_ptr<const LtMatmul> matmul_;
};

/// Any convolution. A bias or an accumulation is another pass, from sums behind the library's workspace.
class CudnnConvF32 final : public LibraryF32 {
 public:
  CudnnConvF32(std::string name, const ConvShape& shape, Product product, std::string kernel,
               std::shared_ptr<const CudnnConv> conv)
      : name_(std::move(name)),
        product_(product),
        kernel_(std::move(kernel)),
        results_(product == Product::forward      ? shape.n * shape.ho * shape.wo * shape.k
                 : product == Product::grad_input ? shape.n * shape.h * shape.w * shape.c
                                                  : shape.k * shape.r * shape.s * (shape.c / shape.groups)),
        channels_(product == Product::forward ? shape.k : 1),
        conv_(std::move(conv)) {}

  std::string kernel() const override { return kernel_; }
  std::int64_t workspace_bytes() const override { return sums_at() + results_ * 4; }
  void run(const ConvF32Args& args, cudaStream_t stream) const override {
    check_pointers(args, workspace_bytes(), name_);
    if (args.bias != nullptr && product_ != Product::forward)
      throw std::invalid_argument(name_ + "a bias is for forward");
    const bool more = args.bias != nullptr || args.accumulate;
    float* const sums =
        more ? reinterpret_cast<float*>(static_cast<std::byte*>(args.scratch) + sums_at()) : args.out;
    if (product_ == Product::forward)
      conv_->run({.x = args.a, .w = args.b, .y = sums, .workspace = args.scratch}, stream);
    else if (product_ == Product::grad_input)
      conv_->run({.x = sums, .w = args.b, .y = args.a, .workspace = args.scratch}, stream);
    else
      conv_->run({.x = args.a, .w = sums, .y = args.b, .workspace = args.scratch}, stream);
    if (more) store_sums_f32(sums, args, results_, channels_, name_, stream);
  }

 private:
  std::int64_t sums_at() const { return plane_bytes(conv_->workspace_bytes()); }

  std::string name_;
  Product product_;
  std::string kernel_;
  std::int64_t results_, channels_;
  std::shared_ptr<const CudnnConv> conv_;
};

std::shared_ptr<const LibraryF32> plan_matmul(const ConvShape& shape, Product product, LibraryMath math,
                                              bool bias) {
  if (!has_cublaslt() || !is_matrix_product(shape)) return nullptr;
  const std::string kernel = std::string("cublaslt/matmul_") + math_name(math);
  std::string name = describe_conv(shape, product, kernel.c_str());
  auto matmul = LtMatmul::plan(matmul_of(rows_as_batch(shape), product, bias), math, name);
  if (matmul == nullptr) return nullptr;
  return std::make_shared<LtConvF32>(std::move(name), product, kernel, bias, std::move(matmul));
}

std::shared_ptr<const LibraryF32> plan_conv(const ConvShape& shape, Product product, LibraryMath math) {
  // Its bfloat16 convolutions want bfloat16 in memory.
  if (!has_cudnn() || math == LibraryMath::bf16) return nullptr;
  const std::string kernel = std::string("cudnn/conv_") + math_name(math);
  std::string name = describe_conv(shape, product, kernel.c_str());
  auto conv = CudnnConv::plan({rows_as_batch(shape), product, math}, name);
  if (conv == nullptr) return nullptr;
  return std::make_shared<CudnnConvF32>(std::move(name), shape, product, kernel, std::move(conv));
}

constexpr std::array float_maths = {LibraryMath::fp32, LibraryMath::tf32, LibraryMath::bf16};

}  // namespace

const char* math_name(LibraryMath math) {
  if (math == LibraryMath::s8) return "s8";
  return math == LibraryMath::fp32 ? "fp32" : math == LibraryMath::tf32 ? "tf32" : "bf16";
}

LibraryMath float_math(const std::string& name) {
  for (const LibraryMath math : float_maths)
    if (name == math_name(math)) return math;
  throw std::invalid_argument("float products in " + name + "; choose fp32, tf32 or bf16");
}

std::shared_ptr<const LibraryF32> plan_library_f32(const ConvShape& shape, Product product, LibraryMath math,
                                                   bool bias) {
  if (auto matmul = plan_matmul(shape, product, math, bias)) return matmul;
  return plan_conv(shape, product, math);
}

}  // namespace octavo::kernels::cuda
