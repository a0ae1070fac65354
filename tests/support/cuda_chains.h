// Drawn chains for the CUDA backend, and what kernels/ref makes of them. `Memory` is that of the host, for
// kernel sources that run there, or of a device: put(vector), set(pointer, vector), get(pointer, count).
#pragma once

#include <cmath>
#include <limits>
#include <memory>

#include "cuda/chain_checks.h"
#include "precision/statistics.h"
#include "support/cuda_operands.h"

namespace octavo::kernels::test {

class HostMemory {
 public:
  template <class T>
  T* put(const std::vector<T>& values) {
    const std::size_t bytes = values.size() * sizeof(T);
    pieces_.push_back(std::make_unique<char[]>(bytes + 16));
    char* start = pieces_.back().get();
    start += (16 - reinterpret_cast<std::uintptr_t>(start) % 16) % 16;
    if (bytes > 0) std::memcpy(start, values.data(), bytes);
    return reinterpret_cast<T*>(start);
  }
  template <class T>
  void set(const T* to, const std::vector<T>& values) {
    std::copy(values.begin(), values.end(), const_cast<T*>(to));
  }
  template <class T>
  std::vector<T> get(const T* from, std::size_t count) {
    return std::vector<T>(from, from + count);
  }

 private:
  std::vector<std::unique_ptr<char[]>> pieces_;
};

struct ChainCase {
  cu::ImageLayout layout;
  std::vector<StepKind> kinds;
  unsigned seed = 1, step = 1;         // another step: other scales and random numbers
  bool has_x = true, hostile = false;  // hostile: Inf and NaN among the values
  bool in_place = false;               // stores go over x
  std::vector<std::uint8_t> given_x;   // as it is stored; else drawn
  FloatType x_type = FloatType::f32, other_type = FloatType::f32, out_type = FloatType::f32;
  bool pixel = false, batch = false;  // copies
  int planes = 1;
  bool stochastic = false, is_unsigned = false;
  Grid grid = Grid::every;
  Granularity granularity = Granularity::tensor;
  bool want_max = false;
  Granularity max_granularity = Granularity::tensor;
  bool histogram = false, channels = false, reach = false;

  bool has(StepKind kind) const { return std::count(kinds.begin(), kinds.end(), kind) > 0; }
  bool quantizes() const { return pixel || batch; }
  std::size_t elements() const { return static_cast<std::size_t>(cu::pixels_of(layout) * layout.c); }
  std::size_t count_of(Granularity by) const {
    return static_cast<std::size_t>(by == Granularity::tensor    ? 1
                                    : by == Granularity::channel ? layout.c
                                                                 : layout.n);
  }
  float qmax() const {
    if (grid == Grid::flagged) return 16256.0F;
    return is_unsigned ? 255.0F : static_cast<float>(largest_integer(planes));
  }
};

inline std::string describe(const ChainCase& c) {
  std::ostringstream out;
  out << c.layout.n << "x" << c.layout.h << "x" << c.layout.w << "x" << c.layout.c << " groups "
      << c.layout.groups << " seed " << c.seed << " steps";
  for (StepKind kind : c.kinds) out << " " << static_cast<int>(kind);
  out << " copies " << c.pixel << c.batch << " planes " << c.planes << " grid " << static_cast<int>(c.grid)
      << " max " << c.want_max << static_cast<int>(c.max_granularity) << " look " << c.histogram << c.channels
      << c.reach;
  return out.str();
}

/// Which operands a step has, and its limits.
struct StepChoice {
  bool a, b, d, x;
  float lo, hi;
  StepChoice(const ChainCase& c, std::size_t step) {
    std::mt19937 generator(c.seed * 131 + static_cast<unsigned>(step));
    const auto mostly = [&] { return generator() % 4 != 0; };
    a = mostly(), b = mostly(), d = mostly(), x = mostly();
    const StepKind kind = c.kinds[step];
    lo = kind == StepKind::drop ? 0.25F : kind == StepKind::keep_where ? -0.5F : 0.0F;
    hi = kind == StepKind::drop ? 4.0F / 3 : 1.25F;
  }
};

struct ChainOperands {
  std::vector<std::uint8_t> x, other, bits;  // floats as they are stored
  std::vector<float> a, b, d, inverse;
  cu::Draws drops, rounding;

  explicit ChainOperands(const ChainCase& c) {
    const auto size = static_cast<std::int64_t>(c.elements());
    std::vector<float> values = draw_floats(size, c.seed, -2, 2);
    constexpr float infinity = std::numeric_limits<float>::infinity();
    const float specials[] = {0.0F, -0.0F, 1e-41F, infinity, -infinity, NAN, 3e38F, 127.5F};
    for (std::size_t i = 0; c.hostile && i < values.size(); i += 3) values[i] = specials[i / 3 % 8];
    x = c.given_x.empty() ? stored_as(values, c.x_type) : c.given_x;
    other = stored_as(draw_floats(size, c.seed + 1, -2, 2), c.other_type);
    std::mt19937 generator(c.seed + 2);
    bits.resize((c.elements() + 7) / 8);
    for (std::uint8_t& byte : bits) byte = static_cast<std::uint8_t>(generator());
    a = draw_floats(c.layout.c, c.seed + 3, -2, 2), b = draw_floats(c.layout.c, c.seed + 4, -2, 2);
    d = draw_floats(c.layout.c, c.seed + 5, -2, 2);
    inverse = draw_floats(std::max(c.layout.n, c.layout.c), c.seed + 6, 0.2F * c.qmax(), 0.6F * c.qmax());
    for (float& scale : inverse) scale /= static_cast<float>(c.step);
    drops = {random_key(c.seed, c.step, 6), 0xFFFFFFF0ULL};  // 32-bit indices start again
    rounding = {random_key(c.seed, c.step, 8), (std::uint64_t{5} << 33) - 77};
  }
};

struct ChainOutcome {
  std::vector<std::vector<std::uint8_t>> stored, bits;
  Bytes pixel, batch;
  std::vector<std::uint32_t> max_bits, channel_counts;
  std::vector<double> sum_v, sum_vx;
  std::vector<float> reach;
  QuantizeStats stats;
  MagnitudeHistogram histogram;
};

/// Every NaN becomes the same: their bits are not promised.
inline void join_nans(const ChainCase& c, ChainOutcome& outcome) {
  for (std::vector<std::uint8_t>& bytes : outcome.stored) {
    const FloatTarget values(bytes.data(), c.out_type);
    for (std::size_t i = 0; c.hostile && i < c.elements(); ++i)
      if (std::isnan(FloatSource(values)[static_cast<std::int64_t>(i)]))
        values.set(static_cast<std::int64_t>(i), std::numeric_limits<float>::quiet_NaN());
  }
  for (std::vector<double>* sums : {&outcome.sum_v, &outcome.sum_vx})
    for (double& sum : *sums)
      if (std::isnan(sum)) sum = 1e300;
  outcome.stats.max_bits = std::min(outcome.stats.max_bits, 0x7F800001U);
}

inline void check_equal(const ChainOutcome& found, const ChainOutcome& expected) {
  REQUIRE(found.stored.size() == expected.stored.size());
  for (std::size_t i = 0; i < found.stored.size(); ++i)
    CHECK(first_difference(found.stored[i], expected.stored[i]) == none);
  for (std::size_t i = 0; i < found.bits.size(); ++i)
    CHECK(first_difference(found.bits[i], expected.bits[i]) == none);
  CHECK(first_difference(found.pixel, expected.pixel) == none);
  CHECK(first_difference(found.batch, expected.batch) == none);
  CHECK(first_difference(found.max_bits, expected.max_bits) == none);
  CHECK(first_difference(found.sum_v, expected.sum_v) == none);
  CHECK(first_difference(found.sum_vx, expected.sum_vx) == none);
  CHECK(found.stats.max_bits == expected.stats.max_bits);
  CHECK(found.stats.saturated == expected.stats.saturated);
  CHECK(found.stats.sum_square == expected.stats.sum_square);
  CHECK(first_difference(found.histogram.counts, expected.histogram.counts) == none);
  CHECK(first_difference(found.histogram.sums, expected.histogram.sums) == none);
  CHECK(first_difference(found.channel_counts, expected.channel_counts) == none);
  CHECK(first_difference(found.reach, expected.reach) == none);
}

}  // namespace octavo::kernels::test
