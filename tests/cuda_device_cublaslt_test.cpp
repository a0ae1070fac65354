// INT8 products by cuBLASLt against kernels/ref, as in cuda_device_test.cpp. Without the library they are
// left out, which a warning says; on the host a stand-in checks every descriptor
// (support/cuda_host/cublasLt.h).
#include "cuda/conv_lt.h"
#include "support/catch.h"
#include "support/cuda_device.h"
#if OCTAVO_ARCH > 0
#include <cublasLt.h>
#endif

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

bool left_out() {
  if (!cu::has_cublaslt()) WARN("cuBLASLt is left out of every test: this build does not have it");
  return !cu::has_cublaslt();
}

/// Linear layers and 1x1 convolutions that cuBLASLt takes in the three products.
std::vector<ConvShape> matrices() {
  return {linear(40, 20, 12), linear(1, 8, 4), linear(130, 64, 100), conv(5, 4, 3, 36, 8, 1, 1),
          conv(17, 2, 5, 16, 64, 1, 1)};
}

class LtProduct {
 public:
  LtProduct(const ConvShape& shape, Product product, const cu::ConvOptions& options)
      : plan_(cu::plan_conv_lt(shape, product, options)),
        operands_(draw_operands(shape, product, options.a_planes, options.b_planes)),
        a_(device_a(plan_.value().conv, operands_)),
        b_(device_b(plan_->conv, operands_)),
        scratch_(static_cast<std::size_t>(plan_->workspace_bytes())) {}

  void run(ConvArgs args, cudaStream_t stream = nullptr) {
    args.a = a_.data(), args.b = b_.data(), args.scratch = scratch_.data();
    args.a_planes = plan_->conv.options.a_planes, args.b_planes = plan_->conv.options.b_planes;
    cu::run_conv_lt(*plan_, args, stream);
  }
  std::vector<std::int64_t> sums() {
    DeviceArray<std::int64_t> out(static_cast<std::size_t>(plan_->conv.result_elements()));
    ConvArgs args;
    args.integers = out.data();
    run(args);
    cu::check(cudaDeviceSynchronize(), "test: run_conv_lt");
    return out.values();
  }
  const cu::ConvLtPlan& plan() const { return *plan_; }
  const PlainOperands& operands() const { return operands_; }

 private:
  std::optional<cu::ConvLtPlan> plan_;
  PlainOperands operands_;
  DeviceArray<std::int8_t> a_, b_, scratch_;
};

void check_sums(const ConvShape& shape, Product product, const cu::ConvOptions& options) {
  INFO(product_name(product) << " " << describe(shape) << " parts " << options.least_splits << " planes "
                             << options.a_planes << " " << options.b_planes);
  LtProduct library(shape, product, options);
  CHECK(first_difference(library.sums(), reference_sums(shape, product, library.operands(), false,
                                                        library.plan().conv.result_elements())) == none);
}

}  // namespace

TEST_CASE("cuBLASLt gives the reference's integers") {
  if (left_out()) return;
  for (const ConvShape& shape : matrices())
    for (Product product : all_products) {
      for (int parts : {1, 2, 3}) check_sums(shape, product, {.least_splits = parts});
      check_sums(shape, product, {.a_planes = 2, .b_planes = 3});
    }
  check_sums(linear(3, 8, 4), Product::grad_weight, {.a_planes = 3, .b_planes = 2, .least_splits = 2});
}

TEST_CASE("cuBLASLt: sums that no int32 holds are cut") {
  if (left_out()) return;
  check_sums(linear(140000, 4, 5), Product::grad_weight, {});
  check_sums(linear(2, 140000, 4), Product::forward, {});
  const auto parts = [](std::int64_t rows) {
    return cu::plan_conv_lt(linear(rows, 4, 4), Product::grad_weight, {}).value().conv.gemm.splits;
  };
  CHECK(parts(131008) == 1);
  CHECK(parts(131072) == 2);  // products of -128 would reach 2^31
  const auto plan = cu::plan_conv_lt(linear(262000, 4, 4), Product::grad_weight, {});
  REQUIRE(plan);
  CHECK(plan->conv.gemm.splits == 2);
  CHECK(plan->part_bytes == 131008);
  CHECK(plan->sums_bytes() == std::int64_t{2} * 16 * 4);
  CHECK(plan->whole != plan->rest);
}

TEST_CASE("cuBLASLt: scales, bias, accumulation and bfloat16 give the reference's floats") {
  if (left_out()) return;
  for (const ConvShape& shape : matrices())
    for (Product product : all_products)
      for (unsigned bits = 0; bits < float_cases; ++bits) {
        if (product != Product::forward && (bits & 8) != 0) continue;
        INFO(product_name(product) << " " << describe(shape) << " " << bits);
        LtProduct library(shape, product, {.least_splits = 1 + static_cast<int>(bits % 2)});
        const FloatCase drawn(shape, product, library.plan().conv.result_elements(), bits);
        const auto expected = reference_floats(shape, product, library.operands(), drawn.args, drawn.start);
        for (FloatType type : types_of(product)) {
          DeviceArray<float> a_scale(drawn.a_scale), b_scale(drawn.b_scale), bias(drawn.bias);
          DeviceArray<std::uint8_t> out(stored_as(drawn.start, type));
          ConvArgs args = drawn.args;
          args.a_scale = a_scale.data(), args.b_scale = b_scale.data();
          if (args.bias != nullptr) args.bias = bias.data();
          args.out = FloatTarget(out.data(), type);
          library.run(args);
          cu::check(cudaDeviceSynchronize(), "test: run_conv_lt");
          CHECK(first_difference(out.values(), stored_as(expected, type)) == none);
        }
      }
}

TEST_CASE("cuBLASLt: a captured product runs again") {
  if (left_out()) return;
  const ConvShape shape = linear(40, 20, 12);
  LtProduct library(shape, Product::forward, {.least_splits = 2});
  const auto results = static_cast<std::size_t>(library.plan().conv.result_elements());
  DeviceArray<std::int64_t> out(results);
  ConvArgs args;
  args.integers = out.data();
  cudaStream_t stream;
  cu::check(cudaStreamCreate(&stream), "test: stream");
  library.run(args, stream);  // kernels are loaded before a capture
  cu::check(cudaStreamSynchronize(stream), "test: stream");
  const std::vector<std::int64_t> once = out.values();
  cu::check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "test: capture");
  library.run(args, stream);
  cudaGraph_t graph;
  cudaGraphExec_t captured;
  cu::check(cudaStreamEndCapture(stream, &graph), "test: capture");
  cu::check(cudaGraphInstantiate(&captured, graph, 0), "test: graph");
  cu::check(cudaMemset(out.data(), 0, results * sizeof(std::int64_t)), "test: memory");
  cu::check(cudaGraphLaunch(captured, stream), "test: graph");
  cu::check(cudaStreamSynchronize(stream), "test: graph");
  CHECK(first_difference(out.values(), once) == none);
  cudaGraphExecDestroy(captured), cudaGraphDestroy(graph), cudaStreamDestroy(stream);
}

TEST_CASE("what cuBLASLt does not take is told") {
  const auto reason = [](const ConvShape& shape, Product product = Product::forward,
                         const cu::ConvOptions& options = {}) {
    return cu::refuse_conv_lt(shape, product, options);
  };
  CHECK(reason(linear(40, 20, 12)).empty());
  CHECK_THAT(
      reason(conv(2, 5, 5, 16, 16, 3, 3)),
      ContainsSubstring("cublaslt/matmul_s8 forward of X 2x5x5x16, W 16x3x3x16, Y 3x3, 1 groups: a matrix "
                        "product is a linear layer or a 1x1 convolution"));
  CHECK_THAT(reason(conv(2, 5, 5, 16, 16, 1, 1, 2)), ContainsSubstring("without stride, padding and groups"));
  CHECK_THAT(reason(conv(2, 5, 5, 16, 16, 1, 1, 1, 1)),
             ContainsSubstring("without stride, padding and groups"));
  CHECK_THAT(reason(conv(2, 5, 5, 16, 16, 1, 1, 1, 0, 1, 2)),
             ContainsSubstring("without stride, padding and groups"));
  CHECK_THAT(reason(linear(40, 20, 12), Product::forward, {.a_unsigned = true}),
             ContainsSubstring("this X is unsigned"));
  CHECK_THAT(reason(linear(40, 20, 12), Product::grad_weight, {.sample_classes = 24}),
             ContainsSubstring("no sums by sample class"));
  CHECK_THAT(reason(linear(40, 20, 10)), ContainsSubstring("filters are no multiple of 4"));
  CHECK(reason(linear(40, 18, 12)).empty());
  for (Product product : {Product::grad_input, Product::grad_weight})
    CHECK_THAT(reason(linear(40, 18, 12), product), ContainsSubstring("channels are no multiple of 4"));
  CHECK(reason(linear(40, 20, 10), Product::grad_weight).empty());
  CHECK_FALSE(cu::plan_conv_lt(linear(40, 20, 10), Product::forward, {}));
}

#if OCTAVO_ARCH > 0
TEST_CASE("cuBLASLt: nothing is planned when a product runs, and nothing is left behind") {
  const int handles = cublaslt_host.handles, descriptors = cublaslt_host.descriptors;
  {
    LtProduct library(linear(40, 20, 12), Product::forward, {.least_splits = 2});
    const LtProduct other(linear(1, 8, 4), Product::forward, {});
    CHECK(cublaslt_host.handles == 1);
    const int plans = cublaslt_host.plans, products = cublaslt_host.products;
    static_cast<void>(library.sums());
    CHECK(cublaslt_host.plans == plans);
    CHECK(cublaslt_host.products == products + library.plan().conv.parts());
  }
  CHECK(cublaslt_host.handles == handles);
  CHECK(cublaslt_host.descriptors == descriptors);
}

TEST_CASE("cuBLASLt: errors name function, product and what to do") {
  cublaslt_host.without_driver = true;
  CHECK_THROWS_WITH(cu::plan_conv_lt(linear(40, 20, 12), Product::forward, {}),
                    ContainsSubstring("cublaslt/matmul_s8 forward of X 1x1x40x20") &&
                        ContainsSubstring("cublasLtCreate: CUBLAS_STATUS_NOT_INITIALIZED") &&
                        ContainsSubstring("nvidia-smi"));
  cublaslt_host.without_driver = false;
  cublaslt_host.without_algorithms = true;
  CHECK_FALSE(cu::plan_conv_lt(linear(40, 20, 12), Product::forward, {}));
  cublaslt_host.without_algorithms = false;
  LtProduct library(linear(40, 20, 12), Product::forward, {});
  std::int64_t sums[1] = {};
  alignas(16) std::int8_t bytes[48] = {};
  ConvArgs args{.a = bytes, .b = bytes + 1, .scratch = bytes};
  args.integers = sums;
  CHECK_THROWS_WITH(cu::run_conv_lt(library.plan(), args, nullptr),
                    ContainsSubstring("b does not start at a multiple of 16 bytes"));
  args.b = bytes, args.scratch = bytes + 4;
  CHECK_THROWS_WITH(cu::run_conv_lt(library.plan(), args, nullptr),
                    ContainsSubstring("scratch does not start at a multiple of 16 bytes"));
}
#endif
