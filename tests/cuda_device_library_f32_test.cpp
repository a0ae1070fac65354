// Float products by NVIDIA's libraries on a device against sums in double, with NaN around results and
// workspace. Without a library they are left out, which a warning says; on the host stand-ins check every
// descriptor.
#include "cuda/cudnn_conv.h"
#include "cuda/library_f32.h"
#include "support/catch.h"
#include "support/f32_products.h"
#if OCTAVO_ARCH > 0
#include <cudnn_graph.h>
#endif

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

constexpr std::array maths = {cu::LibraryMath::fp32, cu::LibraryMath::tf32, cu::LibraryMath::bf16};

/// Of a product whose operands have 24, 11 or 8 bits, cut or rounded.
double input_error(cu::LibraryMath math) {
  return math == cu::LibraryMath::fp32 ? 0 : math == cu::LibraryMath::tf32 ? 0x1p-9 : 0x1p-7;
}

bool left_out() {
  if (!cu::has_cublaslt()) WARN("cuBLASLt is left out of every test: this build does not have it");
  return !cu::has_cublaslt();
}

bool no_cudnn() {
  if (!cu::has_cudnn()) WARN("cuDNN is left out of every test: this build does not have it");
  return !cu::has_cudnn();
}

/// Operands of a product on the device, and runs of it.
class LibraryProduct {
 public:
  LibraryProduct(const F32Case& c, cu::LibraryMath math)
      : expected(c),
        planned(cu::plan_library_f32(c.shape, c.product, math, c.bias)),
        a_(expected.a),
        b_(expected.b),
        bias_(expected.bias),
        out_(c.accumulate ? expected.start : std::vector<float>(expected.start.size(), poison)),
        scratch_(planned ? planned->workspace_bytes() / 4 : 0),
        args{.a = a_.data(),
             .b = b_.data(),
             .bias = c.bias ? bias_.data() : nullptr,
             .out = out_.data(),
             .accumulate = c.accumulate,
             .scratch = scratch_.data()} {
    REQUIRE(planned != nullptr);
  }
  std::vector<float> run(cudaStream_t stream = nullptr) {
    planned->run(args, stream);
    return results();
  }
  std::vector<float> results() const {
    cu::check(cudaDeviceSynchronize(), "test: library_f32");
    static_cast<void>(scratch_.values());
    return out_.values();
  }

  const F32Results expected;
  const std::shared_ptr<const cu::LibraryF32> planned;

 private:
  DeviceArray<float> a_, b_, bias_;
  Guarded out_, scratch_;

 public:
  cu::ConvF32Args args;
};

void check(const F32Case& c, cu::LibraryMath math) {
  INFO(cu::math_name(math) << " " << product_name(c.product) << " " << describe(c.shape)
                           << (c.integers ? ", integers" : "") << (c.bias ? ", bias" : "")
                           << (c.accumulate ? ", accumulate" : ""));
  LibraryProduct once(c, math), again(c, math);
  const std::vector<float> found = once.run(), repeated = again.run();
  CHECK(once.expected.compare(found, c.integers, input_error(math)) == none);
  CHECK(std::memcmp(found.data(), repeated.data(), found.size() * sizeof(float)) == 0);
}

void check_all(const std::vector<ConvShape>& shapes, const std::vector<cu::LibraryMath>& of) {
  for (const ConvShape& shape : shapes)
    for (Product product : all_products)
      for (cu::LibraryMath math : of)
        for (unsigned bits = 0; bits < 8; ++bits) {
          const bool bias = (bits & 1) != 0;
          if (bias && product != Product::forward) continue;
          check({.shape = shape,
                 .product = product,
                 .integers = (bits & 2) != 0,
                 .bias = bias,
                 .accumulate = (bits & 4) != 0},
                math);
        }
}

}  // namespace

TEST_CASE("float matrix products by cuBLASLt") {
  if (left_out()) return;
  check_all({linear(40, 20, 12), linear(1, 7, 3), linear(33, 65, 10), conv(3, 4, 5, 9, 17, 1, 1)},
            {maths.begin(), maths.end()});
}

TEST_CASE("float convolutions by cuDNN") {
  if (no_cudnn()) return;
  check_all({conv(2, 7, 8, 6, 10, 3, 3, 1, 1), conv(2, 9, 9, 3, 8, 7, 7, 2, 3), conv(3, 9, 7, 4, 6, 1, 1, 2),
             conv(2, 9, 8, 6, 4, 3, 2, 2, 1, 2, 2), conv(2, 6, 6, 5, 5, 3, 3, 1, 1, 1, 5)},
            {cu::LibraryMath::fp32, cu::LibraryMath::tf32});
}

TEST_CASE("cuDNN multiplies in what it was asked for, and the plan says so") {
  if (no_cudnn()) return;
  const F32Case c{.shape = conv(2, 7, 8, 60, 10, 3, 3, 1, 1), .product = Product::grad_input};
  LibraryProduct exact(c, cu::LibraryMath::fp32), rounded(c, cu::LibraryMath::tf32);
  CHECK(exact.planned->kernel() == "cudnn/conv_fp32");
  CHECK(rounded.planned->kernel() == "cudnn/conv_tf32");
  CHECK(exact.expected.compare(exact.run(), false) == none);
  CHECK(exact.expected.compare(rounded.run(), false) != none);
  // Sizes that no padding gives on both sides.
  ConvShape uneven_padding = c.shape;
  uneven_padding.ho -= 1;
  CHECK(cu::plan_library_f32(uneven_padding, c.product, cu::LibraryMath::fp32, false) == nullptr);
}

// Operands and results are rounded to bfloat16, each once: 2^-8 of the magnitudes, and 2^-9 of the result.
TEST_CASE("bfloat16 convolutions by cuDNN") {
  if (no_cudnn()) return;
  for (const ConvShape& shape :
       {conv(2, 7, 8, 6, 10, 3, 3, 1, 1), conv(2, 9, 9, 3, 8, 7, 7, 2, 3), conv(3, 9, 7, 4, 6, 1, 1, 2),
        conv(2, 9, 8, 6, 4, 3, 2, 2, 1, 2, 2), conv(2, 6, 6, 5, 5, 3, 3, 1, 1, 1, 5)})
    for (Product product : all_products)
      for (unsigned bits = 0; bits < 4; ++bits) {
        const bool bias = (bits & 1) != 0;
        if (bias && product != Product::forward) continue;
        check({.shape = shape, .product = product, .bias = bias, .accumulate = (bits & 2) != 0},
              cu::LibraryMath::bf16);
      }
  // Integers are exact until the result is rounded.
  const F32Case c{.shape = conv(1, 4, 5, 600, 10, 3, 3, 1, 1), .product = Product::forward, .integers = true};
  LibraryProduct exact(c, cu::LibraryMath::fp32), rounded(c, cu::LibraryMath::bf16);
  CHECK(rounded.planned->kernel() == "cudnn/conv_bf16");
  std::vector<float> sums = exact.run();
  const std::vector<float> unrounded = sums;
  for (float& sum : sums) sum = to_float(to_bf16(sum));
  CHECK((rounded.run() == sums));
  CHECK((sums != unrounded));
}

TEST_CASE("a library multiplies in what it was asked for, and the plan says so") {
  if (left_out()) return;
  const F32Case c{.shape = linear(40, 200, 12), .product = Product::forward};
  std::vector<std::vector<float>> results;
  for (cu::LibraryMath math : maths) {
    LibraryProduct product(c, math);
    CHECK(product.planned->kernel() == std::string("cublaslt/matmul_") + cu::math_name(math));
    CHECK(cu::float_math(cu::math_name(math)) == math);
    results.push_back(product.run());
  }
  const F32Results expected(c);
  CHECK(expected.compare(results[0], false) == none);
  CHECK(expected.compare(results[1], false) != none);
  CHECK(expected.compare(results[2], false, 0x1p-12) != none);
  CHECK_THROWS_WITH(cu::float_math("fp16"), ContainsSubstring("fp16; choose fp32, tf32 or bf16"));
}

TEST_CASE("a captured float product of a library runs again") {
  if (left_out() || no_cudnn()) return;
  const ConvShape shape = GENERATE(linear(40, 20, 12), conv(2, 5, 5, 8, 8, 3, 3, 1, 1));
  const cu::LibraryMath math = GENERATE(cu::LibraryMath::fp32, cu::LibraryMath::bf16);
  LibraryProduct product(
      {.shape = shape, .product = Product::grad_weight, .integers = true, .accumulate = true}, math);
  cudaStream_t stream;
  cu::check(cudaStreamCreate(&stream), "test: stream");
  const std::vector<float> once = product.run(stream);  // kernels are loaded before a capture
  cu::check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "test: capture");
  product.planned->run(product.args, stream);
  cudaGraph_t graph;
  cudaGraphExec_t captured;
  cu::check(cudaStreamEndCapture(stream, &graph), "test: capture");
  cu::check(cudaGraphInstantiate(&captured, graph, 0), "test: graph");
  cu::check(cudaGraphLaunch(captured, stream), "test: graph");
  const std::vector<float> twice = product.results();
  std::size_t differ = 0;
  for (std::size_t i = 0; i < once.size(); ++i)
    differ += static_cast<std::size_t>(twice[i] - once[i] != once[i] - product.expected.start[i]);
  CHECK(differ == 0);
  cudaGraphExecDestroy(captured), cudaGraphDestroy(graph), cudaStreamDestroy(stream);
}

TEST_CASE("arguments of a library's float product that are refused") {
  if (left_out()) return;
  const auto planned = cu::plan_library_f32(linear(4, 8, 8), Product::forward, cu::LibraryMath::tf32, false);
  REQUIRE(planned != nullptr);
  alignas(16) float value[4] = {};
  const cu::ConvF32Args good{.a = value, .b = value, .out = value, .scratch = value};
  const auto refused = [&](const cu::ConvF32Args& args, const char* text) {
    CHECK_THROWS_WITH(
        planned->run(args, nullptr),
        ContainsSubstring("cublaslt/matmul_tf32 forward of X 1x1x4x8") && ContainsSubstring(text));
  };
  cu::ConvF32Args args = good;
  args.a = nullptr, refused(args, "a is null");
  args = good, args.b = value + 1, refused(args, "b does not start at a multiple of 16 bytes");
  args = good, args.out = value + 2, refused(args, "out does not start at a multiple of 16 bytes");
  args = good, args.bias = value, refused(args, "with or without a bias");
}

#if OCTAVO_ARCH > 0
TEST_CASE("cuDNN: nothing is planned when a product runs, nothing is left behind, and errors are told") {
  const std::size_t descriptors = cudnn_host.descriptors.size();
  const ConvShape shape = conv(2, 5, 5, 8, 8, 3, 3, 1, 1);
  {
    LibraryProduct one({.shape = shape, .product = Product::forward}, cu::LibraryMath::fp32),
        two({.shape = shape, .product = Product::grad_weight}, cu::LibraryMath::tf32);
    CHECK(cudnn_host.handles == 1);
    const int plans = cudnn_host.plans, products = cudnn_host.products;
    static_cast<void>(one.run()), static_cast<void>(two.run());
    CHECK(cudnn_host.plans == plans);
    CHECK(cudnn_host.products == products + 2);
    cu::ConvF32Args args = one.args;
    args.scratch = nullptr;
    CHECK_THROWS_WITH(
        one.planned->run(args, nullptr),
        ContainsSubstring("cudnn/conv_fp32 forward of X 2x5x5x8") && ContainsSubstring("scratch is null"));
    args = two.args, args.bias = args.a;
    CHECK_THROWS_WITH(two.planned->run(args, nullptr), ContainsSubstring("a bias is for forward"));
  }
  CHECK(cudnn_host.handles == 0);
  CHECK(cudnn_host.descriptors.size() == descriptors);
  const auto plan = [&] {
    return cu::plan_library_f32(shape, Product::forward, cu::LibraryMath::fp32, false);
  };
  cudnn_host.without_engines = true;
  CHECK(plan() == nullptr);
  cudnn_host.without_engines = false;
  cudnn_host.without_driver = true;
  CHECK_THROWS_WITH(plan(), ContainsSubstring("cudnn/conv_fp32 forward of X 2x5x5x8") &&
                                ContainsSubstring("cudnnCreate: CUDNN_STATUS_NOT_INITIALIZED") &&
                                ContainsSubstring("nvidia-smi"));
  cudnn_host.without_driver = false;
}
#endif
