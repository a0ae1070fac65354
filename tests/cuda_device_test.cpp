// Every kernel of the CUDA backend on a device against kernels/ref: equal integers, bit-equal floats.
#include <limits>

#include "cuda/check.h"
#include "cuda/conv_s8.h"
#include "cuda/depthwise_s8.h"
#include "cuda/quantize.h"
#include "support/cuda_operands.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

constexpr std::array all_products = {Product::forward, Product::grad_input, Product::grad_weight};
constexpr std::array all_families = {cu::Family::mma, cu::Family::dp4a};

/// Memory of the device with the bytes of a vector, or of poison.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count) : count_(count) {
    const std::size_t size = std::max<std::size_t>(bytes(), 1);  // no more, so that memcheck sees over-runs
    cu::check(cudaMalloc(&data_, size), "test: cudaMalloc");
    cu::check(cudaMemset(data_, 0x5b, size), "test: cudaMemset");
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    cu::check(cudaMemcpy(data_, values.data(), bytes(), cudaMemcpyHostToDevice), "test: upload");
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  T* data() { return static_cast<T*>(data_); }
  std::vector<T> values() const {
    std::vector<T> out(count_);
    cu::check(cudaMemcpy(out.data(), data_, bytes(), cudaMemcpyDeviceToHost), "test: download");
    return out;
  }

 private:
  std::size_t bytes() const { return count_ * sizeof(T); }
  std::size_t count_;
  void* data_ = nullptr;
};

/// One product: uploaded operands, and runs of it.
class DeviceProduct {
 public:
  DeviceProduct(const ConvShape& shape, Product product, cu::Family family, cu::ConvOptions options)
      : plan_(cu::plan_conv(shape, product, cu::options_for(family, options))),
        family_(family),
        operands_(draw_operands(shape, product, options.a_planes, options.b_planes)),
        a_(device_a(plan_, operands_)),
        b_(device_b(plan_, operands_)),
        scratch_(static_cast<std::size_t>(plan_.workspace_bytes())) {}

  std::vector<std::int64_t> sums() {
    DeviceArray<std::int64_t> out(static_cast<std::size_t>(plan_.result_elements()));
    ConvArgs args = operand_args();
    args.integers = out.data();
    run(args);
    return out.values();
  }

  void run(ConvArgs& args) {
    args.scratch = scratch_.data();
    cu::run_conv(plan_, args, family_, nullptr);
    cu::check(cudaDeviceSynchronize(), cu::describe_conv(plan_.shape, plan_.product));
  }

  ConvArgs operand_args() {
    return {.a = a_.data(),
            .b = b_.data(),
            .a_planes = plan_.options.a_planes,
            .b_planes = plan_.options.b_planes};
  }
  const cu::ConvPlan& plan() const { return plan_; }
  const PlainOperands& operands() const { return operands_; }

 private:
  cu::ConvPlan plan_;
  cu::Family family_;
  PlainOperands operands_;
  DeviceArray<std::int8_t> a_, b_, scratch_;
};

void check_sums(const ConvShape& shape, Product product, cu::Family family, const cu::ConvOptions& options) {
  INFO(cu::family_name(family) << " " << product_name(product) << " " << describe(shape));
  DeviceProduct device(shape, product, family, options);
  const auto found = device.sums();
  CHECK(first_difference(found, reference_sums(shape, product, device.operands(), options.a_unsigned,
                                               device.plan().result_elements())) == none);
  CHECK(first_difference(device.sums(), found) == none);  // and the same again
}

/// Runs run(args) with the case's operands on the device, and returns the stored bytes.
template <class Run>
std::vector<std::uint8_t> device_floats(const FloatCase& drawn, const ConvArgs& operands, FloatType type,
                                        const Run& run) {
  DeviceArray<float> a_scale(drawn.a_scale), b_scale(drawn.b_scale), bias(drawn.bias);
  DeviceArray<std::uint8_t> out(stored_as(drawn.start, type));
  ConvArgs args = drawn.args;
  args.a = operands.a, args.b = operands.b;
  args.a_scale = a_scale.data(), args.b_scale = b_scale.data();
  if (args.bias != nullptr) args.bias = bias.data();
  args.out = FloatTarget(out.data(), type);
  run(args);
  return out.values();
}

/// Every epilogue of a product.
void check_floats(const ConvShape& shape, Product product, cu::Family family,
                  const cu::ConvOptions& options) {
  DeviceProduct device(shape, product, family, options);
  for (unsigned bits = 0; bits < float_cases; ++bits) {
    if (product != Product::forward && (bits & 8) != 0) continue;  // a bias
    INFO(cu::family_name(family) << " " << product_name(product) << " " << describe(shape) << " " << bits
                                 << " tile " << static_cast<int>(device.plan().tile) << " splits "
                                 << options.least_splits);
    const FloatCase drawn(shape, product, device.plan().result_elements(), bits);
    const auto expected = reference_floats(shape, product, device.operands(), drawn.args, drawn.start);
    for (FloatType type : types_of(product)) {
      const auto found =
          device_floats(drawn, device.operand_args(), type, [&](ConvArgs& args) { device.run(args); });
      CHECK(first_difference(found, stored_as(expected, type)) == none);
    }
  }
}

constexpr std::array all_tiles = {cu::TileKind::wide, cu::TileKind::narrow, cu::TileKind::small};

}  // namespace

TEST_CASE("the three products give the reference's integers") {
  std::mt19937 generator(1);
  for (const ConvShape& shape : shapes())
    for (cu::Family family : all_families)
      for (Product product : all_products) check_sums(shape, product, family, {});
  for (int i = 0; i < 60; ++i) {
    const ConvShape shape = draw_shape(generator);
    for (cu::Family family : all_families)
      for (Product product : all_products)
        for (int splits : {1, 2, 3})
          check_sums(shape, product, family, {.processors = i % 2 ? 132 : 1, .least_splits = splits});
  }
}

TEST_CASE("every tile, larger layers") {
  for (cu::TileKind tile : all_tiles)
    for (const ConvShape& shape :
         {conv(16, 14, 14, 64, 96, 3, 3, 1, 1), conv(32, 15, 15, 80, 200, 3, 3, 2, 1), linear(300, 260, 190)})
      for (Product product : all_products)
        for (int splits : {1, 3})
          check_sums(shape, product, cu::Family::mma, {.tile = tile, .least_splits = splits});
}

TEST_CASE("unsigned activations, several planes and long sums") {
  for (cu::Family family : all_families) {
    for (const ConvShape& shape : shapes())
      for (Product product : {Product::forward, Product::grad_weight})
        check_sums(shape, product, family, {.a_unsigned = true});
    for (int pair = 0; pair < 9; ++pair)
      for (Product product : all_products)
        check_sums(conv(5, 9, 8, 20, 24, 3, 3, 2, 1), product, family,
                   {.a_planes = 1 + pair % 3, .b_planes = 1 + pair / 3});
    check_sums(linear(140000, 5, 17), Product::grad_weight, family, {.processors = 1});
    check_sums(linear(2, 140000, 3), Product::forward, family, {.processors = 1});
  }
}

TEST_CASE("depthwise products give the reference's integers") {
  for (const ConvShape& shape : depthwise_shapes())
    for (Product product : all_products)
      for (const cu::ConvOptions& options : {cu::ConvOptions{}, cu::ConvOptions{.a_planes = 2, .b_planes = 3},
                                             cu::ConvOptions{.a_unsigned = true}}) {
        if (options.a_unsigned && product == Product::grad_input) continue;
        INFO(product_name(product) << " " << describe(shape));
        const cu::DepthwisePlan plan = cu::plan_depthwise(shape, product, options);
        const PlainOperands operands = draw_operands(shape, product, options.a_planes, options.b_planes);
        DeviceArray<std::int8_t> a(depthwise_a(plan, operands)), b(depthwise_b(plan, operands));
        const auto expected =
            reference_sums(shape, product, operands, options.a_unsigned, plan.conv.result_elements());
        for (int time = 0; time < 2; ++time) {
          DeviceArray<std::int64_t> sums(static_cast<std::size_t>(plan.conv.result_elements()));
          ConvArgs args{
              .a = a.data(), .b = b.data(), .a_planes = options.a_planes, .b_planes = options.b_planes};
          args.integers = sums.data();
          cu::run_depthwise(plan, args, nullptr);
          cu::check(cudaDeviceSynchronize(), "test: run_depthwise");
          CHECK(first_difference(sums.values(), expected) == none);
        }
      }
}

TEST_CASE("depthwise products give the reference's floats") {
  for (const ConvShape& shape : depthwise_shapes())
    for (Product product : all_products) {
      const cu::DepthwisePlan plan = cu::plan_depthwise(shape, product, {});
      const PlainOperands operands = draw_operands(shape, product, 1, 1);
      DeviceArray<std::int8_t> a(depthwise_a(plan, operands)), b(depthwise_b(plan, operands));
      for (unsigned bits = 0; bits < float_cases; ++bits) {
        if (product != Product::forward && (bits & 8) != 0) continue;
        INFO(product_name(product) << " " << describe(shape) << " " << bits);
        const FloatCase drawn(shape, product, plan.conv.result_elements(), bits);
        const auto expected = reference_floats(shape, product, operands, drawn.args, drawn.start);
        for (FloatType type : types_of(product)) {
          const auto run = [&](ConvArgs& args) {
            cu::run_depthwise(plan, args, nullptr);
            cu::check(cudaDeviceSynchronize(), "test: run_depthwise");
          };
          const auto found = device_floats(drawn, {.a = a.data(), .b = b.data()}, type, run);
          CHECK(first_difference(found, stored_as(expected, type)) == none);
        }
      }
    }
}

TEST_CASE("scales, bias, accumulation and bfloat16 give the reference's floats") {
  for (const ConvShape& shape : shapes())
    for (Product product : all_products)
      for (cu::Family family : all_families)
        for (int splits : {1, 3}) check_floats(shape, product, family, {.least_splits = splits});
}

TEST_CASE("every tile stores the reference's floats") {
  for (cu::TileKind tile : all_tiles)
    for (const ConvShape& shape :
         {conv(2, 12, 12, 140, 150, 1, 1), conv(4, 10, 9, 20, 130, 3, 3, 2, 1), uneven()})
      for (Product product : all_products)
        for (int splits : {1, 3})
          check_floats(shape, product, cu::Family::mma, {.tile = tile, .least_splits = splits});
}

TEST_CASE("OCTAVO_CUDA_KERNELS chooses the family of a product") {
  const ConvShape shape = conv(2, 9, 9, 32, 32, 3, 3, 1, 1);
  const cu::Family family = cu::active_family();
  DeviceProduct device(shape, Product::forward, family, {});
  DeviceArray<std::int64_t> sums(static_cast<std::size_t>(device.plan().result_elements()));
  ConvArgs args = device.operand_args();
  args.integers = sums.data();
  DeviceArray<std::int8_t> scratch(static_cast<std::size_t>(device.plan().workspace_bytes()));
  args.scratch = scratch.data();
  cu::run_conv(device.plan(), args, nullptr);
  cu::check(cudaDeviceSynchronize(), "test: run_conv");
  CHECK(first_difference(sums.values(), device.sums()) == none);
}

namespace {

struct ImagePass {
  cu::ImageLayout layout;
  cu::QuantizeRule rule;
  Granularity granularity;
  FloatType type;
};

/// Both kernels of the pass against the headers, which tests/cuda_quantize_test.cpp holds against the CPU's
/// chain.
void check_image(const ImagePass& p, unsigned seed) {
  const cu::ImageLayout& l = p.layout;
  INFO(l.n << "x" << l.h << "x" << l.w << "x" << l.c << " groups " << l.groups << " planes "
           << p.rule.planes);
  std::vector<float> x = draw_floats(std::int64_t{l.n} * l.h * l.w * l.c, seed, -1.1F, 1.1F);
  for (float& v : x) v = to_float(to_bf16(v));
  std::vector<float> inverse;
  for (int i = 0; i < std::max(l.n, l.c); ++i)
    inverse.push_back(p.rule.qmax * (1.0F - 0.001F * static_cast<float>(i)));
  const cu::QuantizeScales scales{inverse.data(), p.granularity};
  std::vector<Bytes> planes(static_cast<std::size_t>(p.rule.planes), Bytes(x.size()));
  cu::SegmentCounts counts;
  for (int m = 0; m < l.n; ++m)
    for (int pixel = 0; pixel < l.h * l.w; ++pixel)
      for (int c = 0; c < l.c; ++c) {
        const auto element = static_cast<std::size_t>(l.element(m, pixel, c));
        const cu::QuantizedValue q = cu::quantize_value(p.rule, x[element], scales.at(m, c), element);
        counts.add(x[element], q);
        for (int plane = 0; plane < p.rule.planes; ++plane)
          planes[static_cast<std::size_t>(plane)][element] = cu::digit_of(q.integer, plane);
      }
  DeviceArray<std::uint8_t> device_x(stored_as(x, p.type));
  DeviceArray<float> device_inverse(inverse);
  const Bytes pixel = device_image(l, planes, false), batch = device_image(l, planes, true);
  for (bool both : {true, false}) {
    DeviceArray<std::int8_t> pixel_copy(unwritten_planes(l.pixel_copy_bytes(), p.rule.planes));
    DeviceArray<std::int8_t> batch_copy(unwritten_planes(l.batch_copy_bytes(), p.rule.planes));
    DeviceArray<cu::QuantizeCounts> device_counts(std::vector<cu::QuantizeCounts>(1));
    cu::quantize_image({.layout = l,
                        .x = {device_x.data(), p.type},
                        .scales = {device_inverse.data(), p.granularity},
                        .rule = p.rule,
                        .pixel_copy = pixel_copy.data(),
                        .batch_copy = both ? batch_copy.data() : nullptr,
                        .counts = device_counts.data()},
                       nullptr);
    cu::check(cudaDeviceSynchronize(), "test: quantize_image");
    CHECK(first_difference(pixel_copy.values(), pixel) == none);
    if (both) CHECK(first_difference(batch_copy.values(), batch) == none);
    const QuantizeStats stats = device_counts.values()[0].stats();
    CHECK((stats.max_bits == counts.max_bits && stats.saturated == counts.saturated));
    CHECK(stats.sum_abs == static_cast<std::int64_t>(counts.sum_abs));
    CHECK(stats.sum_square == Int128{counts.sum_square});
  }
}

}  // namespace

TEST_CASE("quantize passes write the CPU's integers, copies and counts") {
  unsigned seed = 1;
  for (const cu::ImageLayout& layout : {cu::ImageLayout{1, 3, 2, 3, 1}, cu::ImageLayout{5, 7, 3, 16, 1},
                                        cu::ImageLayout{170, 1, 1, 70, 1}, cu::ImageLayout{66, 5, 4, 40, 1},
                                        cu::ImageLayout{33, 1, 3, 36, 3}, cu::ImageLayout{32, 9, 9, 256, 1}})
    for (int planes = 1; planes <= 3; ++planes)
      for (bool stochastic : {false, true})
        for (Granularity granularity : {Granularity::tensor, Granularity::channel, Granularity::sample})
          for (FloatType type : {FloatType::f32, FloatType::bf16}) {
            const auto qmax = static_cast<float>(largest_integer(planes));
            ++seed;
            check_image({layout,
                         {-qmax, qmax, planes, stochastic, random_key(seed, 3, 5), seed * 1000003ULL},
                         granularity,
                         type},
                        seed);
          }
}

TEST_CASE("weights in every copy") {
  using cu::WeightCopy;
  for (const cu::WeightLayout& l : {cu::WeightLayout{5, 9, 3, 1}, cu::WeightLayout{64, 9, 48, 1},
                                    cu::WeightLayout{12, 4, 9, 3}, cu::WeightLayout{24, 9, 24, 24}})
    for (int planes : {1, 2})
      for (WeightCopy kind : {WeightCopy::forward, WeightCopy::grad_input, WeightCopy::depthwise}) {
        if (kind == WeightCopy::depthwise && l.inputs() != 1) continue;
        const auto qmax = static_cast<float>(largest_integer(planes));
        const auto w = draw_floats(std::int64_t{l.k} * l.taps * l.inputs(), 7, -1.05F, 1.05F);
        const auto inverse = draw_floats(std::max(l.k, l.c), 8, 0.5F * qmax, qmax);
        const cu::QuantizeRule rule{-qmax, qmax, planes};
        std::vector<Bytes> expected(static_cast<std::size_t>(planes), Bytes(w.size()));
        for (std::int64_t at = 0; at < l.bytes(kind); ++at) {
          const cu::WeightLayout::At place = l.at(kind, at);
          if (place.element < 0) continue;
          const auto element = static_cast<std::size_t>(place.element);
          const cu::QuantizedValue q =
              cu::quantize_value(rule, w[element], inverse[static_cast<std::size_t>(place.row)], element);
          for (int plane = 0; plane < planes; ++plane)
            expected[static_cast<std::size_t>(plane)][element] = cu::digit_of(q.integer, plane);
        }
        const Bytes bytes = device_weights(l, expected, kind);
        DeviceArray<float> device_w(w), device_inverse(inverse);
        DeviceArray<std::int8_t> copy(unwritten_planes(l.bytes(kind), planes));
        cu::quantize_weights({.layout = l,
                              .kind = kind,
                              .weights = device_w.data(),
                              .scales = {device_inverse.data(), Granularity::channel},
                              .rule = rule,
                              .copy = copy.data()},
                             nullptr);
        cu::check(cudaDeviceSynchronize(), "test: quantize_weights");
        CHECK(first_difference(copy.values(), bytes) == none);
      }
}

TEST_CASE("largest magnitudes by tensor, channel and sample") {
  const cu::ImageLayout l{5, 7, 3, 37, 1};
  std::vector<float> x = draw_floats(std::int64_t{l.n} * l.h * l.w * l.c, 9, -3, 3);
  for (float& v : x) v = to_float(to_bf16(v));
  x[100] = std::numeric_limits<float>::quiet_NaN();
  for (FloatType type : {FloatType::f32, FloatType::bf16}) {
    DeviceArray<std::uint8_t> device_x(stored_as(x, type));
    for (Granularity granularity : {Granularity::tensor, Granularity::channel, Granularity::sample}) {
      std::vector<std::uint32_t> expected(
          granularity == Granularity::tensor
              ? 1
              : static_cast<std::size_t>(granularity == Granularity::channel ? l.c : l.n));
      for (std::size_t i = 0; i < x.size(); ++i) {
        const std::size_t at = granularity == Granularity::tensor ? 0
                               : granularity == Granularity::channel
                                   ? i % static_cast<std::size_t>(l.c)
                                   : i / (x.size() / static_cast<std::size_t>(l.n));
        if (x[i] == x[i])
          expected[at] = std::max(expected[at], std::bit_cast<std::uint32_t>(x[i]) & 0x7FFFFFFFu);
      }
      DeviceArray<std::uint32_t> found(std::vector<std::uint32_t>(expected.size()));
      cu::largest_magnitudes(l, {device_x.data(), type}, granularity, found.data(), nullptr);
      cu::check(cudaDeviceSynchronize(), "test: largest_magnitudes");
      CHECK(first_difference(found.values(), expected) == none);
    }
  }
}

TEST_CASE("an error that was handled is not found after the next launch") {
  void* memory = nullptr;
  CHECK_THROWS_WITH(cu::check(cudaMalloc(&memory, std::size_t{1} << 60), "test: "),
                    ContainsSubstring("Use a smaller batch"));
  CHECK_NOTHROW(cu::check_launch("test: "));
}

TEST_CASE("arguments that a product cannot take are refused by name") {
  DeviceProduct device(conv(2, 5, 5, 16, 16, 3, 3), Product::grad_weight, cu::Family::mma, {});
  ConvArgs args = device.operand_args();
  const std::uint8_t classes[2] = {};
  args.sample_class = classes;
  CHECK_THROWS_WITH(device.run(args), ContainsSubstring("sample classes"));
  args = device.operand_args();
  CHECK_THROWS_WITH(device.run(args), ContainsSubstring("grad_weight of X 2x5x5x16"));
}
