// FP32 convolutions by oneDNN, each call single-threaded on a fixed part of the batch.
#include "onednn.h"

#include <algorithm>
#include <optional>

#include "conv_f32.h"

namespace octavo::kernels {
namespace {

/// W [k, r, s, c / groups] as oneDNN names its axes.
dnnl::memory::dims weight_sizes(const ConvShape& s) {
  if (s.groups == 1) return {s.k, s.c, s.r, s.s};
  return {s.groups, s.k / s.groups, s.c / s.groups, s.r, s.s};
}

Desc plain_weights(const ConvShape& s) {
  const std::int64_t c = s.c / s.groups, filter = s.r * s.s * c;
  if (s.groups == 1) return {weight_sizes(s), f32, dnnl::memory::dims{filter, 1, s.s * c, c}};
  return {weight_sizes(s), f32, dnnl::memory::dims{s.k / s.groups * filter, filter, 1, s.s * c, c}};
}

Desc any_weights(const ConvShape& s) { return {weight_sizes(s), f32, dnnl::memory::format_tag::any}; }
Desc pixels(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) {
  return {{n, c, h, w}, f32, dnnl::memory::format_tag::nhwc};
}

/// Sizes and places of one convolution over `n` images, as the three descriptors share them.
struct Geometry {
  Geometry(const ConvShape& s, std::int64_t n)
      : x(pixels(n, s.c, s.h, s.w)),
        y(pixels(n, s.k, s.ho, s.wo)),
        bias({s.k}, f32, dnnl::memory::format_tag::a),
        strides{s.stride_h, s.stride_w},
        dilations{s.dilation_h - 1, s.dilation_w - 1},
        before{s.pad_h, s.pad_w},
        after{
            std::max<std::int64_t>(0, (s.ho - 1) * s.stride_h + (s.r - 1) * s.dilation_h + 1 - s.h - s.pad_h),
            std::max<std::int64_t>(0,
                                   (s.wo - 1) * s.stride_w + (s.s - 1) * s.dilation_w + 1 - s.w - s.pad_w)} {}
  Desc x, y, bias;
  dnnl::memory::dims strides, dilations, before, after;
};

dnnl::convolution_forward::primitive_desc forward_desc(const Geometry& g, const Desc& weights, bool with_bias,
                                                       ConvPhase phase) {
  const auto kind =
      phase == ConvPhase::training ? dnnl::prop_kind::forward_training : dnnl::prop_kind::forward_inference;
  const auto direct = dnnl::algorithm::convolution_direct;
  using Forward = dnnl::convolution_forward;
  if (with_bias)
    return describe<Forward>(user_scratchpad(), kind, direct, g.x, weights, g.bias, g.y, g.strides,
                             g.dilations, g.before, g.after);
  return describe<Forward>(user_scratchpad(), kind, direct, g.x, weights, g.y, g.strides, g.dilations,
                           g.before, g.after);
}

/// The products of one convolution over a fixed number of images. All parts of a batch read weights in the
/// order that the first one chose.
struct Part {
  std::int64_t n;
  Desc x, y, bias;
  Planned forward, forward_bias;
  std::optional<Planned> grad_input, grad_weight;
  Desc forward_weights, input_weights, weight_gradient;

  Part(const ConvShape& s, ConvPhase phase, std::int64_t images, const Part* first) : n(images) {
    const OneOpenMpThread one_thread;
    const Geometry g(s, n);
    x = g.x, y = g.y, bias = g.bias;
    const Desc any = any_weights(s);
    const auto plain = forward_desc(g, first ? first->forward_weights : any, false, phase);
    forward_weights = plain.weights_desc();
    forward = {dnnl::convolution_forward(plain), plain.scratchpad_desc()};
    const auto biased = forward_desc(g, forward_weights, true, phase);
    forward_bias = {dnnl::convolution_forward(biased), biased.scratchpad_desc()};
    if (phase == ConvPhase::evaluation) return;
    const auto direct = dnnl::algorithm::convolution_direct;
    const auto data = describe_backward<dnnl::convolution_backward_data>(
        plain, direct, g.x, first ? first->input_weights : any, g.y, g.strides, g.dilations, g.before,
        g.after);
    input_weights = data.weights_desc();
    grad_input = {dnnl::convolution_backward_data(data), data.scratchpad_desc()};
    const auto filter = describe_backward<dnnl::convolution_backward_weights>(
        plain, direct, g.x, first ? first->weight_gradient : any, g.y, g.strides, g.dilations, g.before,
        g.after);
    weight_gradient = filter.diff_weights_desc();
    grad_weight = {dnnl::convolution_backward_weights(filter), filter.scratchpad_desc()};
  }
};

std::int64_t part_count(const ConvShape& shape, ConvPhase phase) {
  return phase == ConvPhase::evaluation ? shape.n : std::min(shape.n, max_parts);
}

class OnednnConvF32 final : public ConvF32 {
 public:
  OnednnConvF32(const ConvShape& shape, ConvPhase phase)
      : shape_(shape),
        parts_(part_count(shape, phase)),
        large_(shape.n % parts_),
        small_(shape, phase, shape.n / parts_, nullptr) {
    if (large_ > 0) large_part_.emplace(shape, phase, shape.n / parts_ + 1, &small_);
  }

  std::int64_t packed_bytes(Product product) const override {
    return product == Product::grad_weight ? 0 : size_of(weights_desc(product));
  }

  void prepare_weights(Product product, const float* w, void* packed,
                       const Parallel& parallel) const override {
    parallel(1, [&](std::int64_t) { reorder(plain_weights(shape_), w, weights_desc(product), packed); });
  }

  std::int64_t scratch_bytes(Product product, bool accumulate) const override {
    return parts_ * (pad_bytes(product) + result_bytes(product, accumulate)) +
           (product == Product::grad_weight ? size_of(plain_weights(shape_)) : 0) + 64;
  }

  void forward(const float* x, const void* packed, const float* bias, float* y, void* scratch,
               const Parallel& parallel) const override {
    parallel(parts_, [&](std::int64_t i) {
      const Part& p = part(i);
      const Planned& planned = bias != nullptr ? p.forward_bias : p.forward;
      Arguments arguments{{DNNL_ARG_SRC, memory_at(p.x, x + first(i) * x_image())},
                          {DNNL_ARG_WEIGHTS, memory_at(p.forward_weights, packed)},
                          {DNNL_ARG_DST, memory_at(p.y, y + first(i) * y_image())}};
      if (bias != nullptr) arguments.emplace(DNNL_ARG_BIAS, memory_at(p.bias, bias));
      run(planned, arguments, pad(scratch, i, Product::forward));
    });
  }

  void grad_input(const float* g, const void* packed, float* dx, bool accumulate, void* scratch,
                  const Parallel& parallel) const override {
    parallel(parts_, [&](std::int64_t i) {
      const Part& p = part(i);
      float* target = dx + first(i) * x_image();
      float* out = accumulate ? result(scratch, i, Product::grad_input, true) : target;
      run(*p.grad_input,
          {{DNNL_ARG_DIFF_DST, memory_at(p.y, g + first(i) * y_image())},
           {DNNL_ARG_WEIGHTS, memory_at(p.input_weights, packed)},
           {DNNL_ARG_DIFF_SRC, memory_at(p.x, out)}},
          pad(scratch, i, Product::grad_input));
      if (accumulate)
        for (std::int64_t j = 0; j < p.n * x_image(); ++j) target[j] += out[j];
    });
  }

  void grad_weight(const float* x, const float* g, float* dw, bool accumulate, void* scratch,
                   const Parallel& parallel) const override {
    constexpr Product product = Product::grad_weight;
    parallel(parts_, [&](std::int64_t i) {
      const Part& p = part(i);
      run(*p.grad_weight,
          {{DNNL_ARG_SRC, memory_at(p.x, x + first(i) * x_image())},
           {DNNL_ARG_DIFF_DST, memory_at(p.y, g + first(i) * y_image())},
           {DNNL_ARG_DIFF_WEIGHTS, memory_at(p.weight_gradient, result(scratch, i, product, false))}},
          pad(scratch, i, product));
    });
    add_parts(scratch, parallel);
    float* joined = result(scratch, 0, product, false);
    float* plain = accumulate ? result(scratch, parts_, product, false) : dw;
    parallel(1, [&](std::int64_t) { reorder(small_.weight_gradient, joined, plain_weights(shape_), plain); });
    if (!accumulate) return;
    const std::int64_t size = shape_.k * shape_.r * shape_.s * (shape_.c / shape_.groups);
    for (std::int64_t i = 0; i < size; ++i) dw[i] += plain[i];
  }

 private:
  const Desc& weights_desc(Product product) const {
    return product == Product::forward ? small_.forward_weights : small_.input_weights;
  }
  const Part& part(std::int64_t i) const { return i < large_ ? *large_part_ : small_; }
  std::int64_t first(std::int64_t i) const { return i * small_.n + std::min(i, large_); }
  std::int64_t x_image() const { return shape_.h * shape_.w * shape_.c; }
  std::int64_t y_image() const { return shape_.ho * shape_.wo * shape_.k; }

  static std::int64_t pad_bytes(const Part& part, Product product) {
    if (product == Product::grad_input) return size_of(part.grad_input->scratchpad);
    if (product == Product::grad_weight) return size_of(part.grad_weight->scratchpad);
    return std::max(size_of(part.forward.scratchpad), size_of(part.forward_bias.scratchpad));
  }
  std::int64_t pad_bytes(Product product) const {
    const std::int64_t bytes = pad_bytes(small_, product);
    return large_part_ ? std::max(bytes, pad_bytes(*large_part_, product)) : bytes;
  }
  /// Of what one part computes before it is added to the rest.
  std::int64_t result_bytes(Product product, bool accumulate) const {
    if (product == Product::grad_weight) return size_of(small_.weight_gradient);
    return product == Product::grad_input && accumulate ? size_of((large_part_ ? *large_part_ : small_).x)
                                                        : 0;
  }
  /// Scratch: the parts' scratchpads, the parts' results, the plain weight gradient.
  char* pad(void* scratch, std::int64_t i, Product product) const {
    return aligned(scratch) + i * pad_bytes(product);
  }
  float* result(void* scratch, std::int64_t i, Product product, bool accumulate) const {
    return reinterpret_cast<float*>(pad(scratch, parts_, product) + i * result_bytes(product, accumulate));
  }

  /// Joins the parts' weight gradients into the first, in the order of parts.
  void add_parts(void* scratch, const Parallel& parallel) const {
    const auto size = static_cast<std::int64_t>(small_.weight_gradient.get_size() / sizeof(float));
    const std::int64_t chunks = (size + 16383) / 16384;
    float* sum = result(scratch, 0, Product::grad_weight, false);
    parallel(chunks, [&](std::int64_t chunk) {
      const std::int64_t end = std::min(size, (chunk + 1) * 16384);
      for (std::int64_t i = 1; i < parts_; ++i) {
        const float* other = result(scratch, i, Product::grad_weight, false);
        for (std::int64_t j = chunk * 16384; j < end; ++j) sum[j] += other[j];
      }
    });
  }

  ConvShape shape_;
  std::int64_t parts_, large_;  // the first `large_` parts have one image more
  Part small_;
  std::optional<Part> large_part_;
};

}  // namespace

extern const ConvF32Candidate onednn_conv_f32;
constexpr ConvF32Candidate onednn_conv_f32{
    "onednn/conv_f32", [](const ConvShape&, ConvPhase) { return std::string(); },
    [](const ConvShape& shape, ConvPhase phase) -> std::unique_ptr<ConvF32> {
      return std::make_unique<OnednnConvF32>(shape, phase);
    }};

}  // namespace octavo::kernels
