// Times the integer products of training on a GPU, layer by layer, beside what the same run measured that the
// device can do: INT8 products in registers, and copies. JSON; tools/bench_gpu --kernels puts PyTorch's
// products beside it.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <vector>

#include "cuda/ceilings.h"
#include "cuda/check.h"
#include "cuda/conv_lt.h"
#include "cuda/conv_s8.h"
#include "cuda/depthwise_s8.h"
#include "cuda/pointers.h"
#include "layer_shape.h"

using namespace octavo::kernels;
using octavo::square;
namespace cu = octavo::kernels::cuda;
using Json = nlohmann::ordered_json;

namespace {

struct Layer {
  std::string name;
  ConvShape shape;
};

ConvShape linear(std::int64_t rows, std::int64_t c, std::int64_t k) {
  return {.w = rows, .c = c, .k = k, .wo = rows};
}

/// Of ResNet-50 at 224 x 224, each shape once, of MobileNetV2 those that are unlike, and large matrices.
std::vector<Layer> layers(std::int64_t n) {
  return {{"stem 7x7 s2 3-64", square(n, 224, 3, 64, 7, 2)},
          {"56 1x1 64-64", square(n, 56, 64, 64, 1)},
          {"56 3x3 64-64", square(n, 56, 64, 64, 3)},
          {"56 1x1 64-256", square(n, 56, 64, 256, 1)},
          {"56 1x1 256-64", square(n, 56, 256, 64, 1)},
          {"56 1x1 256-128", square(n, 56, 256, 128, 1)},
          {"56 3x3 s2 128-128", square(n, 56, 128, 128, 3, 2)},
          {"56 1x1 s2 256-512", square(n, 56, 256, 512, 1, 2)},
          {"28 1x1 128-512", square(n, 28, 128, 512, 1)},
          {"28 1x1 512-128", square(n, 28, 512, 128, 1)},
          {"28 3x3 128-128", square(n, 28, 128, 128, 3)},
          {"28 3x3 s2 256-256", square(n, 28, 256, 256, 3, 2)},
          {"14 1x1 256-1024", square(n, 14, 256, 1024, 1)},
          {"14 1x1 1024-256", square(n, 14, 1024, 256, 1)},
          {"14 3x3 256-256", square(n, 14, 256, 256, 3)},
          {"14 3x3 s2 512-512", square(n, 14, 512, 512, 3, 2)},
          {"7 1x1 512-2048", square(n, 7, 512, 2048, 1)},
          {"7 1x1 2048-512", square(n, 7, 2048, 512, 1)},
          {"7 3x3 512-512", square(n, 7, 512, 512, 3)},
          {"linear 2048-1000", linear(n, 2048, 1000)},
          {"112 depthwise 32", square(n, 112, 32, 32, 3, 1, 32)},
          {"56 depthwise s2 144", square(n, 56, 144, 144, 3, 2, 144)},
          {"14 depthwise 576", square(n, 14, 576, 576, 3, 1, 576)},
          {"matrix 8192x4096x4096", linear(8192, 4096, 4096)}};
}

class Memory {
 public:
  explicit Memory(std::int64_t bytes) {
    cu::check(cudaMalloc(&data_, static_cast<std::size_t>(bytes)), "bench_gpu_kernels: memory");
    cu::check(cudaMemset(data_, 0x35, static_cast<std::size_t>(bytes)), "bench_gpu_kernels: memory");
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { static_cast<void>(cudaFree(data_)); }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
};

struct Timing {
  int rounds = 7, launches = 10;
};

/// Milliseconds of one launch: the median of rounds of several.
template <class Work>
double milliseconds(const Timing& timing, const Work& work) {
  cudaEvent_t begin, end;
  cu::check(cudaEventCreate(&begin), "bench_gpu_kernels: event");
  cu::check(cudaEventCreate(&end), "bench_gpu_kernels: event");
  work();
  std::vector<float> times;
  for (int i = 0; i < timing.rounds; ++i) {
    cu::check(cudaEventRecord(begin, nullptr), "bench_gpu_kernels: event");
    for (int j = 0; j < timing.launches; ++j) work();
    cu::check(cudaEventRecord(end, nullptr), "bench_gpu_kernels: event");
    cu::check(cudaEventSynchronize(end), "bench_gpu_kernels: a kernel");
    float time = 0;
    cu::check(cudaEventElapsedTime(&time, begin, end), "bench_gpu_kernels: event");
    times.push_back(time / static_cast<float>(timing.launches));
  }
  static_cast<void>(cudaEventDestroy(begin));
  static_cast<void>(cudaEventDestroy(end));
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

struct Peaks {
  double tops = 0, bytes_per_second = 0;  // a multiply-add counts 2; a copy reads and writes
};

Peaks measure_peaks(const Timing& timing, int processors, std::int64_t copied, int rounds) {
  Peaks peaks;
  const int blocks = 4 * processors;
  const Memory out(std::int64_t{blocks} * cu::mma_threads * 4), from(copied), to(copied);
  const double ms =
      milliseconds(timing, [&] { cu::run_mma_ceiling(blocks, rounds, out.as<int>(), nullptr); });
  peaks.tops = 2e-9 * static_cast<double>(cu::mma_ceiling_macs(blocks, rounds)) / ms;
  const double copy_ms = milliseconds(timing, [&] {
    cu::check(cudaMemcpyAsync(to.as<char>(), from.as<char>(), static_cast<std::size_t>(copied),
                              cudaMemcpyDeviceToDevice, nullptr),
              "bench_gpu_kernels: copy");
  });
  peaks.bytes_per_second = 2e3 * static_cast<double>(copied) / copy_ms;
  return peaks;
}

/// One product with its operands.
class Bench {
 public:
  /// `library`: of cuBLASLt, in place of the family, where it takes the product.
  Bench(const ConvShape& shape, Product product, const cu::ConvOptions& options, cu::Family family,
        bool library)
      : product_(product), family_(family), depthwise_(shape.depthwise()) {
    if (library && (lt_ = cu::plan_conv_lt(shape, product, options))) return;
    const cu::ConvOptions chosen = cu::options_for(family, options);
    if (depthwise_)
      channels_ = cu::plan_depthwise(shape, product, chosen);
    else
      plan_ = cu::plan_conv(shape, product, chosen);
  }
  bool by_library() const { return lt_.has_value(); }
  const cu::ConvPlan& plan() const { return lt_ ? lt_->conv : depthwise_ ? channels_->conv : *plan_; }
  std::int64_t a_bytes() const { return depthwise_ ? channels_->a_bytes : plan().a_bytes(); }
  std::int64_t b_bytes() const { return depthwise_ ? channels_->b_bytes : plan().b_bytes(); }
  std::int64_t out_bytes() const {
    return plan().result_elements() * (product_ == Product::grad_weight ? 4 : 2);
  }

  double run(const Timing& timing) const {
    const Memory a(a_bytes()), b(b_bytes()), out(out_bytes()),
        scratch(std::max<std::int64_t>(scratch_bytes(), 1)), scale(4);
    const auto type = product_ == Product::grad_weight ? FloatType::f32 : FloatType::bf16;
    const ConvArgs args{.a = a.as<void>(),
                        .b = b.as<void>(),
                        .a_scale = scale.as<float>(),
                        .b_scale = scale.as<float>(),
                        .out = FloatTarget(out.as<void>(), type),
                        .scratch = scratch.as<void>()};
    return milliseconds(timing, [&] {
      if (lt_)
        cu::run_conv_lt(*lt_, args, nullptr);
      else if (depthwise_)
        cu::run_depthwise(*channels_, args, nullptr);
      else
        cu::run_conv(*plan_, args, family_, nullptr);
    });
  }

 private:
  std::int64_t scratch_bytes() const { return lt_ ? lt_->workspace_bytes() : plan().workspace_bytes(); }

  Product product_;
  cu::Family family_;
  bool depthwise_;
  std::optional<cu::ConvPlan> plan_;
  std::optional<cu::ConvLtPlan> lt_;
  std::optional<cu::DepthwisePlan> channels_;
};

Json row(const Layer& layer, Product product, const Bench& bench, double ms, const Peaks& peaks) {
  const ConvShape& s = layer.shape;
  const double operations = 2.0 * static_cast<double>(s.macs());
  const auto bytes = static_cast<double>(bench.a_bytes() + bench.b_bytes() + bench.out_bytes());
  const double roof_ms = std::max(operations / (1e9 * peaks.tops), 1e3 * bytes / peaks.bytes_per_second);
  return {{"layer", layer.name},
          {"product", product_name(product)},
          {"shape",
           {{"n", s.n},
            {"h", s.h},
            {"w", s.w},
            {"c", s.c},
            {"k", s.k},
            {"r", s.r},
            {"stride", s.stride_h},
            {"pad", s.pad_h},
            {"groups", s.groups}}},
          {"ms", ms},
          {"tops", operations / (1e9 * ms)},
          {"share_of_products", operations / (1e9 * ms) / peaks.tops},
          {"share_of_roof", roof_ms / ms},
          {"bytes", bytes}};
}

struct Arguments {
  std::int64_t batch = 256, copied = std::int64_t{1} << 30;
  int mma_rounds = 4096;
  std::string family = "mma";
  std::vector<std::string> only;
  Timing timing;
};

int run(const Arguments& arguments) {
  cudaDeviceProp properties{};
  cu::check(cudaGetDeviceProperties(&properties, 0), "bench_gpu_kernels: a GPU");
  const cu::Family family = arguments.family == "dp4a"    ? cu::Family::dp4a
                            : arguments.family == "wgmma" ? cu::Family::wgmma
                                                          : cu::Family::mma;
  const bool library = arguments.family == "cublaslt";
  if (library && !cu::has_cublaslt()) throw std::runtime_error("this build has no cuBLASLt");
  const cu::ConvOptions options{.processors = properties.multiProcessorCount};
  const Peaks peaks =
      measure_peaks(arguments.timing, properties.multiProcessorCount, arguments.copied, arguments.mma_rounds);
  Json rows = Json::array();
  for (const Layer& layer : layers(arguments.batch)) {
    const bool asked =
        std::any_of(arguments.only.begin(), arguments.only.end(),
                    [&](const std::string& part) { return layer.name.find(part) != std::string::npos; });
    if (!arguments.only.empty() && !asked) continue;
    for (const Product product : {Product::forward, Product::grad_input, Product::grad_weight}) {
      if (product == Product::grad_input && layer.shape.c == 3) continue;  // images have no gradient
      const Bench bench(layer.shape, product, options, family, library);
      if (library && !bench.by_library()) continue;
      rows.push_back(row(layer, product, bench, bench.run(arguments.timing), peaks));
    }
  }
  const Json result{{"device", properties.name},
                    {"batch", arguments.batch},
                    {"family", arguments.family},
                    {"tops", peaks.tops},
                    {"copy_gb_per_second", peaks.bytes_per_second * 1e-9},
                    {"rows", rows}};
  std::cout << result.dump(1) << '\n';
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{"INT8 products of training on a GPU, as JSON"};
  app.add_option("--batch", arguments.batch, "images (256)")->check(CLI::Range(1, 1 << 16));
  app.add_option("--family", arguments.family, "mma, dp4a, wgmma, or cublaslt for what it takes")
      ->check(CLI::IsMember({"mma", "dp4a", "wgmma", "cublaslt"}));
  app.add_option("--layer", arguments.only, "layers whose name holds this; may be repeated");
  app.add_option("--rounds", arguments.timing.rounds, "rounds (7), of which the median counts")
      ->check(CLI::Range(1, 1000));
  app.add_option("--launches", arguments.timing.launches, "launches in a round (10)")
      ->check(CLI::Range(1, 1000));
  app.add_option("--copy-bytes", arguments.copied, "of the copy that measures memory (2^30)")
      ->check(CLI::Range(4096L, 1L << 36));
  app.add_option("--mma-rounds", arguments.mma_rounds, "of the products that measure tensor cores (4096)")
      ->check(CLI::Range(1, 1 << 24));
  CLI11_PARSE(app, argc, argv);
  try {
    return run(arguments);
  } catch (const std::exception& error) {
    std::cerr << "bench_gpu_kernels: " << error.what() << '\n';
    return 5;
  }
}
