// Every line of the integer convolution list against the reference: equal integers, bit-equal floats.
#include <array>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <sstream>

#include "conv_s8_tiled.h"
#include "core/thread_pool.h"
#include "kernels.h"
#include "support/catch.h"
#include "support/conv_shapes.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace octavo::kernels {
extern const ConvIsa conv_isa_avx2, conv_isa_avx512vnni;
}

namespace {

constexpr std::array all_products = {Product::forward, Product::grad_input, Product::grad_weight};

enum class Values { random, plus_minus_127, with_minus_128, all_127 };

std::vector<std::int8_t> make_values(std::int64_t count, Values kind, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_int_distribution<int> any(-127, 127), below(-128, -120), coin(0, 1);
  std::vector<std::int8_t> values(static_cast<std::size_t>(count));
  for (std::int8_t& v : values) switch (kind) {
      case Values::random:
        v = static_cast<std::int8_t>(any(generator));
        break;
      case Values::plus_minus_127:
        v = static_cast<std::int8_t>(coin(generator) ? 127 : -127);
        break;
      case Values::with_minus_128:
        v = static_cast<std::int8_t>(coin(generator) ? any(generator) : below(generator));
        break;
      case Values::all_127:
        v = 127;
        break;
    }
  return values;
}

std::vector<float> make_floats(std::int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> any(0.001F, 0.1F);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = any(generator);
  return values;
}

struct Options {
  bool a_scale_vector = false, b_scale_vector = false, bias = false, accumulate = false;
  bool a_unsigned = false;  // the bytes of `a` are u8
  bool bf16 = false;        // results are stored as bfloat16
  bool not_finite = false;  // what is added to holds NaN and infinities, scales an infinity
  std::int64_t extra_border = 0;
  int exponent = 0;  // scales of A are so many octaves away
  Parallel parallel = [](std::int64_t chunks, const std::function<void(std::int64_t)>& body) {
    for (std::int64_t i = 0; i < chunks; ++i) body(i);
  };
};

struct Result {
  std::vector<std::int64_t> integers;
  std::vector<float> out;
  bool operator==(const Result& other) const {
    return integers == other.integers && out.size() == other.out.size() &&
           std::memcmp(out.data(), other.out.data(), out.size() * sizeof(float)) == 0;
  }
};

std::vector<float> rounded_to_bf16(std::vector<float> values) {
  for (float& v : values) v = to_float(to_bf16(v));
  return values;
}

/// Runs one candidate on plain operands `a` and `b`: once for the integers, once for the floats.
Result run(const ConvS8Candidate& candidate, const ConvShape& shape, Product product,
           const std::vector<std::int8_t>& a, const std::vector<std::int8_t>& b, const Options& options) {
  View a_view = candidate.a_view(shape, product);
  if (options.a_unsigned) a_view.zero = 0;
  if (a_view.layout == Layout::rows) {
    View wider = a_view;
    wider.top += options.extra_border, wider.right += options.extra_border;
    wider.left += 2 * options.extra_border, wider.channel_pitch += 4 * options.extra_border;
    REQUIRE(merge_views(a_view, wider));
  }
  const View b_view = candidate.b_view(shape, product);
  const auto kernel = candidate.make(shape, product, a_view, b_view);
  const bool weights = product != Product::grad_weight;
  Buffer a_data(a_view.bytes()), b_data(weights ? kernel->packed_bytes() : b_view.bytes());
  Buffer scratch(kernel->scratch_bytes());
  write_view(a.data(), a_view, a_data.data());
  if (weights)
    kernel->pack(b.data(), b_data.data(), options.parallel);
  else
    write_view(b.data(), b_view, b_data.data());
  const std::int64_t elements = product == Product::forward      ? y_elements(shape)
                                : product == Product::grad_input ? x_elements(shape)
                                                                 : w_elements(shape);
  std::vector<float> a_scale = make_floats(std::max(shape.n, shape.c), 11);
  for (float& scale : a_scale) scale = std::ldexp(scale, options.exponent);
  std::vector<float> b_scale = make_floats(std::max(shape.k, shape.c), 12), bias = make_floats(shape.k, 13);
  Result result{std::vector<std::int64_t>(static_cast<std::size_t>(elements), 99),
                rounded_to_bf16(make_floats(elements, 14))};
  constexpr float infinity = std::numeric_limits<float>::infinity(),
                  nan = std::numeric_limits<float>::quiet_NaN();
  if (options.not_finite) {
    if (options.b_scale_vector) b_scale[1] = infinity;
    for (std::size_t i = 0; i < result.out.size(); i += 7)
      result.out[i] = std::array{nan, infinity, -infinity}[i % 3];
  }
  ConvArgs args{.a = a_data.data(), .b = b_data.data(), .a_scale = a_scale.data(), .b_scale = b_scale.data()};
  args.a_scale_vector = options.a_scale_vector, args.b_scale_vector = options.b_scale_vector;
  args.bias = options.bias && product == Product::forward ? bias.data() : nullptr;
  args.accumulate = options.accumulate;
  args.scratch = scratch.data();
  Buffer out(elements * 4);  // aligned, as large results may be streamed
  const FloatTarget target(out.data(), options.bf16 ? FloatType::bf16 : FloatType::f32);
  for (std::int64_t i = 0; i < elements; ++i) target.set(i, result.out[static_cast<std::size_t>(i)]);
  args.out = target;
  kernel->run(args, options.parallel);
  for (std::int64_t i = 0; i < elements; ++i)
    result.out[static_cast<std::size_t>(i)] = FloatSource(target)[i];
  args.out = {};
  args.integers = result.integers.data();
  kernel->run(args, options.parallel);
  return result;
}

const ConvS8Candidate& reference() { return conv_s8_candidates().back(); }

/// Compares every candidate of the list but the reference, and that too where results are rounded; returns
/// how many ran.
int compare(const ConvShape& shape, Product product, Values values, const Options& options) {
  const auto& [a_size, b_size] = product == Product::forward ? std::pair(x_elements(shape), w_elements(shape))
                                 : product == Product::grad_input
                                     ? std::pair(y_elements(shape), w_elements(shape))
                                     : std::pair(x_elements(shape), y_elements(shape));
  const auto a = make_values(a_size, values, 1), b = make_values(b_size, values, 2);
  Result expected = run(reference(), shape, product, a, b,
                        {.a_scale_vector = options.a_scale_vector,
                         .b_scale_vector = options.b_scale_vector,
                         .bias = options.bias,
                         .accumulate = options.accumulate,
                         .a_unsigned = options.a_unsigned,
                         .not_finite = options.not_finite,
                         .exponent = options.exponent});
  if (options.bf16) expected.out = rounded_to_bf16(expected.out);
  int ran = 0;
  for (const ConvS8Candidate& candidate :
       conv_s8_candidates().first(conv_s8_candidates().size() - (options.bf16 ? 0 : 1))) {
    if (!isa_supported(candidate.isa) || !candidate.refuse(shape, product).empty()) continue;
    INFO(candidate.name << " " << product_name(product) << " " << describe(shape));
    const Result found = run(candidate, shape, product, a, b, options);
    ++ran;
    CHECK(found.integers == expected.integers);
    CHECK(found == expected);
  }
  return ran;
}

}  // namespace

TEST_CASE("candidates that this CPU cannot run are named") {
  for (const ConvS8Candidate& candidate : conv_s8_candidates())
    if (!isa_supported(candidate.isa))
      WARN(candidate.name << " is not tested: the CPU lacks " << isa_name(candidate.isa));
  CHECK(std::string(reference().name) == "ref/conv_s8");
  CHECK(isa_supported(Isa::ref));
}

TEST_CASE("packed weights and their sums are those of the plain loops") {
  const auto pack = [](void (*form)(const ConvPack&), const std::vector<std::int8_t>& source,
                       std::int64_t row, std::int64_t inputs, std::int64_t columns) {
    const std::int64_t step = (columns + 15) / 16 * 64;
    Buffer target((inputs + 3) / 4 * step);
    std::memset(target.data(), 0,
                static_cast<std::size_t>((inputs + 3) / 4 * step));  // plain loops rely on it
    std::vector<std::int32_t> sums(ConvIsa::widest, 1000);
    auto* bytes = static_cast<std::int8_t*>(target.data());
    form({bytes, step, source.data(), row, inputs, columns, sums.data()});
    return std::pair(std::vector<std::int8_t>(bytes, bytes + (inputs + 3) / 4 * step), sums);
  };
  for (const auto& [name, isa, level] : {std::tuple("avx2", &conv_isa_avx2, Isa::avx2),
                                         std::tuple("avx512vnni", &conv_isa_avx512vnni, Isa::avx512vnni)})
    for (std::int64_t inputs : {1, 3, 4, 7, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 131})
      for (std::int64_t columns : {1, 5, 8, 9, 15, 16, 17, 31, 32}) {
        if (!isa_supported(level)) continue;
        INFO(name << " " << inputs << " inputs, " << columns << " columns");
        const std::int64_t row = inputs + 2, line = columns + 3;
        const auto by_row = make_values(columns * row - 2, Values::with_minus_128, 1);  // ends with its last
        const auto by_column = make_values(inputs * line - 3, Values::with_minus_128, 2);
        CHECK(pack(isa->pack_rows, by_row, row, inputs, columns) ==
              pack(pack_rows_plain, by_row, row, inputs, columns));
        CHECK(pack(isa->pack_columns, by_column, line, inputs, columns) ==
              pack(pack_columns_plain, by_column, line, inputs, columns));
      }
}

TEST_CASE("views keep every element") {
  for (const ConvShape& shape : shapes())
    for (const ConvS8Candidate& candidate : conv_s8_candidates())
      for (Product product : all_products) {
        if (!candidate.refuse(shape, product).empty()) continue;
        for (const View& view : {candidate.a_view(shape, product), candidate.b_view(shape, product)}) {
          if (view.n == 0) continue;
          INFO(candidate.name << " " << product_name(product) << " " << describe(shape));
          const auto plain = make_values(view.n * view.h * view.w * view.c, Values::with_minus_128, 3);
          auto back = plain;
          Buffer bytes(view.bytes());
          write_view(plain.data(), view, bytes.data());
          if (view.layout != Layout::planes)
            std::fill(back.begin(), back.end(), std::int8_t{1});  // may drop pixels
          read_view(bytes.data(), view, back.data());
          CHECK(back == plain);
        }
      }
}

TEST_CASE("views store what the byte map says") {
  const std::vector<std::int8_t> plain = {1, -2, 3, -4, 5, -6};  // 1 x 3 x 2 x 1
  std::vector<std::uint8_t> bytes(200, 7);
  View rows{.layout = Layout::rows, .n = 1, .h = 3, .w = 2, .c = 1, .top = 1, .left = 1, .channel_pitch = 2};
  write_view(plain.data(), rows, bytes.data());
  CHECK(std::vector<std::uint8_t>(bytes.begin(), bytes.begin() + 18) ==
        std::vector<std::uint8_t>{128, 128, 128, 128, 128, 128, 128, 128, 129, 128, 126, 128, 128, 128, 131,
                                  128, 124, 128});
  View planes{.layout = Layout::planes,
              .n = 1,
              .h = 3,
              .w = 2,
              .c = 1,
              .top = 1,
              .phase_h = 2,
              .pitch = 3,
              .plane = 6};
  write_view(plain.data(), planes, bytes.data());
  CHECK(std::vector<std::uint8_t>(bytes.begin(), bytes.begin() + 12) ==
        std::vector<std::uint8_t>{128, 128, 128, 131, 124, 128, 129, 126, 128, 133, 122, 128});
  View quads{
      .layout = Layout::quads, .n = 1, .h = 3, .w = 2, .c = 1, .channel_pitch = 2, .pitch = 3, .plane = 8};
  write_view(plain.data(), quads, bytes.data());
  CHECK(std::vector<std::uint8_t>(bytes.begin(), bytes.begin() + 16) ==
        std::vector<std::uint8_t>{1, 254, 0, 3, 0, 0, 0, 0, 252, 0, 5, 250, 0, 0, 0, 0});
}

TEST_CASE("views of the GPU store what the byte map says, and keep every element") {
  const std::vector<std::int8_t> plain = {1, -2, 3, -4, 5, -6, 7, -8};
  const auto stored = [&](const View& view) {
    std::vector<std::int8_t> bytes(static_cast<std::size_t>(view.bytes()), 9), back(plain.size());
    write_view(plain.data(), view, bytes.data());
    read_view(bytes.data(), view, back.data());
    CHECK(back == plain);
    return bytes;
  };
  const View pixels{
      .layout = Layout::pixels, .n = 1, .h = 1, .w = 2, .c = 4, .channel_pitch = 3, .groups = 2};
  CHECK(stored(pixels) == std::vector<std::int8_t>{1, -2, 0, 3, -4, 0, 5, -6, 0, 7, -8, 0});
  View batch{.layout = Layout::batch, .n = 2, .h = 1, .w = 2, .c = 2, .pitch = 2, .plane = 3};
  CHECK(stored(batch) == std::vector<std::int8_t>{1, 5, 0, 3, 7, 0, -2, -6, 0, -4, -8, 0});
  batch = {.layout = Layout::batch, .n = 1, .h = 1, .w = 4, .c = 2, .pitch = 1, .plane = 5};  // rows
  CHECK(stored(batch) == std::vector<std::int8_t>{1, 3, 5, 7, 0, -2, -4, -6, -8, 0});
  CHECK(plane_stride(batch) == 256);
}

TEST_CASE("merged views take the larger border") {
  View into{.layout = Layout::rows, .n = 1, .h = 4, .w = 4, .c = 3, .top = 1, .right = 2, .channel_pitch = 4};
  View other = into;
  other.top = 0, other.left = 3, other.channel_pitch = 16;
  REQUIRE(merge_views(into, other));
  CHECK((into.top == 1 && into.left == 3 && into.right == 2 && into.channel_pitch == 16));
  View planes = into;
  planes.layout = Layout::planes;
  CHECK_FALSE(merge_views(into, planes));
  CHECK(merge_views(planes, View(planes)));
}

TEST_CASE("every candidate gives the reference's integers and floats") {
  for (Product product : all_products)
    for (Values values : {Values::random, Values::plus_minus_127, Values::with_minus_128}) {
      int ran = 0;
      for (const ConvShape& shape : shapes()) ran += compare(shape, product, values, {});
      if (isa_supported(Isa::avx2)) CHECK(ran > 30);
    }
}

TEST_CASE("depthwise rows, strides, runs of pixels and parts of blocks of channels") {
  int ran = 0;
  for (const std::int64_t channels : {16, 32, 40, 48, 64, 80, 144})
    for (const auto& [h, w] : {std::pair{1, 130}, {2, 3}, {5, 1}, {7, 66}, {4, 2}})
      for (const std::int64_t stride : {1, 2, 3})
        for (const auto& [taps, dilation] : {std::pair{3, 1}, {3, 2}, {4, 1}, {2, 1}, {5, 1}}) {
          const std::int64_t pad = dilation * (taps - 1) / 2 + (taps == 4 ? 1 : 0);
          const ConvShape shape =
              conv(3, h, w, channels, channels, taps, taps, stride, pad, dilation, channels);
          if (shape.ho < 1 || shape.wo < 1) continue;
          for (Product product : all_products)
            ran += compare(shape, product, Values::with_minus_128, {.b_scale_vector = channels % 3 == 0});
        }
  if (isa_supported(Isa::avx2)) CHECK(ran > 1000);
}

TEST_CASE("scale vectors, bias, accumulation and wider borders") {
  for (const ConvShape& shape : shapes())
    for (Product product : all_products)
      for (int bits = 1; bits < 16; bits += 2)
        compare(shape, product, Values::random,
                {.a_scale_vector = (bits & 2) != 0,
                 .b_scale_vector = (bits & 4) != 0,
                 .bias = (bits & 1) != 0,
                 .accumulate = (bits & 8) != 0,
                 .extra_border = bits / 4});
}

TEST_CASE("panels of which three quarters are there") {
  for (const ConvShape& shape : three_quarter_panels())
    for (Product product : all_products)
      for (int bits = 0; bits < 32; ++bits)
        if (product != Product::grad_weight || bits < 8)
          compare(shape, product, bits % 3 == 0 ? Values::with_minus_128 : Values::plus_minus_127,
                  {.a_scale_vector = (bits & 1) != 0,
                   .b_scale_vector = (bits & 2) != 0,
                   .bias = (bits & 8) != 0,
                   .accumulate = (bits & 4) != 0,
                   .bf16 = (bits & 16) != 0});
}

TEST_CASE("results in bfloat16 are those in FP32, rounded once") {
  for (const ConvShape& shape : shapes())
    for (Product product : {Product::forward, Product::grad_input})
      for (int bits = 0; bits < 4; ++bits)
        compare(shape, product, Values::random,
                {.a_scale_vector = bits == 1,
                 .b_scale_vector = bits == 1,
                 .bias = bits == 2,
                 .accumulate = bits == 3,
                 .bf16 = true});
}

TEST_CASE(
    "the CPU's own conversion to bfloat16 rounds as in plain code, subnormal and infinite results too") {
  if (!converts_bf16()) WARN("is tested without it: the CPU lacks AVX512-BF16");
  // Tiles of 14 and 13 rows, of 32, 16 and 24 columns, whole and in part.
  for (const ConvShape& shape :
       {conv(2, 14, 28, 16, 64, 1, 1), conv(1, 13, 26, 32, 40, 3, 3, 1, 1), conv(3, 14, 14, 24, 16, 1, 1),
        conv(2, 13, 13, 16, 12, 3, 3, 1, 1), conv(1, 28, 28, 64, 96, 1, 1, 2, 0),
        conv(2, 14, 28, 24, 24, 1, 1), conv(1, 13, 26, 19, 56, 3, 3, 1, 1)})
    for (Product product : {Product::forward, Product::grad_input})
      for (const int exponent : {0, -100, -113, -118, -125, 100, 118})
        for (const bool allowed : {true, false}) {
          allow_bf16_conversion(allowed);
          compare(shape, product, Values::random,
                  {.a_scale_vector = exponent % 2 != 0,
                   .b_scale_vector = allowed,
                   .bf16 = true,
                   .exponent = exponent});
        }
  allow_bf16_conversion(true);
}

TEST_CASE("NaN and infinities stay what they are in either type of results") {
  for (const ConvShape& shape : {conv(2, 9, 7, 32, 64, 3, 3, 1, 1), conv(2, 9, 9, 16, 16, 3, 3, 1, 1),
                                 conv(3, 8, 8, 20, 24, 1, 1), conv(2, 9, 9, 64, 64, 3, 3, 1, 1, 1, 64)})
    for (Product product : {Product::forward, Product::grad_input})
      for (int bits = 0; bits < 4; ++bits)
        compare(shape, product, Values::random,
                {.b_scale_vector = (bits & 1) != 0,
                 .accumulate = true,
                 .bf16 = (bits & 2) != 0,
                 .not_finite = true});
}

TEST_CASE("forward products that are cut into blocks of images or rows, and sums above 2^24") {
  for (std::int64_t border : {0, 1, 2}) {
    const Options options{.accumulate = true, .extra_border = border};
    compare(conv(5, 24, 24, 4, 64, 3, 3, 1, 1), Product::forward, Values::random, options);
    compare(conv(5, 47, 47, 4, 64, 3, 3, 2, 1), Product::forward, Values::random, options);
    compare(conv(2, 73, 40, 4, 61, 3, 3, 1, 1), Product::forward, Values::random, options);
    compare(conv(1, 145, 81, 3, 64, 1, 1, 2, 0), Product::forward, Values::random, options);
    compare(conv(2, 5, 5, 131, 16, 3, 3, 1, 1), Product::forward, Values::all_127, options);
  }
}

TEST_CASE("unsigned activations give the reference's integers and floats") {
  int ran = 0;
  for (const ConvShape& shape : shapes())
    for (Product product : {Product::forward, Product::grad_weight})
      for (Values values : {Values::random, Values::with_minus_128})
        for (std::int64_t border : {0, 2})
          ran += compare(shape, product, values,
                         {.a_scale_vector = border > 0, .a_unsigned = true, .extra_border = border});
  if (isa_supported(Isa::avx2)) CHECK(ran > 100);
  // 255 x -128 is the largest product; the sum of so many is the most that int32 takes.
  for (std::int64_t terms : {65793, 65794, 140000})
    for (const auto& [shape, product] : {std::pair(linear(terms, 4, 4), Product::grad_weight),
                                         std::pair(linear(2, terms, 2), Product::forward)}) {
      const bool weights = product == Product::forward;
      const std::vector<std::int8_t> a(static_cast<std::size_t>(x_elements(shape)), -1);  // the byte of 255
      const std::vector<std::int8_t> b(
          static_cast<std::size_t>(weights ? w_elements(shape) : y_elements(shape)), -128);
      for (const ConvS8Candidate& candidate : conv_s8_candidates()) {
        if (!isa_supported(candidate.isa) || !candidate.refuse(shape, product).empty()) continue;
        INFO(candidate.name << " " << terms);
        const Result found = run(candidate, shape, product, a, b, {.a_unsigned = true});
        CHECK(found.integers == std::vector<std::int64_t>(weights ? 4 : 16, terms * 255 * -128));
      }
    }
}

TEST_CASE("sums longer than int32 holds are exact") {
  for (std::int64_t terms : {65793, 65794, 131072, 133145, 262144}) {
    compare(linear(terms, 5, 17), Product::grad_weight, Values::all_127, {});
    const std::vector<std::int8_t> lowest(static_cast<std::size_t>(terms) * 4, -128);
    const ConvShape shape = linear(terms, 4, 4);
    for (const ConvS8Candidate& candidate : conv_s8_candidates()) {
      if (!isa_supported(candidate.isa) || !candidate.refuse(shape, Product::grad_weight).empty()) continue;
      INFO(candidate.name << " " << terms);
      const Result found = run(candidate, shape, Product::grad_weight, lowest, lowest, {});
      CHECK(found.integers == std::vector<std::int64_t>(16, terms * 16384));
    }
  }
  compare(conv(3, 300, 300, 4, 8, 1, 1), Product::grad_weight, Values::all_127, {});
  compare(conv(2, 370, 370, 16, 16, 3, 3, 1, 1, 1, 16), Product::grad_weight, Values::all_127, {});
  compare(linear(2, 65793, 2), Product::forward, Values::all_127, {});
  compare(linear(2, 65794, 2), Product::forward, Values::all_127, {});
}

TEST_CASE("results larger than the caches are exact") {
  octavo::ThreadPool pool(3);
  Options options;
  options.parallel = [&](std::int64_t chunks, const std::function<void(std::int64_t)>& body) {
    pool.run(chunks, body);
  };
  for (const ConvShape& shape :
       {linear(140000, 4, 32), linear(140000, 4, 64), linear(260000, 4, 17),
        conv(1, 600, 500, 16, 16, 1, 1, 1, 0, 1, 16), conv(1, 600, 250, 32, 32, 1, 1, 1, 0, 1, 32)})
    for (Product product : {Product::forward, Product::grad_input})
      for (bool accumulate : {false, true})
        for (bool bf16 : {false, true}) {
          options.accumulate = accumulate, options.bf16 = bf16;
          compare(shape, product, Values::random, options);
        }
}

TEST_CASE("weight gradients over few pixels, in and beyond the caches") {
  for (const ConvShape& shape : {linear(1, 32, 64), linear(4, 2064, 2050), linear(3, 2051, 2050),
                                 linear(256, 47, 79), linear(257, 48, 65), conv(1, 5, 7, 50, 70, 1, 1)})
    for (int bits = 0; bits < 16; ++bits) {
      if (shape.c > 100 && bits % 5 != 0) continue;  // large results: none, all and both alternations
      compare(shape, Product::grad_weight, bits % 3 == 0 ? Values::with_minus_128 : Values::plus_minus_127,
              {.a_scale_vector = (bits & 1) != 0,
               .b_scale_vector = (bits & 2) != 0,
               .accumulate = (bits & 4) != 0,
               .a_unsigned = (bits & 8) != 0});
    }
}

TEST_CASE("threads and the order of chunks do not change results") {
  const Parallel backwards = [](std::int64_t chunks, const std::function<void(std::int64_t)>& body) {
    for (std::int64_t i = chunks - 1; i >= 0; --i) body(i);
  };
  octavo::ThreadPool pool(3);
  const Parallel pooled = [&](std::int64_t chunks, const std::function<void(std::int64_t)>& body) {
    pool.run(chunks, body);
  };
  for (const ConvShape& shape :
       {conv(5, 20, 20, 16, 16, 3, 3, 1, 1), conv(40, 30, 30, 4, 16, 3, 3, 2, 1),
        conv(2, 12, 12, 64, 70, 3, 3, 1, 1), conv(6, 30, 30, 24, 24, 3, 3, 1, 1, 1, 24)})
    for (Product product : all_products)
      for (const Parallel& parallel : {backwards, pooled}) {
        Options options;
        options.parallel = parallel;
        compare(shape, product, Values::random, options);
      }
}

TEST_CASE("the first candidate that is allowed is found, and refusals are logged") {
  const Isa before = active_isa();
  force_isa(Isa::ref);
  std::vector<std::string> lines;
  const auto log = [&](const std::string& line) { lines.push_back(line); };
  CHECK(std::string(find_conv_s8(conv(1, 4, 4, 4, 4, 3, 3), Product::forward, log).name) == "ref/conv_s8");
  CHECK(lines.size() == conv_s8_candidates().size() - 1);
  if (isa_supported(Isa::avx512vnni)) {
    force_isa(Isa::avx512vnni);
    CHECK(find_conv_s8(conv(1, 4, 4, 4, 4, 3, 3), Product::forward).isa == Isa::avx512vnni);
    lines.clear();
    find_conv_s8(conv(1, 4, 4, 6, 6, 3, 3, 1, 0, 1, 2), Product::forward, log);
    REQUIRE_FALSE(lines.empty());
    CHECK_THAT(lines.back(), ContainsSubstring("multiple of 4"));
  }
  force_isa(before);
}
