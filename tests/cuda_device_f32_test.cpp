// The FP32 products on a device against sums in double, with NaN around results and sums of parts.
#include "support/f32_products.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

constexpr std::array all_kernels = {cu::F32Kernel::wide, cu::F32Kernel::narrow, cu::F32Kernel::small,
                                    cu::F32Kernel::direct};
std::string describe(const F32Case& c) {
  std::ostringstream text;
  text << product_name(c.product) << " " << test::describe(c.shape) << ", "
       << cu::plan_conv_f32(c.shape, c.product, c.options).splits() << " parts"
       << (c.integers ? ", integers" : "") << (c.bias ? ", bias" : "")
       << (c.accumulate ? ", accumulate" : "");
  return text.str();
}

/// The device's pointers of a case.
class Operands {
 public:
  Operands(const F32Case& c, const cu::ConvF32Plan& plan, const F32Results& expected)
      : a_(expected.a),
        b_(expected.b),
        bias_(expected.bias),
        out_(c.accumulate ? expected.start : std::vector<float>(expected.start.size(), poison)),
        scratch_(plan.workspace_bytes() / 4),
        args{.a = a_.data(),
             .b = b_.data(),
             .bias = c.bias ? bias_.data() : nullptr,
             .out = out_.data(),
             .accumulate = c.accumulate,
             .scratch = plan.workspace_bytes() > 0 ? scratch_.data() : nullptr} {}
  std::vector<float> results() const {
    static_cast<void>(scratch_.values());
    return out_.values();
  }

 private:
  DeviceArray<float> a_, b_, bias_;
  Guarded out_, scratch_;

 public:
  cu::ConvF32Args args;
};

void check(const F32Case& c) {
  INFO(describe(c));
  const cu::ConvF32Plan plan = cu::plan_conv_f32(c.shape, c.product, c.options);
  const F32Results expected(c);
  std::vector<float> first;
  for (int run = 0; run < 2; ++run) {
    Operands operands(c, plan, expected);
    cu::run_conv_f32(plan, operands.args, nullptr);
    cu::check(cudaDeviceSynchronize(), "test: conv_f32");
    const std::vector<float> found = operands.results();
    CHECK(expected.compare(found, c.integers) == none);
    if (run == 0) first = found;
    CHECK(std::memcmp(first.data(), found.data(), found.size() * sizeof(float)) == 0);
  }
}

ConvShape draw_small(std::mt19937& generator) {
  const auto draw = [&](std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(generator);
  };
  const std::int64_t kind = draw(0, 7);
  if (kind == 0) return linear(draw(1, 40), draw(1, 70), draw(1, 70));
  for (;;) {
    const std::int64_t groups = kind == 1 ? draw(2, 12) : kind == 2 ? draw(2, 5) : 1;
    const std::int64_t c = kind == 1 ? groups : groups * draw(1, 70 / groups);
    ConvShape s = conv(draw(1, 5), draw(1, 13), draw(1, 13), c, kind == 1 ? c : groups * draw(1, 70 / groups),
                       draw(1, 5), draw(1, 5));
    s.groups = groups;
    s.stride_h = draw(1, 3), s.stride_w = draw(1, 3), s.pad_h = draw(0, 3), s.pad_w = draw(0, 3);
    s.dilation_h = draw(1, 3), s.dilation_w = draw(1, 3);
    const std::int64_t rest_h = s.h + 2 * s.pad_h - (s.r - 1) * s.dilation_h - 1;
    const std::int64_t rest_w = s.w + 2 * s.pad_w - (s.s - 1) * s.dilation_w - 1;
    if (rest_h < 0 || rest_w < 0) continue;
    s.ho = rest_h / s.stride_h + 1, s.wo = rest_w / s.stride_w + 1;
    if (s.macs() < 200'000) return s;
  }
}

}  // namespace

TEST_CASE("FP32 products of drawn convolutions and linear layers") {
  std::mt19937 generator(7);
  const auto draw = [&](int below) { return static_cast<int>(generator() % static_cast<unsigned>(below)); };
  for (int i = 0; i < 150; ++i) {
    const ConvShape shape = draw_small(generator);
    for (Product product : all_products) {
      F32Case c{.shape = shape, .product = product};
      c.options.processors = draw(2) == 0 ? 1 : 132;
      c.options.least_splits = draw(3) == 0 ? 1 + draw(9) : 1;
      if (draw(3) == 0) c.options.kernel = all_kernels[static_cast<std::size_t>(draw(4))];
      c.integers = draw(2) == 0, c.accumulate = draw(3) == 0;
      c.bias = product == Product::forward && draw(2) == 0;
      check(c);
    }
  }
}

TEST_CASE("FP32 products of several tiles, in every tile and cut") {
  ConvShape groups = conv(2, 9, 10, 140, 136, 2, 3, 2, 1, 1, 2);
  for (const ConvShape& shape : {conv(2, 9, 8, 19, 133, 3, 3, 1, 1), groups, linear(131, 33, 130)})
    for (Product product : all_products)
      for (cu::F32Kernel kernel : all_kernels)
        for (int splits : {1, 3}) {
          F32Case c{.shape = shape, .product = product};
          c.options = {.processors = 1, .kernel = kernel, .least_splits = splits};
          c.integers = splits == 3;
          check(c);
        }
}

TEST_CASE("FP32 products of the layers that policies keep in float", OCTAVO_LARGE) {
  for (const ConvShape& shape : {conv(2, 224, 224, 3, 64, 7, 7, 2, 3), linear(64, 2048, 1000)})
    for (Product product : all_products) {
      check({.shape = shape, .product = product});
      check({.shape = shape, .product = product, .integers = true, .accumulate = true});
    }
}

TEST_CASE("in evaluation an image's FP32 results do not depend on its batch") {
  for (ConvShape shape : {conv(7, 10, 9, 33, 40, 3, 3, 1, 1), linear(140, 600, 30)}) {
    const F32Case all{.shape = shape, .product = Product::forward};
    const F32Results expected(all);
    const bool rows = shape.n == 1;
    const std::int64_t batch = rows ? shape.w : shape.n;
    (rows ? shape.w : shape.n) = 1;
    if (rows) shape.wo = 1;
    const auto run = [&](const ConvShape& of, const std::vector<float>& x, cu::F32Kernel kernel,
                         int processors) {
      const cu::ConvF32Plan plan = cu::plan_conv_f32(
          of, Product::forward, {.phase = ConvPhase::evaluation, .processors = processors, .kernel = kernel});
      DeviceArray<float> on_x(x), on_w(expected.b);
      Guarded y(y_elements(of));
      cu::run_conv_f32(plan, {.a = on_x.data(), .b = on_w.data(), .out = y.data()}, nullptr);
      cu::check(cudaDeviceSynchronize(), "test: conv_f32");
      return y.values();
    };
    const std::vector<float> together = run(all.shape, expected.a, cu::F32Kernel::wide, 1);
    CHECK(expected.compare(together, false) == none);
    const auto size = static_cast<std::ptrdiff_t>(x_elements(shape));
    for (std::int64_t image : {std::int64_t{0}, batch / 2, batch - 1}) {
      const auto first = expected.a.begin() + image * size;
      const std::vector<float> alone = run(shape, {first, first + size}, cu::F32Kernel::small, 132);
      CHECK(std::memcmp(alone.data(), together.data() + image * std::ssize(alone),
                        alone.size() * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("a captured FP32 product runs again on other values") {
  F32Case c{.shape = conv(3, 9, 9, 5, 11, 3, 3), .product = Product::grad_weight, .integers = true};
  c.options.least_splits = 4;
  const cu::ConvF32Plan plan = cu::plan_conv_f32(c.shape, c.product, c.options);
  const F32Results expected(c);
  Operands operands(c, plan, expected);
  cudaStream_t stream;
  cu::check(cudaStreamCreate(&stream), "test: stream");
  cu::check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "test: capture");
  cu::run_conv_f32(plan, operands.args, stream);
  cudaGraph_t graph;
  cudaGraphExec_t captured;
  cu::check(cudaStreamEndCapture(stream, &graph), "test: capture");
  cu::check(cudaGraphInstantiate(&captured, graph, 0), "test: graph");
  cu::check(cudaGraphLaunch(captured, stream), "test: graph");
  cu::check(cudaStreamSynchronize(stream), "test: graph");
  const std::vector<float> once = operands.results();
  CHECK(expected.compare(once, true) == none);
  std::vector<float> twofold = expected.a;
  for (float& v : twofold) v *= 2;
  cu::check(cudaMemcpy(const_cast<float*>(operands.args.a), twofold.data(), twofold.size() * sizeof(float),
                       cudaMemcpyHostToDevice),
            "test: upload");
  cu::check(cudaGraphLaunch(captured, stream), "test: graph");
  cu::check(cudaStreamSynchronize(stream), "test: graph");
  const std::vector<float> again = operands.results();
  std::size_t differ = 0;
  for (std::size_t i = 0; i < once.size(); ++i) differ += static_cast<std::size_t>(again[i] != 2 * once[i]);
  CHECK(differ == 0);
  cudaGraphExecDestroy(captured), cudaGraphDestroy(graph), cudaStreamDestroy(stream);
}

TEST_CASE("steps of an FP32 contraction reach the places that divisions give") {
  for (int inner : {1, 2, 3, 5, 7, 16, 17, 40})
    for (int middle : {1, 2, 3, 7, 19}) {
      const cu::Axis h{.in = 9, .out = 9, .taps = 3}, w{.in = 9, .out = 9, .taps = middle};
      const cu::ConvF32Gemm g{.h = h, .w = w, .inner = inner};
      const auto c = cu::f32_class<Product::forward>(g, 0);
      CHECK(c.steps() == (inner * middle * 3 + cu::f32_step - 1) / cu::f32_step);
      for (std::uint32_t first = 0; first < cu::f32_step; ++first) {
        cu::F32Place at = cu::f32_place(c, first), next = at;
        std::size_t wrong = 0;
        for (std::uint32_t index = first; index < 200; index += cu::f32_step, cu::advance(c, at)) {
          wrong += static_cast<std::size_t>(at != cu::f32_place(c, index) || at != next);
          for (int i = 0; i < cu::f32_step; ++i) cu::to_next(c, next);
        }
        CHECK(wrong == 0);
      }
    }
}

TEST_CASE("how FP32 products are cut") {
  const ConvShape first = conv(256, 224, 224, 3, 64, 7, 7, 2, 3);
  CHECK(cu::plan_conv_f32(first, Product::forward).workspace_bytes() == 0);
  const cu::ConvF32Plan weight = cu::plan_conv_f32(first, Product::grad_weight);
  CHECK(weight.splits() == 196);  // 2^14 products each
  CHECK(weight.workspace_bytes() == std::int64_t{196} * 64 * 147 * 4);
  const cu::ConvF32Plan last = cu::plan_conv_f32(linear(128, 2048, 1000), Product::forward);
  CHECK(last.kernel == cu::F32Kernel::small);
  CHECK(last.splits() == 8);  // of 32 tiles
  CHECK(cu::plan_conv_f32(linear(128, 2048, 1000), Product::forward, {.processors = 4}).splits() == 1);
  const ConvShape depthwise = conv(256, 112, 112, 32, 32, 3, 3, 1, 1, 1, 32);
  for (Product product : all_products)
    CHECK(cu::plan_conv_f32(depthwise, product).kernel == cu::F32Kernel::direct);
  CHECK(cu::plan_conv_f32(depthwise, Product::grad_weight).splits() == 527);  // of two blocks
  CHECK(cu::plan_conv_f32(linear(128, 2048, 1000), Product::forward, {.phase = ConvPhase::evaluation})
            .splits() == 1);
  CHECK(cu::plan_conv_f32(linear(1, 1, 1), Product::forward, {.least_splits = 100}).splits() == 1);
}

TEST_CASE("FP32 products that are refused") {
  const ConvShape shape = conv(2, 9, 9, 6, 8, 3, 3, 1, 1, 1, 2);
  const auto reason = [](const ConvShape& s, Product product = Product::forward) {
    return cu::refuse_conv_f32(s, product);
  };
  CHECK(reason(shape).empty());
  CHECK_THAT(
      reason(conv(2, 9, 9, 6, 8, 3, 3, 1, 1, 1, 4)),
      ContainsSubstring("cuda/conv_f32 forward of X 2x9x9x6, W 8x3x3x1, Y 9x9, 4 groups: groups must"));
  CHECK_THAT(reason(conv(4096, 224, 224, 16, 8, 3, 3)),
             ContainsSubstring("X of 2^31 elements or more; use a smaller batch"));
  CHECK_THAT(
      reason(conv(4096, 224, 224, 1, 16, 3, 3), Product::grad_weight),
      ContainsSubstring("cuda/conv_f32 grad_weight of X 4096x224x224x1, W 16x3x3x1, Y 222x222, 1 groups: "
                        "Y of 2^31 elements or more; use a smaller batch"));
  CHECK_THAT(reason(conv(1, 1, 1, 1 << 16, 1 << 16, 1, 1)), ContainsSubstring("W of 2^31 elements or more"));
  ConvShape wrong = shape;
  wrong.pad_w = -1;
  CHECK_THAT(reason(wrong), ContainsSubstring("sizes must be between 1 and 2^31"));
  wrong = shape, wrong.stride_w = 1 << 25;
  CHECK_THAT(reason(wrong), ContainsSubstring("coordinates of pixels reach 2^26"));
  wrong = shape, wrong.stride_h = wrong.stride_w = 256;
  CHECK(reason(wrong).empty());
  CHECK_THAT(reason(wrong, Product::grad_input), ContainsSubstring("strides whose product is 2^16 or more"));
  CHECK_THROWS_WITH(cu::plan_conv_f32(wrong, Product::grad_input), ContainsSubstring("use smaller strides"));
}

TEST_CASE("arguments of FP32 products that are refused") {
  const ConvShape shape = conv(2, 9, 9, 6, 8, 3, 3);
  const cu::ConvF32Plan plan = cu::plan_conv_f32(shape, Product::forward, {.least_splits = 2});
  const cu::ConvF32Plan backward = cu::plan_conv_f32(shape, Product::grad_input);
  alignas(8) float value[2] = {};
  auto* between = reinterpret_cast<float*>(reinterpret_cast<char*>(value) + 2);
  const cu::ConvF32Args good{.a = value, .b = value, .bias = value, .out = value, .scratch = value};
  const auto refused = [&](const cu::ConvF32Plan& of, const cu::ConvF32Args& args, const char* text) {
    CHECK_THROWS_WITH(cu::run_conv_f32(of, args, nullptr), ContainsSubstring(text));
  };
  cu::ConvF32Args args = good;
  args.a = nullptr,
  refused(plan, args, "cuda/conv_f32 forward of X 2x9x9x6, W 8x3x3x6, Y 7x7, 1 groups: a is null");
  args = good, args.b = between, refused(plan, args, "b does not start at a multiple of 4 bytes");
  args = good, args.out = nullptr, refused(plan, args, "out is null");
  args = good, args.bias = between, refused(plan, args, "bias does not start at a multiple of 4 bytes");
  args = good, args.scratch = nullptr, refused(plan, args, "scratch is null");
  refused(backward, good, "grad_input of X 2x9x9x6, W 8x3x3x6, Y 7x7, 1 groups: a bias is for forward");
}
