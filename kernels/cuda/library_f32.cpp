#include "library_f32.h"

#include <array>
#include <stdexcept>

#include "bf16_sums.h"
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

void check_conv(const ConvF32Args& args, std::int64_t workspace, Product product, const std::string& what) {
  check_pointers(args, workspace, what);
  if (args.bias != nullptr && product != Product::forward)
    throw std::invalid_argument(what + "a bias is for forward");
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

/// Elements of the tensors of a product: its operands and its results.
struct ConvElements {
  std::int64_t a, b, results, channels;  // channels: those of a bias, or 1
};
ConvElements elements_of(const ConvShape& s, Product product) {
  const std::int64_t x = s.n * s.h * s.w * s.c, w = s.k * s.r * s.s * (s.c / s.groups),
                     y = s.n * s.ho * s.wo * s.k;
  if (product == Product::forward) return {x, w, y, s.k};
  if (product == Product::grad_input) return {y, w, x, 1};
  return {x, y, w, 1};
}

/// A product's tensors as X, W and Y.
CudnnTensors tensors_of(Product product, const void* a, const void* b, const void* out, void* workspace) {
  if (product == Product::forward) return {.x = a, .w = b, .y = out, .workspace = workspace};
  if (product == Product::grad_input) return {.x = out, .w = b, .y = a, .workspace = workspace};
  return {.x = a, .w = out, .y = b, .workspace = workspace};
}

/// Any convolution in FP32 memory. A bias or an accumulation is another pass, from sums behind the library's
/// workspace.
class CudnnConvF32 final : public LibraryF32 {
 public:
  CudnnConvF32(std::string name, const ConvShape& shape, Product product, std::string kernel,
               std::shared_ptr<const CudnnConv> conv)
      : name_(std::move(name)),
        product_(product),
        kernel_(std::move(kernel)),
        of_(elements_of(shape, product)),
        conv_(std::move(conv)) {}

  std::string kernel() const override { return kernel_; }
  std::int64_t workspace_bytes() const override { return sums_at() + of_.results * 4; }
  void run(const ConvF32Args& args, cudaStream_t stream) const override {
    check_conv(args, workspace_bytes(), product_, name_);
    const bool more = args.bias != nullptr || args.accumulate;
    float* const sums =
        more ? reinterpret_cast<float*>(static_cast<std::byte*>(args.scratch) + sums_at()) : args.out;
    conv_->run(tensors_of(product_, args.a, args.b, sums, args.scratch), stream);
    if (more) store_sums_f32(sums, args, of_.results, of_.channels, name_, stream);
  }

 private:
  std::int64_t sums_at() const { return plane_bytes(conv_->workspace_bytes()); }

  std::string name_;
  Product product_;
  std::string kernel_;
  ConvElements of_;
  std::shared_ptr<const CudnnConv> conv_;
};

/// The same with bfloat16 in memory: operands and results lie as such behind the library's workspace, a pass
/// each makes them and takes them.
class CudnnConvBf16 final : public LibraryF32 {
 public:
  CudnnConvBf16(std::string name, const ConvShape& shape, Product product, std::string kernel,
                std::shared_ptr<const CudnnConv> conv)
      : name_(std::move(name)),
        product_(product),
        kernel_(std::move(kernel)),
        of_(elements_of(shape, product)),
        conv_(std::move(conv)) {}

  std::string kernel() const override { return kernel_; }
  std::int64_t workspace_bytes() const override { return results_at() + bytes_of(of_.results); }
  void run(const ConvF32Args& args, cudaStream_t stream) const override {
    check_conv(args, workspace_bytes(), product_, name_);
    auto* const scratch = static_cast<std::byte*>(args.scratch);
    auto *const a = reinterpret_cast<Bf16*>(scratch + a_at()),
                *const b = reinterpret_cast<Bf16*>(scratch + b_at()),
                *const results = reinterpret_cast<Bf16*>(scratch + results_at());
    narrow_floats(args.a, a, of_.a, name_, stream);
    narrow_floats(args.b, b, of_.b, name_, stream);
    conv_->run(tensors_of(product_, a, b, results, args.scratch), stream);
    store_bf16_sums(results, args, of_.results, of_.channels, name_, stream);
  }

 private:
  static std::int64_t bytes_of(std::int64_t elements) { return plane_bytes(elements * 2); }
  std::int64_t a_at() const { return plane_bytes(conv_->workspace_bytes()); }
  std::int64_t b_at() const { return a_at() + bytes_of(of_.a); }
  std::int64_t results_at() const { return b_at() + bytes_of(of_.b); }

  std::string name_;
  Product product_;
  std::string kernel_;
  ConvElements of_;
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
  if (!has_cudnn()) return nullptr;
  const std::string kernel = std::string("cudnn/conv_") + math_name(math);
  std::string name = describe_conv(shape, product, kernel.c_str());
  auto conv = CudnnConv::plan({rows_as_batch(shape), product, math}, name);
  if (conv == nullptr) return nullptr;
  if (math == LibraryMath::bf16)
    return std::make_shared<CudnnConvBf16>(std::move(name), shape, product, kernel, std::move(conv));
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
