// The meaning of the three integer products of a convolution: plain loops over plain tensors, sums of one
// pair of planes in int64.
#include <cstring>

#include "pixel_blocks.h"
#include "sum_levels.h"

namespace octavo::kernels {
namespace {

View view_of_x(const ConvShape& shape) { return {.n = shape.n, .h = shape.h, .w = shape.w, .c = shape.c}; }
View view_of_y(const ConvShape& shape) { return {.n = shape.n, .h = shape.ho, .w = shape.wo, .c = shape.k}; }

class ReferenceConvS8 final : public ConvS8 {
 public:
  ReferenceConvS8(const ConvShape& shape, Product product, bool a_unsigned)
      : shape_(shape), product_(product), a_unsigned_(a_unsigned) {}

  std::int64_t packed_bytes() const override {
    return product_ == Product::grad_weight ? 0 : shape_.k * shape_.r * shape_.s * (shape_.c / shape_.groups);
  }

  void pack(const std::int8_t* weights, void* packed, const Parallel& parallel) const override {
    if (product_ == Product::grad_weight) return ConvS8::pack(weights, packed, parallel);
    std::memcpy(packed, weights, static_cast<std::size_t>(packed_bytes()));
  }

  void run(const ConvArgs& args, const Parallel& parallel) const override {
    const auto* a = static_cast<const std::int8_t*>(args.a);
    const auto* b = static_cast<const std::int8_t*>(args.b);
    switch (product_) {
      case Product::forward:
        return parallel(shape_.n * shape_.ho, [&](std::int64_t row) { forward_row(a, b, args, row); });
      case Product::grad_input:
        return parallel(shape_.n * shape_.h, [&](std::int64_t row) { grad_input_row(a, b, args, row); });
      case Product::grad_weight:
        if (args.sample_class) check_classes(args.sample_class, shape_.n);
        return parallel(shape_.k, [&](std::int64_t k) { grad_weight_channel(a, b, args, k); });
    }
  }

  /// The sum over pairs of planes of sum(plane of A, plane of B), at their places.
  template <typename Sum>
  Int128 join_planes(const std::int8_t* a, const std::int8_t* b, const ConvArgs& args, const Sum& sum) const {
    const std::int64_t a_stride =
        plane_stride(product_ == Product::grad_input ? view_of_y(shape_) : view_of_x(shape_));
    const std::int64_t b_stride =
        product_ == Product::grad_weight ? plane_stride(view_of_y(shape_)) : packed_stride();
    Int128 total = 0;
    for (int i = 0; i < args.a_planes; ++i)
      for (int j = 0; j < args.b_planes; ++j)
        total += Int128{sum(a + i * a_stride, b + j * b_stride)} << (8 * (i + j));
    return total;
  }

 private:
  std::int64_t data(std::int8_t x) const { return a_unsigned_ ? static_cast<std::uint8_t>(x) : x; }
  std::int64_t x_index(std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c) const {
    return ((n * shape_.h + h) * shape_.w + w) * shape_.c + c;
  }
  std::int64_t y_index(std::int64_t n, std::int64_t i, std::int64_t j, std::int64_t k) const {
    return ((n * shape_.ho + i) * shape_.wo + j) * shape_.k + k;
  }
  std::int64_t w_index(std::int64_t k, std::int64_t r, std::int64_t s, std::int64_t c) const {
    return ((k * shape_.r + r) * shape_.s + s) * (shape_.c / shape_.groups) + c;
  }

  /// Calls visit(r, s, h, w) for every tap of output pixel (i, j) that reads the image.
  template <typename Visit>
  void visit_taps(std::int64_t i, std::int64_t j, Visit visit) const {
    for (std::int64_t r = 0; r < shape_.r; ++r)
      for (std::int64_t s = 0; s < shape_.s; ++s) {
        const std::int64_t h = i * shape_.stride_h + r * shape_.dilation_h - shape_.pad_h;
        const std::int64_t w = j * shape_.stride_w + s * shape_.dilation_w - shape_.pad_w;
        if (h >= 0 && h < shape_.h && w >= 0 && w < shape_.w) visit(r, s, h, w);
      }
  }

  void forward_row(const std::int8_t* x, const std::int8_t* weights, const ConvArgs& args,
                   std::int64_t row) const {
    const std::int64_t n = row / shape_.ho, i = row % shape_.ho;
    for (std::int64_t j = 0; j < shape_.wo; ++j)
      for (std::int64_t k = 0; k < shape_.k; ++k) {
        const Int128 sum = join_planes(x, weights, args, [&](const std::int8_t* a, const std::int8_t* b) {
          return forward_sum(a, b, n, i, j, k);
        });
        store_sum(args, y_index(n, i, j, k), 0, ClassSums<Int128>{sum}, n, k,
                  args.bias ? &args.bias[k] : nullptr);
      }
  }

  std::int64_t forward_sum(const std::int8_t* x, const std::int8_t* weights, std::int64_t n, std::int64_t i,
                           std::int64_t j, std::int64_t k) const {
    const std::int64_t cg = shape_.c / shape_.groups, first = k / (shape_.k / shape_.groups) * cg;
    std::int64_t sum = 0;
    visit_taps(i, j, [&](std::int64_t r, std::int64_t s, std::int64_t h, std::int64_t w) {
      for (std::int64_t c = 0; c < cg; ++c)
        sum += data(x[x_index(n, h, w, first + c)]) * weights[w_index(k, r, s, c)];
    });
    return sum;
  }

  void grad_input_row(const std::int8_t* g, const std::int8_t* weights, const ConvArgs& args,
                      std::int64_t row) const {
    const std::int64_t n = row / shape_.h, h = row % shape_.h;
    for (std::int64_t w = 0; w < shape_.w; ++w)
      for (std::int64_t c = 0; c < shape_.c; ++c) {
        const Int128 sum = join_planes(g, weights, args, [&](const std::int8_t* a, const std::int8_t* b) {
          return grad_input_sum(a, b, n, h, w, c);
        });
        store_sum(args, x_index(n, h, w, c), 0, ClassSums<Int128>{sum}, n, c);
      }
  }

  std::int64_t grad_input_sum(const std::int8_t* g, const std::int8_t* weights, std::int64_t n,
                              std::int64_t h, std::int64_t w, std::int64_t c) const {
    const std::int64_t cg = shape_.c / shape_.groups, kg = shape_.k / shape_.groups, first = c / cg * kg;
    std::int64_t sum = 0;
    for (std::int64_t r = 0; r < shape_.r; ++r)
      for (std::int64_t s = 0; s < shape_.s; ++s) {
        const std::int64_t i = h + shape_.pad_h - r * shape_.dilation_h;
        const std::int64_t j = w + shape_.pad_w - s * shape_.dilation_w;
        if (i < 0 || j < 0 || i % shape_.stride_h || j % shape_.stride_w) continue;
        if (i / shape_.stride_h >= shape_.ho || j / shape_.stride_w >= shape_.wo) continue;
        for (std::int64_t k = first; k < first + kg; ++k)
          sum += std::int64_t{g[y_index(n, i / shape_.stride_h, j / shape_.stride_w, k)]} *
                 weights[w_index(k, r, s, c % cg)];
      }
    return sum;
  }

  void grad_weight_channel(const std::int8_t* x, const std::int8_t* g, const ConvArgs& args,
                           std::int64_t k) const {
    const std::int64_t cg = shape_.c / shape_.groups, first = k / (shape_.k / shape_.groups) * cg;
    for (std::int64_t r = 0; r < shape_.r; ++r)
      for (std::int64_t s = 0; s < shape_.s; ++s)
        for (std::int64_t c = 0; c < cg; ++c) {
          const std::int64_t index = w_index(k, r, s, c), filters = shape_.k * shape_.r * shape_.s * cg;
          store_sum(args, index, filters + index, grad_weight_sums(x, g, args, k, r, s, first + c), first + c,
                    k);
        }
  }

  ClassSums<Int128> grad_weight_sums(const std::int8_t* x, const std::int8_t* g, const ConvArgs& args,
                                     std::int64_t k, std::int64_t r, std::int64_t s, std::int64_t c) const {
    ClassSums<Int128> sums;
    for (std::int64_t n = 0; n < shape_.n; ++n) {
      const Int128 sum = join_planes(x, g, args, [&](const std::int8_t* a, const std::int8_t* b) {
        return grad_weight_sum(a, b, n, k, r, s, c);
      });
      const int sample_class = args.sample_class ? args.sample_class[n] : 0;
      (sample_class % 2 == 0 ? sums.even : sums.odd) += sum << (sample_class / 2);
    }
    return sums;
  }

  /// Of sample n.
  std::int64_t grad_weight_sum(const std::int8_t* x, const std::int8_t* g, std::int64_t n, std::int64_t k,
                               std::int64_t r, std::int64_t s, std::int64_t c) const {
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < shape_.ho; ++i)
      for (std::int64_t j = 0; j < shape_.wo; ++j) {
        const std::int64_t h = i * shape_.stride_h + r * shape_.dilation_h - shape_.pad_h;
        const std::int64_t w = j * shape_.stride_w + s * shape_.dilation_w - shape_.pad_w;
        if (h >= 0 && h < shape_.h && w >= 0 && w < shape_.w)
          sum += data(x[x_index(n, h, w, c)]) * g[y_index(n, i, j, k)];
      }
    return sum;
  }

  ConvShape shape_;
  Product product_;
  bool a_unsigned_;
};

std::string refuse(const ConvShape&, Product) { return {}; }
View a_view(const ConvShape& shape, Product product) {
  return product == Product::grad_input ? view_of_y(shape) : view_of_x(shape);
}
View b_view(const ConvShape& shape, Product product) {
  return product == Product::grad_weight ? view_of_y(shape) : View{};
}
std::unique_ptr<ConvS8> make(const ConvShape& shape, Product product, const View& a, const View&) {
  return std::make_unique<ReferenceConvS8>(shape, product, a.zero == 0);
}

}  // namespace

extern const ConvS8Candidate conv_s8_ref;
const ConvS8Candidate conv_s8_ref = {"ref/conv_s8", Isa::ref, refuse, a_view, b_view, make};

}  // namespace octavo::kernels
