// Products of operands wider than 8 bits and of samples in scale classes, on every line of the list, against
// sums of the wide integers themselves.
#include <cmath>
#include <map>
#include <random>

#include "conv_loops.h"
#include "core/thread_pool.h"
#include "kernels.h"
#include "support/catch.h"
#include "support/conv_shapes.h"

using namespace octavo::kernels;
using namespace octavo::kernels::test;

namespace {

constexpr std::array all_products = {Product::forward, Product::grad_input, Product::grad_weight};

using Integers = std::vector<std::int32_t>;

/// Integers of so many planes: any, and many at the ends of the range and of the digits.
Integers make_integers(std::int64_t count, int planes, unsigned seed) {
  std::mt19937 generator(seed);
  const auto top = static_cast<std::int32_t>(largest_integer(planes));
  std::uniform_int_distribution<std::int32_t> any(-top, top), choice(0, 7);
  Integers values(static_cast<std::size_t>(count));
  for (std::int32_t& v : values) {
    const int what = choice(generator);
    v = what == 0 ? top : what == 1 ? -top : what == 2 ? std::clamp(-128 * 257, -top, top) : any(generator);
  }
  return values;
}

/// Digit `plane` of every value, found from the low end.
std::vector<std::int8_t> digits_of(const Integers& values, int plane) {
  std::vector<std::int8_t> digits(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::int64_t left = values[i], digit = 0;
    for (int p = 0; p <= plane; ++p, left = (left - digit) / 256) {
      digit = (left % 256 + 256) % 256;
      if (digit > 127) digit -= 256;
    }
    digits[i] = static_cast<std::int8_t>(digit);
  }
  return digits;
}

/// The nearest float, ties to even, bit by bit.
float to_float(Int128 value) {
  Int128 magnitude = value < 0 ? -value : value;
  int exponent = 0;
  bool above_half = false, half = false;
  for (; magnitude >= Int128{1} << 24; magnitude >>= 1, ++exponent) {
    above_half = half || above_half;
    half = (magnitude & 1) != 0;
  }
  if (half && (above_half || (magnitude & 1) != 0)) ++magnitude;
  const auto result = static_cast<float>(std::ldexp(static_cast<double>(magnitude), exponent));
  return value < 0 ? -result : result;
}

/// One product of wide operands.
struct Problem {
  ConvShape shape;
  Product product;
  int a_planes, b_planes;
  Integers a, b;
  bool vectors = false, accumulate = false, bias = false;
  std::vector<std::uint8_t> classes = {};  // none, or one for each sample
  bool a_unsigned = false;                 // one plane of u8

  std::int64_t results() const {
    return product == Product::forward      ? y_elements(shape)
           : product == Product::grad_input ? x_elements(shape)
                                            : w_elements(shape);
  }
  /// Channel of a result on the axis of B's scales.
  std::int64_t b_index(std::int64_t i) const {
    const std::int64_t filter = shape.r * shape.s * (shape.c / shape.groups);
    return product == Product::grad_weight ? i / filter
                                           : i % (product == Product::forward ? shape.k : shape.c);
  }
  std::int64_t a_index(std::int64_t i) const {
    const std::int64_t cg = shape.c / shape.groups;
    if (product == Product::grad_weight) return b_index(i) / (shape.k / shape.groups) * cg + i % cg;
    return i / (results() / shape.n);
  }
};

/// Sums over samples of even and of odd classes.
struct Sums {
  std::vector<Int128> even, odd;
};

Sums expected_sums(const Problem& p) {
  Sums all;
  all.even.resize(static_cast<std::size_t>(p.results()));
  all.odd.resize(all.even.size());
  const auto at = [](const Integers& values, std::int64_t i) {
    return Int128{values[static_cast<std::size_t>(i)]};
  };
  for (std::int64_t m = 0; m < p.shape.n; ++m) {
    const int sample_class = p.classes.empty() ? 0 : p.classes[static_cast<std::size_t>(m)];
    const Int128 weight = Int128{1} << (sample_class / 2);
    std::vector<Int128>& sums = sample_class % 2 != 0 ? all.odd : all.even;
    visit_products(p.shape, m, 0, p.shape.k, [&](std::int64_t x, std::int64_t w, std::int64_t y) {
      if (p.product == Product::forward)
        sums[static_cast<std::size_t>(y)] += at(p.a, x) * at(p.b, w);
      else if (p.product == Product::grad_input)
        sums[static_cast<std::size_t>(x)] += at(p.a, y) * at(p.b, w);
      else
        sums[static_cast<std::size_t>(w)] += at(p.a, x) * at(p.b, y) * weight;
    });
  }
  return all;
}

float scale_at(std::int64_t i) { return 0.001f * static_cast<float>(i % 7 + 1); }

/// Digits of `values` as planes of a view.
void write_planes(const Integers& values, const View& view, int planes, Buffer& target) {
  for (int plane = 0; plane < planes; ++plane)
    write_view(digits_of(values, plane).data(), view,
               static_cast<char*>(target.data()) + plane * plane_stride(view));
}

void pack_weights(const ConvS8& kernel, const Problem& p, Buffer& packed, const Parallel& parallel) {
  const std::int64_t stride = w_elements(p.shape) + 5;
  std::vector<std::int8_t> plain(static_cast<std::size_t>(stride * p.b_planes));
  for (int plane = 0; plane < p.b_planes; ++plane) {
    const auto digits = digits_of(p.b, plane);
    std::copy(digits.begin(), digits.end(), plain.begin() + plane * stride);
  }
  kernel.pack_planes(plain.data(), stride, p.b_planes, packed.data(), parallel);
}

void check_candidate(const ConvS8Candidate& candidate, const Problem& p, const Sums& sums,
                     const Parallel& parallel) {
  View a_view = candidate.a_view(p.shape, p.product);
  if (p.a_unsigned) a_view.zero = 0;
  const View b_view = candidate.b_view(p.shape, p.product);
  const auto kernel = candidate.make(p.shape, p.product, a_view, b_view);
  const bool weights = p.product != Product::grad_weight;
  Buffer a(planes_bytes(a_view, p.a_planes));
  Buffer b(weights ? p.b_planes * kernel->packed_stride() : planes_bytes(b_view, p.b_planes));
  write_planes(p.a, a_view, p.a_planes, a);
  if (weights)
    pack_weights(*kernel, p, b, parallel);
  else
    write_planes(p.b, b_view, p.b_planes, b);
  std::vector<float> scale(static_cast<std::size_t>(p.shape.n + p.shape.k + p.shape.c));
  for (std::size_t i = 0; i < scale.size(); ++i) scale[i] = scale_at(static_cast<std::int64_t>(i));
  ConvArgs args{.a = a.data(), .b = b.data(), .a_planes = p.a_planes, .b_planes = p.b_planes};
  args.a_scale = args.b_scale = scale.data();
  args.a_scale_vector = args.b_scale_vector = p.vectors;
  args.bias = p.bias ? scale.data() : nullptr;
  args.accumulate = p.accumulate;
  args.sample_class = p.classes.empty() ? nullptr : p.classes.data();
  Buffer scratch(kernel->scratch_bytes(args));
  args.scratch = scratch.data();
  const auto count = static_cast<std::size_t>(p.results());
  Buffer out(p.results() * 4);
  auto* floats = static_cast<float*>(out.data());
  args.out = floats;
  std::fill_n(floats, count, 1.5f);
  kernel->run(args, parallel);
  std::vector<std::int64_t> integers(p.classes.empty() ? count : 2 * count);
  args.integers = integers.data();
  kernel->run(args, parallel);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const float unit =
        p.vectors ? scale_at(p.a_index(at)) * scale_at(p.b_index(at)) : scale_at(0) * scale_at(0);
    float value = to_float(sums.even[i]);
    if (!p.classes.empty()) value += to_float(sums.odd[i]) * std::sqrt(2.0f);
    value *= unit;
    if (p.bias) value += scale_at(p.b_index(at));
    if (p.accumulate) value += 1.5f;
    wrong += integers[i] != static_cast<std::int64_t>(sums.even[i]) || floats[i] != value;
    if (!p.classes.empty()) wrong += integers[count + i] != static_cast<std::int64_t>(sums.odd[i]);
  }
  INFO(candidate.name << " " << product_name(p.product) << " " << describe(p.shape) << ", planes "
                      << p.a_planes << " x " << p.b_planes << (p.classes.empty() ? "" : ", classes"));
  CHECK(wrong == 0);
}

/// Checks every candidate, the reference too; answers the largest even sum.
Int128 check(const Problem& p) {
  static octavo::ThreadPool pool(2);
  const Parallel parallel = [](std::int64_t chunks, const std::function<void(std::int64_t)>& body) {
    pool.run(chunks, body);
  };
  const Sums sums = expected_sums(p);
  for (const ConvS8Candidate& candidate : conv_s8_candidates())
    if (isa_supported(candidate.isa) && candidate.refuse(p.shape, p.product).empty())
      check_candidate(candidate, p, sums, parallel);
  Int128 largest = 0;
  for (const Int128 sum : sums.even) largest = std::max(largest, sum < 0 ? -sum : sum);
  return largest;
}

Problem problem(const ConvShape& shape, Product product, int a_planes, int b_planes) {
  Problem p{.shape = shape, .product = product, .a_planes = a_planes, .b_planes = b_planes};
  p.a = make_integers(product == Product::grad_input ? y_elements(shape) : x_elements(shape), a_planes, 1);
  p.b = make_integers(product == Product::grad_weight ? y_elements(shape) : w_elements(shape), b_planes, 2);
  return p;
}

constexpr std::pair<int, int> all_planes[] = {{1, 2}, {2, 1}, {2, 2}, {3, 1}, {1, 3}, {3, 2}, {2, 3}, {3, 3}};

}  // namespace

TEST_CASE("products of planes are those of the wide integers") {
  const std::vector<ConvShape> all = shapes();
  for (std::size_t i = 0; i < all.size(); ++i)
    for (Product product : all_products)
      for (std::size_t which : {i % 8, (i + 3) % 8, (i + 6) % 8}) {
        Problem p = problem(all[i], product, all_planes[which].first, all_planes[which].second);
        p.vectors = which % 2 == 0;
        p.accumulate = i % 3 == 0;
        p.bias = product == Product::forward && i % 2 == 0;
        check(p);
      }
}

TEST_CASE("sums of planes that int64 cannot hold are exact") {
  const Int128 most = Int128{1} << 63;
  for (const ConvShape& shape :
       {linear(140000, 5, 17), linear(300000, 4, 4), conv(2, 290, 290, 8, 8, 3, 3, 1, 1, 1, 8)}) {
    Problem p = problem(shape, Product::grad_weight, 3, 3);
    check(p);
    for (Integers* values : {&p.a, &p.b}) std::fill(values->begin(), values->end(), 8355711);
    p.a[0] = -3, p.b[0] = 1;  // the low bits count
    CHECK(check(p) >= most);
  }
  // The longest sum of a tiled forward product still fits.
  Problem p = problem(linear(3, 65793, 2), Product::forward, 3, 3);
  for (Integers* values : {&p.a, &p.b}) std::fill(values->begin(), values->end(), 8355711);
  CHECK(check(p) < most);
  p = problem(linear(2, 140000, 2), Product::forward, 3, 3);
  for (Integers* values : {&p.a, &p.b}) std::fill(values->begin(), values->end(), 8355711);
  CHECK(check(p) >= most);
}

namespace {

/// Random classes from 0 to `last`.
std::vector<std::uint8_t> draw_classes(std::int64_t samples, int last, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_int_distribution<int> any(0, last);
  std::vector<std::uint8_t> classes(static_cast<std::size_t>(samples));
  for (std::uint8_t& c : classes) c = static_cast<std::uint8_t>(any(generator));
  return classes;
}

std::vector<std::uint8_t> one_class(std::int64_t samples, int value) {
  return std::vector<std::uint8_t>(static_cast<std::size_t>(samples), static_cast<std::uint8_t>(value));
}

/// Batches that take one and many blocks, whole samples and pieces of them.
std::vector<ConvShape> class_shapes() {
  std::vector<ConvShape> all = shapes();
  for (ConvShape& shape : all) shape.n *= 3;
  for (const ConvShape& shape :
       {conv(40, 8, 8, 20, 40, 3, 3, 1, 1), conv(9, 30, 31, 5, 33, 3, 3, 1, 1),
        conv(2, 120, 90, 4, 16, 3, 3, 1, 1), conv(37, 14, 14, 4, 16, 3, 3, 2, 1),
        conv(20, 9, 9, 40, 40, 3, 3, 1, 1, 1, 40), conv(3, 70, 70, 16, 16, 3, 3, 1, 1, 1, 16),
        linear(20, 65, 100), conv(30, 9, 9, 15, 24, 3, 3, 1, 1), conv(30, 12, 13, 13, 56, 1, 1),
        conv(9, 14, 14, 26, 46, 1, 1, 1, 0, 1, 2), conv(300, 5, 5, 12, 20, 1, 1)})
    all.push_back(shape);
  return all;
}

}  // namespace

TEST_CASE("samples in scale classes join exactly") {
  const std::vector<ConvShape> all = class_shapes();
  for (std::size_t i = 0; i < all.size(); ++i) {
    Problem p = problem(all[i], Product::grad_weight, 1, 1);
    p.vectors = i % 2 == 0;
    p.accumulate = i % 3 == 0;
    const std::int64_t n = all[i].n;
    for (const auto& classes :
         {draw_classes(n, 13, 1), draw_classes(n, most_sample_class, 2), draw_classes(n, 1, 3),
          one_class(n, 0), one_class(n, 9), one_class(n, most_sample_class)}) {
      p.classes = classes;
      check(p);
    }
    for (std::uint8_t& c : p.classes = draw_classes(n, 6, 4))
      c = static_cast<std::uint8_t>(2 * c);  // octaves
    check(p);
  }
}

TEST_CASE("sums over scale classes at the ends of the range are exact") {
  for (const ConvShape& shape : {conv(64, 32, 32, 2, 3, 3, 3, 1, 1), conv(300, 8, 8, 3, 17, 1, 1),
                                 conv(100, 16, 16, 8, 8, 3, 3, 1, 1, 1, 8)})
    for (const int value : {127, -128}) {
      Problem p = problem(shape, Product::grad_weight, 1, 1);
      for (Integers* values : {&p.a, &p.b}) std::fill(values->begin(), values->end(), value);
      for (int last : {3, 13, most_sample_class}) {
        p.classes = draw_classes(shape.n, last, 5);
        check(p);
      }
    }
}

TEST_CASE("samples in scale classes with several planes join exactly") {
  const std::vector<ConvShape> all = class_shapes();
  for (std::size_t i = 0; i < all.size(); ++i)
    for (std::size_t which : {i % 8, (i + 5) % 8}) {
      Problem p = problem(all[i], Product::grad_weight, all_planes[which].first, all_planes[which].second);
      for (int last : {12, most_sample_class}) {
        p.classes = draw_classes(all[i].n, last, 6);
        check(p);
      }
    }
}

TEST_CASE("unsigned activations meet planes and scale classes exactly") {
  const std::vector<ConvShape> all = class_shapes();
  for (std::size_t i = 0; i < all.size(); ++i)
    for (Product product : {Product::forward, Product::grad_weight}) {
      Problem p = problem(all[i], product, 1, 1 + static_cast<int>(i % 3));
      p.a_unsigned = true;
      for (std::int32_t& x : p.a) x = x == 127 ? 255 : x & 255;
      if (product == Product::grad_weight) p.classes = draw_classes(all[i].n, 13, 7);
      check(p);
    }
}

TEST_CASE("a sample class that does not exist is refused") {
  for (const ConvShape& shape : {conv(2, 5, 5, 16, 16, 3, 3), conv(2, 5, 5, 16, 16, 3, 3, 1, 1, 1, 16)}) {
    Problem p = problem(shape, Product::grad_weight, 1, 1);
    p.classes = {0, most_sample_class + 1};
    const Sums none{std::vector<Int128>(static_cast<std::size_t>(p.results())),
                    std::vector<Int128>(static_cast<std::size_t>(p.results()))};
    for (const ConvS8Candidate& candidate : conv_s8_candidates())
      if (isa_supported(candidate.isa) && candidate.refuse(shape, p.product).empty())
        CHECK_THROWS_AS(check_candidate(candidate, p, none, [](auto, const auto&) {}), std::logic_error);
  }
}

TEST_CASE("a view of several planes takes the promised memory") {
  const View view{.layout = Layout::plain, .n = 1, .h = 1, .w = 3, .c = 7};
  CHECK(view.bytes() == 85);
  CHECK(plane_stride(view) == 128);
  CHECK(planes_bytes(view, 1) == 85);
  CHECK(planes_bytes(view, 3) == 2 * 128 + 85);
  CHECK((largest_integer(1) == 127 && largest_integer(2) == 127 * 257 && largest_integer(3) == 127 * 65793));
}
