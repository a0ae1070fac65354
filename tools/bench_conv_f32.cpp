// GOP/s of the FP32 convolutions of a training step: bench_conv_f32 [threads].
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "conv_f32.h"
#include "core/thread_pool.h"

using namespace octavo;
using namespace octavo::kernels;

namespace {

struct Layer {
  const char* name;
  ConvShape shape;
};

ConvShape conv(std::int64_t n, std::int64_t size, std::int64_t c, std::int64_t k, std::int64_t filter,
               std::int64_t stride, std::int64_t pad, std::int64_t groups = 1) {
  const std::int64_t out = (size + 2 * pad - filter) / stride + 1;
  return {.n = n,
          .h = size,
          .w = size,
          .c = c,
          .k = k,
          .r = filter,
          .s = filter,
          .ho = out,
          .wo = out,
          .stride_h = stride,
          .stride_w = stride,
          .pad_h = pad,
          .pad_w = pad,
          .groups = groups};
}
ConvShape linear(std::int64_t rows, std::int64_t c, std::int64_t k) {
  return {.w = rows, .c = c, .k = k, .wo = rows};
}

const Layer layers[] = {
    {"ResNet-20 3->16 32x32", conv(128, 32, 3, 16, 3, 1, 1)},
    {"ResNet-20 16->16 32x32", conv(128, 32, 16, 16, 3, 1, 1)},
    {"ResNet-20 16->32 s2", conv(128, 32, 16, 32, 3, 2, 1)},
    {"ResNet-20 32->32 16x16", conv(128, 16, 32, 32, 3, 1, 1)},
    {"ResNet-20 64->64 8x8", conv(128, 8, 64, 64, 3, 1, 1)},
    {"ResNet-18 64->64 56x56", conv(16, 56, 64, 64, 3, 1, 1)},
    {"ResNet-18 256->256 14x14", conv(16, 14, 256, 256, 3, 1, 1)},
    {"depthwise 96 56x56", conv(16, 56, 96, 96, 3, 1, 1, 96)},
    {"linear 128 64->10", linear(128, 64, 10)},
    {"linear 32 4096->4096", linear(32, 4096, 4096)},
    {"linear 4 25088->4096", linear(4, 25088, 4096)},
    {"linear 700 650->2600", linear(700, 650, 2600)},
    {"linear 20 650->2600", linear(20, 650, 2600)},
};

template <class Run>
double shortest(const Run& run) {
  using Clock = std::chrono::steady_clock;
  double best = 1e9, total = 0;
  for (int i = 0; i < 3 || (total < 0.3 && i < 200); ++i) {
    const auto start = Clock::now();
    run();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = seconds < best ? seconds : best;
    total += seconds;
  }
  return best;
}

void bench(const Layer& layer, const Parallel& parallel) {
  const ConvShape& s = layer.shape;
  const auto filled = [](std::int64_t size) {
    std::vector<float> values(static_cast<std::size_t>(size));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(i * 2654435761u >> 20 & 255) / 256 - 0.5f;
    return values;
  };
  auto x = filled(s.n * s.h * s.w * s.c), w = filled(s.k * s.r * s.s * (s.c / s.groups)),
       g = filled(s.n * s.ho * s.wo * s.k);
  std::vector<float> y(g.size()), dx(x.size()), dw(w.size());
  const ConvF32Candidate& candidate = find_conv_f32(s, ConvPhase::training);
  const auto made = candidate.make(s, ConvPhase::training);
  std::int64_t scratch_bytes = 0, packed_bytes = 0;
  for (Product product : {Product::forward, Product::grad_input, Product::grad_weight}) {
    scratch_bytes = std::max(scratch_bytes, made->scratch_bytes(product, false));
    packed_bytes = std::max(packed_bytes, made->packed_bytes(product));
  }
  std::vector<char> scratch(static_cast<std::size_t>(scratch_bytes)),
      packed(static_cast<std::size_t>(packed_bytes));
  const auto show = [&](const char* name, double seconds) {
    std::printf(" %s %4.0f GOP/s %7.3f ms", name, 2e-9 * static_cast<double>(s.macs()) / seconds,
                seconds * 1e3);
  };
  std::printf("%-26s", layer.name);
  made->prepare_weights(Product::forward, w.data(), packed.data(), parallel);
  show("forward", shortest([&] {
         made->forward(x.data(), packed.data(), nullptr, y.data(), scratch.data(), parallel);
       }));
  made->prepare_weights(Product::grad_input, w.data(), packed.data(), parallel);
  show("grad_input", shortest([&] {
         made->grad_input(g.data(), packed.data(), dx.data(), false, scratch.data(), parallel);
       }));
  show("grad_weight",
       shortest([&] { made->grad_weight(x.data(), g.data(), dw.data(), false, scratch.data(), parallel); }));
  show("weights",
       shortest([&] { made->prepare_weights(Product::grad_input, w.data(), packed.data(), parallel); }));
  std::printf(" scratch %.1f MB\n", static_cast<double>(scratch_bytes) * 1e-6);
}

}  // namespace

int main(int argc, char** argv) {
  ThreadPool pool(argc > 1 ? std::atoi(argv[1]) : 2);
  const Parallel parallel = [&pool](std::int64_t chunks, const std::function<void(std::int64_t)>& body) {
    pool.run(chunks, body);
  };
  for (const Layer& layer : layers) bench(layer, parallel);
}
