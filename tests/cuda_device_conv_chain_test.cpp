// Products whose epilogue runs the chain behind them, against kernels/ref's product and chain.
#include "cuda/chain.h"
#include "cuda/conv_chain.h"
#include "support/cuda_chain_runs.h"
#include "support/cuda_device_memory.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;
using enum octavo::kernels::StepKind;

namespace {

bool has_mma() { return cu::refuse_family(cu::Family::mma).empty(); }

/// A product with its operands on the device, and chains of its results.
class ChainedProduct {
 public:
  ChainedProduct(const ConvShape& shape, Product product, const cu::ConvOptions& options)
      : shape_(shape),
        plan_(cu::plan_conv(shape, product, cu::options_for(cu::Family::mma, options))),
        operands_(draw_operands(shape, product, 1, 1)),
        a_(device_a(plan_, operands_)),
        b_(device_b(plan_, operands_)) {}

  const cu::ConvPlan& plan() const { return plan_; }

  /// Against run_conv() and run_chain(), whatever X is.
  void check_passes(ChainCase c) {
    const FloatCase drawn(shape_, plan_.product, plan_.result_elements(), 0);
    c.layout = layout();
    DeviceMemory memory;
    CudaChain<DeviceMemory> chain(c, memory), expected(c, memory);
    ConvArgs args = drawn.args;
    args.a = a_.data(), args.b = b_.data();
    args.a_scale = memory.put(drawn.a_scale), args.b_scale = memory.put(drawn.b_scale);
    args.out = FloatTarget(memory.put(stored_as(drawn.start, c.x_type)), c.x_type);
    cu::run_conv(plan_, args, cu::Family::mma, nullptr);
    cu::ChainPass second = expected.pass();
    second.x = args.out;
    cu::run_chain(second, nullptr);
    cu::run_conv_chain(plan_, args, chain.pass(), nullptr);
    cu::check(cudaDeviceSynchronize(), "test: run_conv_chain");
    check_equal(chain.outcome(), expected.outcome());
  }
  cu::ImageLayout layout() const {
    return plan_.product == Product::forward ? cu::y_layout(shape_) : cu::x_layout(shape_);
  }

  /// `bits`: vectors of scales and a bias as FloatCase has them.
  void check(ChainCase c, unsigned bits) {
    FloatCase drawn(shape_, plan_.product, plan_.result_elements(), bits);
    for (std::vector<float>* scales : {&drawn.a_scale, &drawn.b_scale})
      for (float& v : *scales) v *= 0.06F;  // values of about 1
    for (float& v : drawn.bias) v *= 0.1F;
    c.layout = layout();
    c.given_x =
        stored_as(reference_floats(shape_, plan_.product, operands_, drawn.args, drawn.start), c.x_type);
    INFO(product_name(plan_.product) << " " << test::describe(shape_) << " tile "
                                     << static_cast<int>(plan_.tile) << " bits " << bits << " chain "
                                     << test::describe(c));
    DeviceMemory memory;
    CudaChain<DeviceMemory> chain(c, memory);
    REQUIRE(cu::refuse_chain(plan_, cu::Family::mma, chain.pass()).empty());
    ConvArgs args = drawn.args;
    args.a = a_.data(), args.b = b_.data();
    args.a_scale = memory.put(drawn.a_scale), args.b_scale = memory.put(drawn.b_scale);
    if (args.bias != nullptr) args.bias = memory.put(drawn.bias);
    args.out = FloatTarget(nullptr, c.x_type);
    cu::run_conv_chain(plan_, args, chain.pass(), nullptr);
    cu::check(cudaDeviceSynchronize(), "test: run_conv_chain");
    check_equal(chain.outcome(), ReferenceChain(c).run());
  }

 private:
  ConvShape shape_;
  cu::ConvPlan plan_;
  PlainOperands operands_;
  DeviceArray<std::int8_t> a_, b_;
};

/// Chains of the steps that an epilogue takes.
ChainCase draw_case(std::mt19937& generator, bool whole_bytes) {
  const auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(generator);
  };
  constexpr StepKind kinds[] = {scale_shift, add,     relu, clamp, keep_bits,
                                keep_where,  combine, drop, store, store_bits};
  ChainCase c;
  c.seed = generator();
  const auto type = [&] { return draw(0, 1) == 0 ? FloatType::f32 : FloatType::bf16; };
  c.x_type = type(), c.other_type = type(), c.out_type = type();
  for (int count = draw(0, 5); count > 0; --count) c.kinds.push_back(kinds[draw(0, whole_bytes ? 9 : 8)]);
  c.pixel = true;
  c.planes = draw(1, 3), c.stochastic = draw(0, 1) == 0;
  c.is_unsigned = c.planes == 1 && draw(0, 1) == 0;
  if (c.planes > 1) c.grid = static_cast<Grid>(draw(0, 2));
  c.granularity = static_cast<Granularity>(draw(0, 2));
  return c;
}

ChainCase relu_case(FloatType type, bool stochastic = false) {
  ChainCase c{.kinds = {store_bits, relu}};
  c.x_type = type, c.pixel = true, c.is_unsigned = true, c.stochastic = stochastic;
  return c;
}

}  // namespace

TEST_CASE("a product's epilogue runs the chain behind it with the reference's integers, bits and counts") {
  if (!has_mma()) return;
  std::mt19937 generator(1);
  int chains = 0;
  for (const ConvShape& shape : {conv(2, 7, 5, 20, 24, 3, 3, 1, 1), conv(3, 9, 8, 16, 33, 3, 3, 2, 1),
                                 conv(1, 5, 7, 4, 16, 3, 3, 1, 1), conv(2, 8, 8, 40, 70, 1, 1),
                                 linear(37, 128, 64), linear(20, 65, 100), uneven()})
    for (const Product product : {Product::forward, Product::grad_input}) {
      ChainedProduct chained(shape, product, {});
      if (chained.plan().gemm.classes() > 1) continue;
      for (int i = 0; i < 8; ++i, ++chains)
        chained.check(draw_case(generator, chained.layout().c % 8 == 0),
                      static_cast<unsigned>(i) % 4 + (product == Product::forward && i > 3 ? 8U : 0U));
    }
  CHECK(chains >= 80);
}

TEST_CASE("every tile runs ReLU and quantization in its epilogue") {
  if (!has_mma()) return;
  for (const cu::TileKind tile : all_tiles)
    for (const ConvShape& shape : {conv(3, 9, 9, 40, 136, 3, 3, 1, 1), linear(150, 70, 200)})
      for (const FloatType type : {FloatType::f32, FloatType::bf16}) {
        ChainedProduct chained(shape, Product::forward, {.tile = tile});
        chained.check(relu_case(type), 8);
        chained.check(relu_case(type, true), 3);
      }
}

TEST_CASE("unsigned activations and a chain in the epilogue give what two passes give") {
  if (!has_mma()) return;
  for (const cu::TileKind tile : all_tiles) {
    ChainedProduct chained(conv(2, 9, 9, 24, 72, 3, 3, 1, 1), Product::forward,
                           {.a_unsigned = true, .tile = tile});
    chained.check_passes(relu_case(FloatType::bf16, true));
  }
}

TEST_CASE("which chains a product does not run, and why") {
  const ConvShape shape = conv(2, 8, 8, 64, 24, 3, 3, 1, 1);
  std::int8_t copy = 0;
  unsigned largest = 0;
  cu::ChainPass pass;
  pass.layout = {2, 8, 8, 24};
  pass.pixel_copy = &copy;
  const auto refusal = [&](const cu::ChainPass& chain, const ConvShape& of,
                           Product product = Product::forward, cu::ConvOptions options = {},
                           cu::Family family = cu::Family::mma) {
    return cu::refuse_chain(cu::plan_conv(of, product, options), family, chain);
  };
  CHECK(refusal(pass, shape).empty());
  CHECK_THAT(refusal(pass, shape, Product::forward, {}, cu::Family::wgmma), ContainsSubstring("mma"));
  CHECK_THAT(refusal(pass, shape, Product::forward, {}, cu::Family::dp4a), ContainsSubstring("mma"));
  CHECK(refusal(pass, shape, Product::grad_weight) == "weight gradients");
  CHECK_THAT(refusal(pass, shape, Product::forward, {.least_splits = 3}), ContainsSubstring("parts"));
  CHECK_THAT(refusal(pass, shape, Product::forward, {.a_planes = 2}), ContainsSubstring("parts"));
  CHECK(refusal(pass, conv(2, 8, 8, 64, 24, 3, 3, 1, 1, 1, 2)) == "products of several groups");
  CHECK_THAT(refusal(pass, conv(2, 8, 8, 24, 24, 3, 3, 2, 1), Product::grad_input),
             ContainsSubstring("several classes"));
  CHECK(refusal(pass, conv(2, 8, 8, 64, 32, 3, 3, 1, 1)) == "a chain over a tensor of other sizes");
  const auto with = [&](const auto& change) {
    cu::ChainPass other = pass;
    change(other);
    return refusal(other, shape);
  };
  const auto step = [&](const cu::ChainStep& added) {
    return with([&](cu::ChainPass& p) { p.steps[p.step_count++] = added; });
  };
  CHECK(with([](cu::ChainPass& p) { p.layout.groups = 2; }) == "integers for several groups");
  CHECK_THAT(with([](cu::ChainPass& p) { p.pixel_copy = nullptr; }), ContainsSubstring("other copies"));
  CHECK_THAT(with([&](cu::ChainPass& p) { p.batch_copy = &copy; }), ContainsSubstring("other copies"));
  CHECK_THAT(with([&](cu::ChainPass& p) { p.max_bits = &largest; }), ContainsSubstring("maxima"));
  CHECK(step({.kind = sums}) == "steps that sum or look");
  CHECK(step({.kind = look}) == "steps that sum or look");
  CHECK(step({.kind = store_bits}).empty());
  const float y = 0;
  CHECK_THAT(with([&](cu::ChainPass& p) {
               p.x = FloatSource(&y, FloatType::f32);
               p.steps[p.step_count++] = {.kind = add, .x = p.x};
             }),
             ContainsSubstring("again"));
  pass.layout.c = 20;
  pass.steps[pass.step_count++] = {.kind = store_bits};
  CHECK_THAT(refusal(pass, conv(2, 8, 8, 64, 20, 3, 3, 1, 1)), ContainsSubstring("multiple of 8"));
}

TEST_CASE("arguments that a product with a chain cannot take are refused by name") {
  if (!has_mma()) return;
  ChainedProduct chained(conv(2, 5, 5, 16, 16, 3, 3), Product::forward, {});
  ChainCase c = relu_case(FloatType::f32);
  c.layout = chained.layout();
  DeviceMemory memory;
  CudaChain<DeviceMemory> chain(c, memory);
  CHECK_THROWS_WITH(cu::run_conv_chain(chained.plan(), {}, chain.pass(), nullptr),
                    ContainsSubstring("forward of X 2x5x5x16") && ContainsSubstring("a is"));
  cu::ChainPass pass = chain.pass();
  pass.layout.c = 8;
  CHECK_THROWS_WITH(cu::run_conv_chain(chained.plan(), {}, pass, nullptr),
                    ContainsSubstring("a chain in the epilogue: a chain over a tensor of other sizes"));
}
