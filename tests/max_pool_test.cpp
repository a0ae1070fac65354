// Max pooling of every instruction set against plain loops: the window of each output, and a scatter of
// gradients.
#include "max_pool.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "support/catch.h"

using namespace octavo::kernels;

namespace {

struct Tensor {
  FloatType type;
  std::vector<float> memory;
  Tensor(std::int64_t size, FloatType t) : type(t), memory(static_cast<std::size_t>(size)) {}
  FloatTarget target() { return {memory.data(), type}; }
  float operator[](std::int64_t i) const { return FloatSource(memory.data(), type)[i]; }
};

std::int64_t inputs(const MaxPool& p) { return p.h.size * p.w.size * p.c; }
std::int64_t outputs(const MaxPool& p) { return p.h.outputs * p.w.outputs * p.c; }

MaxPool pool(std::int64_t h, std::int64_t w, std::int64_t c, std::int64_t kernel, std::int64_t stride,
             std::int64_t pad) {
  const auto axis = [&](std::int64_t size) {
    return PoolAxis{size, (size + 2 * pad - kernel) / stride + 1, kernel, stride, pad};
  };
  return {axis(h), axis(w), c};
}

// Few values, so that windows hold ties; some NaN and infinities.
void draw(Tensor& tensor, std::int64_t size, std::mt19937& generator, bool not_finite) {
  for (std::int64_t i = 0; i < size; ++i) {
    const auto drawn = static_cast<int>(generator() % 40);
    const float value = not_finite && drawn == 0   ? std::numeric_limits<float>::quiet_NaN()
                        : not_finite && drawn == 1 ? -std::numeric_limits<float>::infinity()
                                                   : 0.37F * static_cast<float>(drawn - 20);
    tensor.target().set(i, value);
  }
}

bool same(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) ||
         (std::isnan(a) && std::isnan(b));
}

struct Place {
  std::int64_t i, j, ch, output;
};

template <class Body>
void each_output(const MaxPool& p, const Body& body) {
  for (std::int64_t i = 0, at = 0; i < p.h.outputs; ++i)
    for (std::int64_t j = 0; j < p.w.outputs; ++j)
      for (std::int64_t ch = 0; ch < p.c; ++ch) body(Place{i, j, ch, at++});
}

std::int32_t largest_of(const MaxPool& p, const Tensor& x, const Place& place) {
  std::int32_t best = -1;
  for (std::int64_t a = 0; a < p.h.kernel; ++a)
    for (std::int64_t b = 0; b < p.w.kernel; ++b) {
      const std::int64_t row = place.i * p.h.stride - p.h.pad + a,
                         column = place.j * p.w.stride - p.w.pad + b;
      if (row < 0 || row >= p.h.size || column < 0 || column >= p.w.size) continue;
      const auto pixel = static_cast<std::int32_t>(row * p.w.size + column);
      const float v = x[pixel * p.c + place.ch];
      if (best < 0 || v > x[best * p.c + place.ch] || std::isnan(v)) best = pixel;
    }
  return best;
}

void check(const MaxPool& p, FloatType type, bool not_finite) {
  std::mt19937 generator(static_cast<unsigned>(p.c * 31 + p.h.size));
  Tensor x(inputs(p), type), up(outputs(p), type), y(outputs(p), type), dx(inputs(p), type),
      expected(inputs(p), type);
  draw(x, inputs(p), generator, not_finite), draw(up, outputs(p), generator, not_finite);
  std::vector<std::int32_t> where(static_cast<std::size_t>(outputs(p)), -1);
  const MaxPoolIsa& isa = max_pool_isa();
  for (std::int64_t row = 0; row < p.h.outputs; ++row)
    isa.forward(p, x.target(), row, y.target(), where.data());
  for (std::int64_t row = 0; row < p.h.size; ++row)
    isa.backward(p, up.target(), where.data(), row, dx.target());
  int wrong = 0;
  each_output(p, [&](const Place& place) {
    const std::int32_t best = largest_of(p, x, place);
    const std::int64_t to = best * p.c + place.ch;
    wrong += !same(y[place.output], x[to]) || where[static_cast<std::size_t>(place.output)] != best;
    expected.target().set(to, expected[to] + up[place.output]);
  });
  for (std::int64_t i = 0; i < inputs(p); ++i) wrong += !same(dx[i], expected[i]);
  INFO(isa_name(active_isa()) << ", " << p.h.size << " x " << p.w.size << " x " << p.c << ", kernel "
                              << p.h.kernel << ", stride " << p.h.stride << ", pad " << p.h.pad);
  CHECK(wrong == 0);
  Tensor again(outputs(p), type);
  for (std::int64_t row = 0; row < p.h.outputs; ++row)
    isa.forward(p, x.target(), row, again.target(), nullptr);
  CHECK(std::memcmp(again.memory.data(), y.memory.data(), y.memory.size() * sizeof(float)) == 0);
}

}  // namespace

TEST_CASE("max pooling of every instruction set is that of plain loops") {
  const Isa before = active_isa();
  for (Isa isa : {Isa::ref, Isa::avx2, Isa::avx512vnni}) {
    if (!isa_supported(isa)) {
      WARN("max pooling is not tested: the CPU lacks " << isa_name(isa));
      continue;
    }
    force_isa(isa);
    for (FloatType type : {FloatType::f32, FloatType::bf16})
      for (std::int64_t c : {1, 3, 7, 16, 24, 31, 64, 70, 144})
        for (bool not_finite : {false, true}) {
          check(pool(9, 12, c, 2, 2, 0), type, not_finite);
          check(pool(11, 7, c, 3, 2, 1), type, not_finite);
          check(pool(6, 8, c, 3, 1, 1), type, not_finite);
          check(pool(7, 7, c, 2, 3, 0), type, not_finite);
          check(pool(4, 5, c, 4, 1, 2), type, not_finite);
        }
  }
  force_isa(before);
}
