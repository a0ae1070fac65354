// Candidates of the tiled integer convolution: what they take, their views, one candidate per instruction
// set.
#include "conv_s8_tiled.h"

namespace octavo::kernels {

std::vector<ConvPanel> conv_panels(const ConvIsa& isa, std::int64_t outputs) {
  std::vector<ConvPanel> panels;
  for (std::int64_t begin = 0; begin < outputs;) {
    const std::int64_t width = isa.max_rows[1] > 0 && outputs - begin > 16 ? 32 : 16;
    panels.push_back({begin, width});
    begin += width;
  }
  return panels;
}

std::string refuse_tiled(const ConvShape& shape, Product product) {
  if (shape.depthwise()) return "depthwise: every channel is a product of its own";
  if (product == Product::grad_weight) return {};
  const std::int64_t contracted = (product == Product::forward ? shape.c : shape.k) / shape.groups;
  if (shape.groups > 1 && contracted % 4 != 0)
    return "channels per group are not a multiple of 4: " + std::to_string(contracted);
  if (shape.r * shape.s * contracted > longest_s8_sum)
    return "sums of " + std::to_string(shape.r * shape.s * contracted) + " terms do not fit int32";
  return {};
}

bool has_dense_rows(const ConvShape& shape, Product product) {
  return product == Product::forward && shape.groups == 1 && shape.c < 4 && shape.s > 1 &&
         shape.dilation_w == 1 && shape.r * shape.s * shape.c <= most_block_channels;
}

View tiled_a_view(const ConvShape& shape, Product product) {
  if (product == Product::grad_weight) return grad_weight_planes(shape);
  return conv_rows_view(shape, product, has_dense_rows(shape, product) ? 1 : 4);
}

View tiled_b_view(const ConvShape& shape, Product product) {
  return product == Product::grad_weight ? grad_weight_quads(shape) : View{};
}

std::unique_ptr<ConvS8> make_tiled(const ConvIsa& isa, const ConvShape& shape, Product product, const View& a,
                                   const View& b) {
  if (product == Product::grad_weight) return make_grad_weight(isa, shape, a, b);
  return make_pixel_product(isa, shape, product, a);
}

namespace {

template <const ConvIsa& isa>
std::unique_ptr<ConvS8> make(const ConvShape& shape, Product product, const View& a, const View& b) {
  return make_tiled(isa, shape, product, a, b);
}

}  // namespace

extern const ConvIsa conv_isa_avx512vnni, conv_isa_avx2;
extern const ConvS8Candidate conv_s8_avx512vnni, conv_s8_avx2;
const ConvS8Candidate conv_s8_avx512vnni = {"avx512vnni/conv_s8", Isa::avx512vnni, refuse_tiled,
                                            tiled_a_view,         tiled_b_view,    make<conv_isa_avx512vnni>};
const ConvS8Candidate conv_s8_avx2 = {"avx2/conv_s8", Isa::avx2,    refuse_tiled,
                                      tiled_a_view,   tiled_b_view, make<conv_isa_avx2>};

}  // namespace octavo::kernels
