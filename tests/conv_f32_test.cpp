// FP32 convolutions against plain loops in double, with an error bound that grows with the length of the sum.
#include <cmath>
#include <cstring>
#include <random>

#include "conv_f32.h"
#include "conv_loops.h"
#include "core/thread_pool.h"
#include "support/catch.h"

using namespace octavo;
using namespace octavo::kernels;

namespace {

struct Case {
  const char* name;
  ConvShape shape;
};

std::int64_t out_size(std::int64_t in, std::int64_t pad, std::int64_t filter, std::int64_t dilation,
                      std::int64_t stride) {
  return (in + 2 * pad - (filter - 1) * dilation - 1) / stride + 1;
}

ConvShape conv(std::int64_t n, std::int64_t size, std::int64_t c, std::int64_t k, std::int64_t filter,
               std::int64_t stride = 1, std::int64_t pad = 0, std::int64_t groups = 1,
               std::int64_t dilation = 1) {
  const std::int64_t w = size + 2, h = size;
  return {.n = n,
          .h = h,
          .w = w,
          .c = c,
          .k = k,
          .r = filter,
          .s = filter,
          .ho = out_size(h, pad, filter, dilation, stride),
          .wo = out_size(w, pad, filter, dilation, stride),
          .stride_h = stride,
          .stride_w = stride,
          .pad_h = pad,
          .pad_w = pad,
          .dilation_h = dilation,
          .dilation_w = dilation,
          .groups = groups};
}

ConvShape linear(std::int64_t rows, std::int64_t c, std::int64_t k) {
  return {.w = rows, .c = c, .k = k, .wo = rows};
}

const std::vector<Case> cases = {
    {"stem", conv(9, 9, 3, 16, 3, 1, 1)},
    {"3x3", conv(3, 8, 16, 16, 3, 1, 1)},
    {"3x3 stride 2", conv(10, 9, 16, 32, 3, 2, 1)},
    {"1x1 stride 2", conv(2, 8, 32, 24, 1, 2)},
    {"odd channels", conv(8, 5, 10, 17, 3, 1, 1)},
    {"dilation", conv(2, 11, 8, 8, 3, 1, 2, 1, 2)},
    {"groups", conv(3, 7, 12, 24, 3, 1, 1, 4)},
    {"depthwise", conv(9, 7, 32, 32, 3, 1, 1, 32)},
    {"depthwise stride 2", conv(2, 9, 19, 19, 3, 2, 1, 19)},
    {"7x7 stem", conv(2, 23, 3, 8, 7, 2, 3)},
    {"row of one", conv(1, 6, 16, 8, 5, 1, 2)},
    {"linear", linear(37, 50, 10)},
    {"linear, one row", linear(1, 64, 1000)},
    {"linear, wide", linear(20, 300, 515)},
};

Parallel parallel_of(ThreadPool& pool) {
  return
      [&pool](std::int64_t chunks, const std::function<void(std::int64_t)>& body) { pool.run(chunks, body); };
}

struct Tensors {
  explicit Tensors(const ConvShape& s)
      : x(make(s.n * s.h * s.w * s.c, 1)),
        w(make(s.k * s.r * s.s * (s.c / s.groups), 2)),
        g(make(s.n * s.ho * s.wo * s.k, 3)),
        bias(make(s.k, 4)) {}
  static std::vector<float> make(std::int64_t size, unsigned seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    std::vector<float> values(static_cast<std::size_t>(size));
    for (float& v : values) v = uniform(random);
    return values;
  }
  std::vector<float> x, w, g, bias;
};

struct Results {
  std::vector<float> y, y_bias, dx, dw;
};

Results run(const ConvF32Candidate& candidate, const ConvShape& s, const Tensors& t, int threads,
            bool accumulate) {
  ThreadPool pool(threads);
  const Parallel parallel = parallel_of(pool);
  const auto made = candidate.make(s, ConvPhase::training);
  const auto packed = [&](Product product) {
    std::vector<char> bytes(static_cast<std::size_t>(made->packed_bytes(product)));
    made->prepare_weights(product, t.w.data(), bytes.data(), parallel);
    return bytes;
  };
  const auto scratch = [&](Product product) {
    return std::vector<char>(static_cast<std::size_t>(made->scratch_bytes(product, accumulate)), 0x7F);
  };
  Results out{std::vector<float>(t.g.size(), 5.0f), std::vector<float>(t.g.size(), 5.0f),
              std::vector<float>(t.x.size(), 1.0f), std::vector<float>(t.w.size(), 1.0f)};
  const auto forward = packed(Product::forward), backward = packed(Product::grad_input);
  made->forward(t.x.data(), forward.data(), nullptr, out.y.data(), scratch(Product::forward).data(),
                parallel);
  made->forward(t.x.data(), forward.data(), t.bias.data(), out.y_bias.data(),
                scratch(Product::forward).data(), parallel);
  made->grad_input(t.g.data(), backward.data(), out.dx.data(), accumulate,
                   scratch(Product::grad_input).data(), parallel);
  made->grad_weight(t.x.data(), t.g.data(), out.dw.data(), accumulate, scratch(Product::grad_weight).data(),
                    parallel);
  return out;
}

/// Products have random signs and a standard deviation of 1/3: partial sums are of the size sqrt(terms) / 3 +
/// 1, and `terms` roundings add like a random walk. Four times that.
void check_close(const std::vector<float>& values, const std::vector<double>& exact, std::int64_t terms) {
  const double root = std::sqrt(static_cast<double>(terms)), bound = 4 * 0x1p-24 * root * (root / 3 + 1);
  double worst = 0;
  for (std::size_t i = 0; i < values.size(); ++i) worst = std::fmax(worst, std::fabs(values[i] - exact[i]));
  CHECK(worst <= bound);
}

std::vector<double> doubles(const std::vector<float>& v) { return {v.begin(), v.end()}; }

}  // namespace

TEST_CASE("FP32 convolutions agree with loops in double") {
  for (const auto& [name, s] : cases) {
    const Tensors t(s);
    const auto x = doubles(t.x), w = doubles(t.w), g = doubles(t.g), bias = doubles(t.bias);
    for (bool accumulate : {false, true}) {
      std::vector<double> y(g.size()), y_bias(g.size()), dx(x.size(), accumulate), dw(w.size(), accumulate);
      for (std::int64_t m = 0; m < s.n; ++m) {
        conv_forward_loops<double>(s, m, x.data(), w.data(), nullptr, y.data());
        conv_forward_loops<double>(s, m, x.data(), w.data(), bias.data(), y_bias.data());
        conv_grad_input_loops<double>(s, m, g.data(), w.data(), dx.data());
      }
      for (std::int64_t k = 0; k < s.k; ++k)
        conv_grad_weight_loops<double>(s, k, x.data(), g.data(), dw.data());
      for (const ConvF32Candidate& candidate : conv_f32_candidates()) {
        if (!candidate.refuse(s, ConvPhase::training).empty()) continue;
        INFO(candidate.name << ' ' << name << (accumulate ? " accumulate" : ""));
        const Results out = run(candidate, s, t, 2, accumulate);
        check_close(out.y, y, s.r * s.s * s.c / s.groups);
        check_close(out.y_bias, y_bias, s.r * s.s * s.c / s.groups);
        check_close(out.dx, dx, s.r * s.s * s.k / s.groups);
        check_close(out.dw, dw, s.n * s.ho * s.wo);
      }
    }
  }
}

TEST_CASE("FP32 convolutions do not depend on the number of threads") {
  for (const auto& [name, s] : cases) {
    const Tensors t(s);
    for (const ConvF32Candidate& candidate : conv_f32_candidates()) {
      if (!candidate.refuse(s, ConvPhase::training).empty()) continue;
      INFO(candidate.name << ' ' << name);
      const Results one = run(candidate, s, t, 1, true);
      for (int threads : {2, 3}) {
        const Results out = run(candidate, s, t, threads, true);
        CHECK(out.y == one.y);
        CHECK(out.y_bias == one.y_bias);
        CHECK(out.dx == one.dx);
        CHECK(out.dw == one.dw);
      }
    }
  }
}

TEST_CASE("an evaluated image or row does not depend on its batch") {
  for (const auto& [name, s] : cases) {
    const Tensors t(s);
    ConvShape alone = s;
    const bool rows = s.n == 1 && s.h == 1;
    (rows ? alone.w : alone.n) = 1;
    if (rows) alone.wo = 1;
    const std::size_t images = static_cast<std::size_t>(rows ? s.w : s.n);
    ThreadPool pool(2);
    const Parallel parallel = parallel_of(pool);
    const auto forward = [&](const ConvShape& shape, const float* x, float* y) {
      const auto made = find_conv_f32(shape, ConvPhase::evaluation).make(shape, ConvPhase::evaluation);
      std::vector<char> packed(static_cast<std::size_t>(made->packed_bytes(Product::forward)));
      std::vector<char> scratch(static_cast<std::size_t>(made->scratch_bytes(Product::forward, false)));
      made->prepare_weights(Product::forward, t.w.data(), packed.data(), parallel);
      made->forward(x, packed.data(), t.bias.data(), y, scratch.data(), parallel);
    };
    std::vector<float> together(t.g.size()), single(t.g.size());
    forward(s, t.x.data(), together.data());
    for (std::size_t m = 0; m < images; ++m)
      forward(alone, t.x.data() + t.x.size() / images * m, single.data() + t.g.size() / images * m);
    INFO(name);
    CHECK(together == single);
  }
}
