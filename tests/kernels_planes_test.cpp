// Products of operands wider than 8 bits, on every line of the list, against sums of the wide integers
// themselves.
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

std::vector<Int128> expected_sums(const Problem& p) {
  std::vector<Int128> sums(static_cast<std::size_t>(p.results()));
  const auto at = [](const Integers& values, std::int64_t i) {
    return Int128{values[static_cast<std::size_t>(i)]};
  };
  for (std::int64_t m = 0; m < p.shape.n; ++m)
    visit_products(p.shape, m, 0, p.shape.k, [&](std::int64_t x, std::int64_t w, std::int64_t y) {
      if (p.product == Product::forward)
        sums[static_cast<std::size_t>(y)] += at(p.a, x) * at(p.b, w);
      else if (p.product == Product::grad_input)
        sums[static_cast<std::size_t>(x)] += at(p.a, y) * at(p.b, w);
      else
        sums[static_cast<std::size_t>(w)] += at(p.a, x) * at(p.b, y);
    });
  return sums;
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

void check_candidate(const ConvS8Candidate& candidate, const Problem& p, const std::vector<Int128>& sums,
                     const Parallel& parallel) {
  const View a_view = candidate.a_view(p.shape, p.product), b_view = candidate.b_view(p.shape, p.product);
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
  Buffer scratch(kernel->scratch_bytes(args));
  args.scratch = scratch.data();
  const auto count = static_cast<std::size_t>(p.results());
  Buffer out(p.results() * 4);
  args.out = static_cast<float*>(out.data());
  std::fill_n(args.out, count, 1.5f);
  kernel->run(args, parallel);
  std::vector<std::int64_t> integers(count);
  args.integers = integers.data();
  kernel->run(args, parallel);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const float unit =
        p.vectors ? scale_at(p.a_index(at)) * scale_at(p.b_index(at)) : scale_at(0) * scale_at(0);
    float value = to_float(sums[i]) * unit;
    if (p.bias) value += scale_at(p.b_index(at));
    if (p.accumulate) value += 1.5f;
    wrong += integers[i] != static_cast<std::int64_t>(sums[i]) || args.out[i] != value;
  }
  INFO(candidate.name << " " << product_name(p.product) << " " << describe(p.shape) << ", planes "
                      << p.a_planes << " x " << p.b_planes);
  CHECK(wrong == 0);
}

/// Checks every candidate, the reference too; answers the largest sum.
Int128 check(const Problem& p, const Parallel& parallel) {
  const std::vector<Int128> sums = expected_sums(p);
  for (const ConvS8Candidate& candidate : conv_s8_candidates())
    if (isa_supported(candidate.isa) && candidate.refuse(p.shape, p.product).empty())
      check_candidate(candidate, p, sums, parallel);
  Int128 largest = 0;
  for (const Int128 sum : sums) largest = std::max(largest, sum < 0 ? -sum : sum);
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
  octavo::ThreadPool pool(2);
  const Parallel parallel = [&](std::int64_t chunks, const std::function<void(std::int64_t)>& body) {
    pool.run(chunks, body);
  };
  const std::vector<ConvShape> all = shapes();
  for (std::size_t i = 0; i < all.size(); ++i)
    for (Product product : all_products)
      for (std::size_t which : {i % 8, (i + 3) % 8, (i + 6) % 8}) {
        Problem p = problem(all[i], product, all_planes[which].first, all_planes[which].second);
        p.vectors = which % 2 == 0;
        p.accumulate = i % 3 == 0;
        p.bias = product == Product::forward && i % 2 == 0;
        check(p, parallel);
      }
}

TEST_CASE("sums of planes that int64 cannot hold are exact") {
  octavo::ThreadPool pool(2);
  const Parallel parallel = [&](std::int64_t chunks, const std::function<void(std::int64_t)>& body) {
    pool.run(chunks, body);
  };
  const Int128 most = Int128{1} << 63;
  for (const ConvShape& shape :
       {linear(140000, 5, 17), linear(300000, 4, 4), conv(2, 290, 290, 8, 8, 3, 3, 1, 1, 1, 8)}) {
    Problem p = problem(shape, Product::grad_weight, 3, 3);
    check(p, parallel);
    for (Integers* values : {&p.a, &p.b}) std::fill(values->begin(), values->end(), 8355711);
    p.a[0] = -3, p.b[0] = 1;  // the low bits count
    CHECK(check(p, parallel) >= most);
  }
  // The longest sum of a tiled forward product still fits.
  Problem p = problem(linear(3, 131071, 2), Product::forward, 3, 3);
  for (Integers* values : {&p.a, &p.b}) std::fill(values->begin(), values->end(), 8355711);
  CHECK(check(p, parallel) < most);
  p = problem(linear(2, 140000, 2), Product::forward, 3, 3);
  for (Integers* values : {&p.a, &p.b}) std::fill(values->begin(), values->end(), 8355711);
  CHECK(check(p, parallel) >= most);
}

TEST_CASE("a view of several planes takes the promised memory") {
  const View view{.layout = Layout::plain, .n = 1, .h = 1, .w = 3, .c = 7};
  CHECK(view.bytes() == 85);
  CHECK(plane_stride(view) == 128);
  CHECK(planes_bytes(view, 1) == 85);
  CHECK(planes_bytes(view, 3) == 2 * 128 + 85);
  CHECK((largest_integer(1) == 127 && largest_integer(2) == 127 * 257 && largest_integer(3) == 127 * 65793));
}
