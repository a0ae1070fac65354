// FP32 products of a device: cases, their results in double, and memory with NaN around it.
#pragma once

#include <cmath>
#include <limits>

#include "cuda/conv_f32.h"
#include "support/cuda_device.h"
#include "support/cuda_operands.h"
#include "support/draw.h"

namespace octavo::kernels::test {

inline constexpr std::size_t guard = 64;
inline constexpr float poison = std::numeric_limits<float>::quiet_NaN();

/// Values of the device with NaN before and behind them.
class Guarded {
 public:
  explicit Guarded(const std::vector<float>& values) : count_(values.size()), memory_(surrounded(values)) {}
  explicit Guarded(std::int64_t count)
      : Guarded(std::vector<float>(static_cast<std::size_t>(count), poison)) {}
  float* data() { return memory_.data() + guard; }
  /// The values, after a look at what is around them.
  std::vector<float> values() const {
    const std::vector<float> all = memory_.values();
    std::size_t written = 0;
    for (std::size_t i = 0; i < guard; ++i)
      written += static_cast<std::size_t>(!std::isnan(all[i])) +
                 static_cast<std::size_t>(!std::isnan(all[guard + count_ + i]));
    CHECK(written == 0);
    return {all.begin() + guard, all.end() - guard};
  }

 private:
  static std::vector<float> surrounded(const std::vector<float>& values) {
    std::vector<float> all(values.size() + 2 * guard, poison);
    std::copy(values.begin(), values.end(), all.begin() + guard);
    return all;
  }
  std::size_t count_;
  DeviceArray<float> memory_;
};

struct F32Case {
  ConvShape shape;
  Product product;
  cu::ConvF32Options options;
  bool integers = false, bias = false, accumulate = false;
};

/// Floats, or integers whose sums FP32 holds exactly in any order.
inline std::vector<float> f32_operand(std::int64_t count, unsigned seed, bool integers) {
  std::vector<float> values = octavo::test::normal_floats(count, seed, 0, 2);
  if (integers)
    for (float& v : values) v = std::round(v);
  return values;
}

/// body(x, w, y) for every product of a convolution, as elements of the three tensors.
template <class Body>
void each_f32_product(const ConvShape& s, const Body& body) {
  const std::int64_t inputs = s.c / s.groups, filters = s.k / s.groups;
  for (std::int64_t n = 0; n < s.n; ++n)
    for (std::int64_t i = 0; i < s.ho; ++i)
      for (std::int64_t j = 0; j < s.wo; ++j)
        for (std::int64_t k = 0; k < s.k; ++k)
          for (std::int64_t r = 0; r < s.r; ++r)
            for (std::int64_t q = 0; q < s.s; ++q) {
              const std::int64_t h = i * s.stride_h - s.pad_h + r * s.dilation_h;
              const std::int64_t w = j * s.stride_w - s.pad_w + q * s.dilation_w;
              if (h < 0 || h >= s.h || w < 0 || w >= s.w) continue;
              const std::int64_t x = ((n * s.h + h) * s.w + w) * s.c + k / filters * inputs;
              for (std::int64_t c = 0; c < inputs; ++c)
                body(static_cast<std::size_t>(x + c),
                     static_cast<std::size_t>(((k * s.r + r) * s.s + q) * inputs + c),
                     static_cast<std::size_t>(((n * s.ho + i) * s.wo + j) * s.k + k));
            }
}

/// What a case takes, and its results in double.
struct F32Results {
  std::vector<float> a, b, bias, start;
  std::vector<double> sum, magnitude;
  std::vector<int> terms;

  explicit F32Results(const F32Case& c) {
    const ConvShape& s = c.shape;
    const std::int64_t elements[] = {y_elements(s), x_elements(s), w_elements(s)};
    const std::int64_t results = elements[static_cast<int>(c.product)];
    a = f32_operand(c.product == Product::grad_input ? y_elements(s) : x_elements(s), 1, c.integers);
    b = f32_operand(c.product == Product::grad_weight ? y_elements(s) : w_elements(s), 2, c.integers);
    bias = f32_operand(s.k, 3, c.integers), start = f32_operand(results, 4, c.integers);
    sum.resize(start.size()), magnitude.resize(start.size()), terms.resize(start.size());
    each_f32_product(s, [&](std::size_t x, std::size_t w, std::size_t y) {
      if (c.product == Product::forward) add(y, a[x], b[w]);
      if (c.product == Product::grad_input) add(x, a[y], b[w]);
      if (c.product == Product::grad_weight) add(w, a[x], b[y]);
    });
    for (std::size_t i = 0; i < sum.size(); ++i) {
      if (c.bias) add(i, bias[i % bias.size()], 1);
      if (c.accumulate) add(i, start[i], 1);
    }
  }
  void add(std::size_t at, double left, double right) {
    sum[at] += left * right, magnitude[at] += std::abs(left * right), ++terms[at];
  }
  /// `none`, or the first result beyond the bound: rounding errors of a sum, whose signs are random. Integers
  /// are exact. `input_error`: relative, of products whose operands are rounded.
  std::string compare(const std::vector<float>& found, bool integers, double input_error = 0) const {
    for (std::size_t i = 0; i < found.size(); ++i) {
      const double bound = integers ? 0 : (2 * std::sqrt(terms[i]) * 0x1p-24 + input_error) * magnitude[i];
      if (std::abs(found[i] - sum[i]) <= bound) continue;
      std::ostringstream text;
      text << "result " << i << " of " << found.size() << ": " << found[i] << ", expected " << sum[i]
           << " within " << bound;
      return text.str();
    }
    return none;
  }
};

}  // namespace octavo::kernels::test
