// Plans of cuDNN for an H200 that is described to it, without a device: descriptors, heuristics and engines
// are the library's own. What the plans compute, only a device can show.
#include "cuda/cudnn_conv.h"
#include "cuda/cudnn_matmul.h"
#include "support/catch.h"
#include "support/conv_shapes.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;
namespace cu = octavo::kernels::cuda;

namespace {

constexpr const char* h200 = R"({
  "deviceName": "NVIDIA H200", "cudaDeviceId": 0, "deviceVer": 900, "multiProcessorCount": 132, "driverVer": 13000,
  "totalGlobalMem": 150000000000, "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
  "regsPerBlock": 65536, "warpSize": 32, "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448,
  "reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024,
  "maxThreadsPerSM": 2048, "pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1, "smClockRateKHz": 1980000,
  "memClockRateKHz": 3201000, "l2CacheSize": 62914560})";

/// Layers of ResNet-50, of MobileNetV2, with groups, with sizes that are no multiples of anything.
std::vector<ConvShape> layers() {
  return {conv(64, 56, 56, 64, 64, 3, 3, 1, 1),        conv(64, 224, 224, 3, 64, 7, 7, 2, 3),
          conv(64, 28, 28, 128, 256, 3, 3, 2, 1),      conv(64, 28, 28, 256, 512, 1, 1, 2),
          conv(64, 28, 28, 32, 32, 3, 3, 1, 1, 1, 32), conv(64, 28, 28, 64, 64, 3, 3, 1, 1, 1, 4),
          conv(5, 9, 9, 6, 10, 3, 3, 2, 1, 1, 2)};
}

}  // namespace

TEST_CASE("cuDNN has engines for the float products of every layer") {
  for (const ConvShape& shape : layers())
    for (Product product : {Product::forward, Product::grad_input, Product::grad_weight})
      for (cu::LibraryMath math : {cu::LibraryMath::fp32, cu::LibraryMath::tf32, cu::LibraryMath::bf16}) {
        INFO(product_name(product) << " " << describe(shape) << " " << static_cast<int>(math));
        const auto plan = cu::CudnnConv::plan({shape, product, math}, "test: ", h200);
        REQUIRE(plan != nullptr);
        CHECK(plan->workspace_bytes() <= std::int64_t{1} << 30);
        CHECK_THROWS_WITH(plan->run({}, nullptr), ContainsSubstring("a described device does not run"));
      }
}

TEST_CASE("cuDNN has INT8 convolutions forward alone") {
  const ConvShape shape = conv(64, 28, 28, 128, 256, 3, 3, 1, 1);
  const auto plan = [&](Product product) {
    return cu::CudnnConv::plan({shape, product, cu::LibraryMath::s8}, "test: ", h200);
  };
  CHECK(plan(Product::forward) != nullptr);
  CHECK(plan(Product::grad_input) == nullptr);
  CHECK(plan(Product::grad_weight) == nullptr);
}

TEST_CASE("cuDNN takes the fused INT8 matrix product, and compiles it where there is a driver") {
  const auto why_not = [](const cu::CudnnMatmulProblem& problem) {
    std::string why;
    return cu::CudnnMatmul::plan(problem, "test: ", why, h200) != nullptr ? "" : why;
  };
  // Without a driver engines are offered and none can be compiled, or without libcuda none is offered.
  const auto compiled_or_told = [](const std::string& why) {
    return why.empty() || why.find("cuDNN cannot compile it") == 0 || why == "cuDNN has no engine for it";
  };
  const cu::CudnnMatmulProblem linear{.rows = 1024, .columns = 512, .contraction = 256, .row_bytes = 256};
  CHECK(compiled_or_told(why_not(linear)));
  for (const bool a_vector : {false, true})
    for (const FloatType type : {FloatType::f32, FloatType::bf16})
      for (const std::int64_t batch : {1, 32}) {
        cu::CudnnMatmulProblem scaled = linear;
        scaled.batch = batch, scaled.scales = cu::CudnnScales{a_vector, true, type};
        CHECK(compiled_or_told(why_not(scaled)));
      }
}

TEST_CASE("a description of a device that cuDNN does not understand is told") {
  CHECK_THROWS_WITH(
      cu::CudnnConv::plan({layers()[0], Product::forward, cu::LibraryMath::fp32}, "test: ", "{}"),
      ContainsSubstring("test: a device of cuDNN: CUDNN_STATUS_BAD_PARAM"));
}
