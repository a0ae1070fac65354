// Sums by channel in the epilogue of a forward product: the bits of kernels/ref's sums over what is stored.
#include "cuda/chain_checks.h"
#include "cuda/sums_plan.h"
#include "support/cuda_device.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

/// As chains see the results: rows of a linear layer are the width of one image.
cu::ImageLayout chain_layout(const ConvShape& shape) { return cu::y_layout(shape); }

std::vector<std::uint64_t> bits_of(const std::vector<double>& values) {
  std::vector<std::uint64_t> bits;
  bits.reserve(values.size());
  for (const double v : values) bits.push_back(std::bit_cast<std::uint64_t>(v));
  return bits;
}

/// sum(u), then sum(u u) by channel, of u = y - the first pixel's y.
std::vector<double> reference_of(const cu::ImageLayout& l, std::vector<std::uint8_t>& y, FloatType type) {
  const FloatSource values(y.data(), type);
  std::vector<float> minus_pivot;
  minus_pivot.reserve(static_cast<std::size_t>(l.c));
  for (int c = 0; c < l.c; ++c) minus_pivot.push_back(-values[c]);
  const Step steps[] = {{.kind = StepKind::scale_shift, .b = minus_pivot.data()}, {.kind = StepKind::sums}};
  std::vector<double> sums(2 * static_cast<std::size_t>(l.c));
  Chain chain{.n = l.n, .h = l.h, .w = l.w, .c = l.c, .x = values};
  chain.steps = steps;
  chain.sum_v = sums.data(), chain.sum_vx = sums.data() + l.c;
  Buffer scratch(chain_scratch_bytes(chain));
  chain.scratch = scratch.data();
  run_chain(Isa::ref, chain, run_in_order);
  return sums;
}

/// A forward product with its operands on the device.
class ForwardProduct {
 public:
  ForwardProduct(const ConvShape& shape, cu::Family family, const cu::ConvOptions& options, bool tma = false)
      : shape_(shape),
        family_(family),
        plan_(cu::plan_conv(shape, Product::forward, options_of(family, options, tma))),
        operands_(draw_operands(shape, Product::forward, 1, 1)),
        a_(device_a(plan_, operands_)),
        b_(device_b(plan_, operands_)) {}

  /// Where there is a choice, threads fill the stages unless `tma`.
  static cu::ConvOptions options_of(cu::Family family, const cu::ConvOptions& options, bool tma) {
    cu::ConvOptions all = cu::options_for(family, options);
    all.tma = all.tma && tma;
    return all;
  }
  std::string refusal() const { return cu::refuse_sums(plan_, chain_layout(shape_)); }
  const cu::ConvPlan& plan() const { return plan_; }

  /// Every epilogue that takes sums, against the results without them and the reference's sums of these.
  void check() {
    const cu::SumsPlan sums = cu::plan_sums(plan_, chain_layout(shape_));
    for (const unsigned bits : {0U, 1U, 2U, 11U}) {
      const FloatCase drawn(shape_, Product::forward, plan_.result_elements(), bits);
      for (const FloatType type : types_of(Product::forward)) {
        INFO(describe(shape_) << " " << cu::family_name(family_) << " tma " << plan_.by_tma() << " tile "
                              << static_cast<int>(plan_.tile) << " case " << bits << " type "
                              << static_cast<int>(type));
        auto expected = run(drawn, type, nullptr);
        const Outcome found = run_sums(drawn, type, sums);
        CHECK(first_difference(found.y, expected) == none);
        CHECK(first_difference(bits_of(found.sums),
                               bits_of(reference_of(chain_layout(shape_), expected, type))) == none);
      }
    }
  }

  std::vector<std::uint8_t> run(const FloatCase& drawn, FloatType type, const cu::ConvSums* sums) {
    DeviceArray<float> a_scale(drawn.a_scale), b_scale(drawn.b_scale), bias(drawn.bias);
    DeviceArray<std::uint8_t> out(stored_as(drawn.start, type));
    ConvArgs args = drawn.args;
    args.a = a_.data(), args.b = b_.data();
    args.a_scale = a_scale.data(), args.b_scale = b_scale.data();
    if (args.bias != nullptr) args.bias = bias.data();
    args.out = FloatTarget(out.data(), type);
    cu::run_conv(plan_, args, family_, nullptr, nullptr, sums);
    cu::check(cudaDeviceSynchronize(), "test: run_conv");
    return out.values();
  }

  struct Outcome {
    std::vector<std::uint8_t> y;
    std::vector<double> sums;
  };
  Outcome run_sums(const FloatCase& drawn, FloatType type, const cu::SumsPlan& plan) {
    const auto channels = static_cast<std::size_t>(plan.channels);
    DeviceArray<float> pivot(channels);
    DeviceArray<double> both(2 * channels);
    DeviceArray<std::uint8_t> scratch(static_cast<std::size_t>(plan.scratch_bytes()));
    const cu::ConvSums sums{plan, pivot.data(), both.data(), both.data() + channels, scratch.data()};
    Outcome found;
    found.y = run(drawn, type, &sums);
    found.sums = both.values();
    return found;
  }

 private:
  ConvShape shape_;
  cu::Family family_;
  cu::ConvPlan plan_;
  PlainOperands operands_;
  DeviceArray<std::int8_t> a_, b_;
};

/// Pieces of 1 to 128 pixels, lanes 1 to 8, the last piece and chunk uneven, one tile, groups, rows.
std::vector<ConvShape> summed_shapes() {
  return {conv(2, 8, 8, 40, 64, 3, 3, 1, 1),
          conv(5, 16, 16, 16, 64, 1, 1),
          linear(96, 40, 128),
          linear(300, 33, 256),
          conv(2, 6, 6, 16, 1024, 1, 1),
          conv(1, 3, 3, 16, 2048, 1, 1),
          conv(2, 8, 8, 32, 64, 3, 3, 1, 1, 1, 2),
          conv(1, 5, 5, 20, 20, 3, 3, 1, 1),
          conv(3, 4, 4, 12, 20, 3, 3, 1, 1),
          conv(2, 16, 8, 48, 16, 3, 3, 1, 1),
          conv(3, 16, 16, 40, 32, 3, 3, 2, 1),
          conv(3, 7, 4, 70, 512, 1, 1)};
}

}  // namespace

TEST_CASE("a forward product's epilogue gives the reference's sums by channel") {
  int taken = 0;
  for (const cu::Family family : families())
    for (const ConvShape& shape : summed_shapes()) {
      ForwardProduct product(shape, family, {});
      if (!product.refusal().empty()) continue;
      product.check();
      ++taken;
    }
  CHECK(taken >= 10 * static_cast<int>(families().size()));
}

TEST_CASE("every tile whose stages threads fill sums what it stores") {
  const char* given = std::getenv("OCTAVO_CUDA_TMA");
  const std::string before = given == nullptr ? "1" : given;
  for (const char* tma : {"1", "0"}) {
    setenv("OCTAVO_CUDA_TMA", tma, 1);
    for (const cu::Family family : matrix_families())
      for (const cu::TileKind tile :
           {cu::TileKind::wide, cu::TileKind::narrow, cu::TileKind::small, cu::TileKind::broad}) {
        if (tile == cu::TileKind::broad && family != cu::Family::wgmma) continue;
        int taken = 0;
        for (const ConvShape& shape :
             {conv(3, 8, 8, 48, 64, 3, 3, 1, 1), conv(2, 16, 8, 48, 16, 1, 1), linear(300, 64, 288)}) {
          ForwardProduct product(shape, family, {.tile = tile}, true);
          CHECK((product.plan().by_tma() == (family == cu::Family::wgmma && tma[0] == '1')));
          if (product.plan().by_tma()) CHECK_THAT(product.refusal(), ContainsSubstring("TMA"));
          if (!product.refusal().empty()) continue;
          product.check();
          ++taken;
        }
        CHECK((taken >= 1 || (family == cu::Family::wgmma && tma[0] == '1')));
      }
  }
  setenv("OCTAVO_CUDA_TMA", before.c_str(), 1);
}

TEST_CASE("unsigned activations are summed too") {
  for (const cu::Family family : families()) {
    ForwardProduct product(conv(2, 8, 8, 40, 64, 3, 3, 1, 1), family, {.a_unsigned = true});
    product.check();
  }
}

TEST_CASE("pieces that are even are those of the CPU's structure") {
  std::mt19937 generator(1);
  const auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(generator);
  };
  int even = 0, uneven = 0;
  for (int i = 0; i < 3000; ++i) {
    const int channels = i % 3 == 0 ? draw(1, 300) : 1 << draw(0, 11);
    const cu::ImageLayout layout{draw(1, 5), draw(1, i % 2 == 0 ? 4 : 40), draw(1, 60), channels};
    const cu::SumsWalk walk = cu::sums_walk(layout);
    const int piece = cu::even_piece(walk);
    const std::int64_t pixels = cu::pixels_of(layout), count = walk.first_piece(walk.chunks);
    bool same = true;
    std::int64_t longest = 0;
    for (std::int64_t index = 0; index < count; ++index)
      longest = std::max<std::int64_t>(longest, walk.pixels(index).end - walk.pixels(index).first);
    for (std::int64_t index = 0; index < count; ++index) {
      const cu::SumsWalk::Pixels at = walk.pixels(index);
      same = same && at.first == index * longest && at.end == std::min((index + 1) * longest, pixels);
    }
    INFO(layout.n << "x" << layout.h << "x" << layout.w << "x" << layout.c);
    CHECK(piece == (same ? longest : 0));
    ++(same ? even : uneven);
  }
  CHECK(even > 300);
  CHECK(uneven > 300);
}

TEST_CASE("which layers take their sums in the epilogue, and why others do not") {
  const auto refusal = [](const ConvShape& shape, Product product = Product::forward,
                          cu::ConvOptions options = {}) {
    return cu::refuse_sums(cu::plan_conv(shape, product, options), chain_layout(shape));
  };
  const auto pays = [](const ConvShape& shape, FloatType type) {
    const cu::ConvPlan plan = cu::plan_conv(shape, Product::forward, {});
    return cu::sums_pay(cu::plan_sums(plan, chain_layout(shape)), type);
  };
  for (const int batch : {1, 2, 33, 256}) {
    const auto n = std::int64_t{batch};
    for (const ConvShape& shape : {conv(n, 112, 112, 64, 64, 3, 3, 1, 1), conv(n, 56, 56, 64, 64, 3, 3, 1, 1),
                                   conv(n, 28, 28, 128, 128, 3, 3, 1, 1), conv(n, 56, 56, 64, 256, 1, 1)}) {
      INFO(describe(shape));
      CHECK(refusal(shape).empty());
      CHECK(pays(shape, FloatType::f32));
      CHECK(pays(shape, FloatType::bf16) == (shape.k < 256));
    }
    // A few pixels make a piece: its sums are as long as they are.
    for (const ConvShape& shape : {conv(n, 28, 28, 128, 512, 1, 1), conv(n, 14, 14, 256, 1024, 1, 1),
                                   conv(n, 7, 7, 512, 2048, 1, 1)}) {
      INFO(describe(shape));
      CHECK((refusal(shape).empty() || refusal(shape) == "results whose contraction is cut into parts"));
      if (refusal(shape).empty()) CHECK(!pays(shape, FloatType::f32));
    }
  }
  CHECK_THAT(refusal(conv(256, 14, 14, 256, 256, 3, 3, 1, 1)),
             ContainsSubstring("pieces of 8 pixels end within tiles of 56 or lines of 196"));
  CHECK_THAT(refusal(conv(256, 7, 7, 512, 512, 3, 3, 1, 1)), ContainsSubstring("pieces of 4 pixels"));
  CHECK_THAT(refusal(conv(64, 32, 32, 16, 16, 3, 3, 1, 1), Product::forward, {}),
             ContainsSubstring("pieces of 128 pixels do not divide the 32 rows"));
  CHECK(refusal(conv(64, 32, 32, 64, 64, 3, 3, 1, 1)).empty());
  CHECK_THAT(refusal(conv(64, 32, 32, 64, 64, 3, 3, 1, 1), Product::forward, {.tma = true}),
             ContainsSubstring("TMA"));
  CHECK(refusal(conv(9, 8, 8, 64, 64, 3, 3), Product::grad_input) == "sums are of a forward product");
  CHECK_THAT(refusal(conv(9, 8, 8, 64, 64, 3, 3), Product::forward, {.least_splits = 2}),
             ContainsSubstring("cut into parts"));
  const ConvShape shape = conv(2, 8, 8, 64, 64, 1, 1);
  const cu::ConvPlan plan = cu::plan_conv(shape, Product::forward, {});
  CHECK(cu::refuse_sums(plan, {2, 8, 7, 64}) == "sums of a tensor of other sizes");
  CHECK_THROWS_WITH(cu::plan_sums(plan, {2, 8, 8, 32}),
                    ContainsSubstring("forward of X 2x8x8x64") && ContainsSubstring("other sizes"));
}

TEST_CASE("sums that a product cannot take are refused by name") {
  ForwardProduct product(conv(2, 8, 8, 16, 64, 1, 1), cu::Family::dp4a, {}),
      other(conv(4, 8, 8, 16, 64, 1, 1), cu::Family::dp4a, {});
  const cu::SumsPlan plan = cu::plan_sums(product.plan(), {2, 8, 8, 64});
  const FloatCase added({.n = 2, .c = 16, .k = 64}, Product::forward, 8192, 4),
      large({.n = 4, .c = 16, .k = 64}, Product::forward, 16384, 0);
  CHECK_THROWS_WITH(product.run_sums(added, FloatType::f32, plan),
                    ContainsSubstring("forward of X 2x8x8x16") && ContainsSubstring("stored, not added"));
  CHECK_THROWS_WITH(other.run_sums(large, FloatType::f32, plan), ContainsSubstring("plan_sums()"));
  const cu::ConvSums nowhere{.plan = plan};
  CHECK_THROWS_WITH(product.run(large, FloatType::f32, &nowhere), ContainsSubstring("minus_pivot"));
}
