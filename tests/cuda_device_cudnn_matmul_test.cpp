// INT8 matrix products by cuDNN's runtime-fused engine against kernels/ref, as in cuda_device_test.cpp.
// Without the library they are left out, which a warning says; on the host a stand-in checks every
// descriptor.
#include "cuda/conv_cudnn_matmul.h"
#include "cuda/cudnn_conv.h"
#include "support/catch.h"
#include "support/cuda_device.h"
#if OCTAVO_ARCH > 0
#include <cudnn_graph.h>
#endif

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

/// On a device whose cuDNN has no such engine, too.
bool left_out() {
  std::string why;
  if (!cu::has_cudnn())
    why = "this build does not have it";
  else if (cu::plan_conv_cudnn_matmul(linear(32, 32, 32), Product::forward, {}, {}, why))
    return false;
  WARN("cuDNN's matrix product is left out of every test: " << why);
  return true;
}

class MatmulProduct {
 public:
  MatmulProduct(const ConvShape& shape, Product product, const cu::ConvOptions& options,
                const std::optional<cu::CudnnScales>& scales = {})
      : plan_(cu::plan_conv_cudnn_matmul(shape, product, options, scales, why_)),
        operands_(draw_operands(shape, product, options.a_planes, options.b_planes)),
        a_(device_a(plan_.value().conv, operands_)),
        b_(device_b(plan_->conv, operands_)),
        scratch_(static_cast<std::size_t>(plan_->workspace_bytes())) {}

  void run(ConvArgs args, cudaStream_t stream = nullptr) {
    args.a = a_.data(), args.b = b_.data(), args.scratch = scratch_.data();
    args.a_planes = plan_->conv.options.a_planes, args.b_planes = plan_->conv.options.b_planes;
    cu::run_conv_cudnn_matmul(*plan_, args, stream);
  }
  std::vector<std::int64_t> sums() {
    DeviceArray<std::int64_t> out(static_cast<std::size_t>(results()));
    ConvArgs args;
    args.integers = out.data();
    run(args);
    cu::check(cudaDeviceSynchronize(), "test: run_conv_cudnn_matmul");
    return out.values();
  }
  const cu::ConvCudnnMatmulPlan& plan() const { return *plan_; }
  std::int64_t results() const { return plan_->conv.result_elements(); }
  const PlainOperands& operands() const { return operands_; }

 private:
  std::string why_;
  std::optional<cu::ConvCudnnMatmulPlan> plan_;
  PlainOperands operands_;
  DeviceArray<std::int8_t> a_, b_, scratch_;
};

/// With filters and channels that are no multiples of anything, and several rows of one image.
std::vector<ConvShape> matrices() {
  return {linear(20, 24, 8), linear(33, 70, 31), linear(1, 40, 12), conv(3, 6, 5, 20, 36, 1, 1),
          conv(1, 7, 3, 17, 9, 1, 1)};
}

/// Stores as one kernel where scales are planned and nothing else is asked for, else by the join.
void check_floats(const ConvShape& shape, Product product, FloatType type, unsigned bits, bool scaled) {
  INFO(product_name(product) << " " << describe(shape) << " " << bits << " scaled " << scaled);
  std::optional<cu::CudnnScales> scales;
  if (scaled) scales = cu::CudnnScales{(bits & 1) != 0, (bits & 2) != 0, type};
  MatmulProduct matmul(shape, product, {}, scales);
  const FloatCase drawn(shape, product, matmul.results(), bits);
  CHECK((matmul.plan().scaled != nullptr) == scaled);
#if OCTAVO_ARCH > 0
  const int fused = cudnn_host.fused, kernels = cuda_host.kernels;
#endif
  const auto found = device_floats(drawn, {}, type, [&](ConvArgs& args) {
    matmul.run(args);
    cu::check(cudaDeviceSynchronize(), "test: run_conv_cudnn_matmul");
  });
  const auto expected = reference_floats(shape, product, matmul.operands(), drawn.args, drawn.start);
  CHECK(first_difference(found, stored_as(expected, type)) == none);
#if OCTAVO_ARCH > 0
  const bool alone = scaled && !drawn.args.accumulate && drawn.args.bias == nullptr;
  CHECK(cudnn_host.fused - fused == (alone ? 1 : 0));
  CHECK(cuda_host.kernels - kernels == (alone ? 0 : 1));
#endif
}

}  // namespace

TEST_CASE("cuDNN's matrix product gives the reference's integers") {
  if (left_out()) return;
  for (const ConvShape& shape : matrices())
    for (Product product : all_products)
      for (const cu::ConvOptions& options : {cu::ConvOptions{}, cu::ConvOptions{.a_planes = 2, .b_planes = 3},
                                             cu::ConvOptions{.least_splits = 3}}) {
        INFO(product_name(product) << " " << describe(shape) << " planes " << options.a_planes << " parts "
                                   << options.least_splits);
        MatmulProduct matmul(shape, product, options);
        CHECK(first_difference(matmul.sums(), reference_sums(shape, product, matmul.operands(), false,
                                                             matmul.results())) == none);
      }
}

TEST_CASE("cuDNN's matrix product: sums beyond an int32 are cut") {
  if (left_out()) return;
  MatmulProduct matmul(linear(2, 140000, 3), Product::forward, {});
  CHECK(matmul.plan().conv.gemm.splits == 2);
  CHECK(first_difference(matmul.sums(), reference_sums(linear(2, 140000, 3), Product::forward,
                                                       matmul.operands(), false, matmul.results())) == none);
}

TEST_CASE("cuDNN's matrix product: scales in the product or after it give the reference's floats") {
  if (left_out()) return;
  for (const ConvShape& shape : matrices())
    for (Product product : all_products)
      for (FloatType type : types_of(product))
        for (unsigned bits = 0; bits < (product == Product::forward ? float_cases : 8); ++bits)
          for (const bool scaled : {false, true}) check_floats(shape, product, type, bits, scaled);
}

TEST_CASE("cuDNN's matrix product: other scales than planned go by the join") {
  if (left_out()) return;
  const ConvShape shape = linear(20, 24, 8);
  const FloatCase drawn(shape, Product::forward, 20 * 8, 1);  // a scale for each row
  for (const cu::CudnnScales scales :
       {cu::CudnnScales{true, false, FloatType::f32}, cu::CudnnScales{false, false, FloatType::f32},
        cu::CudnnScales{true, true, FloatType::f32}, cu::CudnnScales{true, false, FloatType::bf16}}) {
    MatmulProduct matmul(shape, Product::forward, {}, scales);
    const auto found = device_floats(drawn, {}, FloatType::f32, [&](ConvArgs& args) {
      matmul.run(args);
      cu::check(cudaDeviceSynchronize(), "test: run_conv_cudnn_matmul");
    });
    const auto expected =
        reference_floats(shape, Product::forward, matmul.operands(), drawn.args, drawn.start);
    CHECK(first_difference(found, stored_as(expected, FloatType::f32)) == none);
  }
}

TEST_CASE("what cuDNN's matrix product does not take is told") {
  const auto reason = [](const ConvShape& shape, Product product, const cu::ConvOptions& options = {}) {
    return cu::refuse_conv_cudnn_matmul(shape, product, options);
  };
  for (Product product : all_products) {
    CHECK(reason(linear(20, 24, 7), product).empty());
    CHECK_THAT(reason(conv(2, 7, 8, 6, 12, 3, 3, 1, 1), product),
               ContainsSubstring("cudnn/matmul_s8 ") && ContainsSubstring("a matrix product is"));
    CHECK_THAT(reason(conv(2, 7, 8, 8, 12, 1, 1, 2), product), ContainsSubstring("without stride"));
  }
  CHECK_THAT(reason(linear(20, 24, 8), Product::forward, {.a_unsigned = true}),
             ContainsSubstring("this X is unsigned"));
  CHECK_THAT(reason(linear(20, 24, 8), Product::grad_weight, {.sample_classes = 24}),
             ContainsSubstring("no sums by sample class"));
}

#if OCTAVO_ARCH > 0
TEST_CASE("cuDNN's matrix product: nothing is planned in a step, all is given back, reasons are told") {
  const std::size_t descriptors = cudnn_host.descriptors.size();
  {
    MatmulProduct matmul(linear(20, 24, 8), Product::forward, {}, cu::CudnnScales{});
    const int plans = cudnn_host.plans, products = cudnn_host.products;
    DeviceArray<float> scale(std::vector<float>{0.5F}), out(std::vector<float>(20 * 8));
    ConvArgs args;
    args.a_scale = args.b_scale = scale.data();
    args.out = FloatTarget(out.data(), FloatType::f32);
    cudaStream_t stream = nullptr;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    REQUIRE(cudaStreamCreate(&stream) == cudaSuccess);
    REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaSuccess);
    matmul.run(args, stream);
    REQUIRE(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
    REQUIRE(cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess);
    for (int i = 0; i < 2; ++i) REQUIRE(cudaGraphLaunch(exec, stream) == cudaSuccess);
    REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
    CHECK(cudnn_host.plans == plans);
    CHECK(cudnn_host.products == products + 1);
    const auto sums = matmul.sums();
    std::vector<float> expected(sums.size());
    for (std::size_t i = 0; i < sums.size(); ++i) expected[i] = static_cast<float>(sums[i]) * (0.5F * 0.5F);
    CHECK(out.values() == expected);
    static_cast<void>(cudaGraphExecDestroy(exec)), static_cast<void>(cudaGraphDestroy(graph));
    static_cast<void>(cudaStreamDestroy(stream));
  }
  CHECK(cudnn_host.descriptors.size() == descriptors);
  CHECK(cudnn_host.handles == 0);

  std::string why;
  const auto plan = [&] {
    return cu::plan_conv_cudnn_matmul(linear(20, 24, 8), Product::forward, {}, cu::CudnnScales{}, why)
        .has_value();
  };
  CHECK(plan());
  CHECK(why.empty());
  cudnn_host.without_compiler = true;
  CHECK_FALSE(plan());
  CHECK_THAT(why, ContainsSubstring("cudnn/matmul_s8 forward of ") &&
                      ContainsSubstring("cuDNN cannot compile it") &&
                      ContainsSubstring("CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER"));
  cudnn_host.without_compiler = false;
  CHECK(cudnn_host.descriptors.size() == descriptors);
}
#endif
