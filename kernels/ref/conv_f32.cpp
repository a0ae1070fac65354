// FP32 convolutions in plain loops, and the list of what can do them.
#include "conv_f32.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>

#include "conv_loops.h"

namespace octavo::kernels {

extern const ConvF32Candidate onednn_linear_f32, onednn_conv_f32;

namespace {

class RefConvF32 final : public ConvF32 {
 public:
  explicit RefConvF32(const ConvShape& shape) : shape_(shape) {}

  std::int64_t packed_bytes(Product product) const override {
    return product == Product::grad_weight ? 0 : weights() * static_cast<std::int64_t>(sizeof(float));
  }
  void prepare_weights(Product product, const float* w, void* packed, const Parallel&) const override {
    std::memcpy(packed, w, static_cast<std::size_t>(packed_bytes(product)));
  }
  std::int64_t scratch_bytes(Product, bool) const override { return 0; }

  void forward(const float* x, const void* packed, const float* bias, float* y, void*,
               const Parallel& parallel) const override {
    const auto* w = static_cast<const float*>(packed);
    parallel(shape_.n, [&](std::int64_t m) { conv_forward_loops(shape_, m, x, w, bias, y); });
  }

  void grad_input(const float* g, const void* packed, float* dx, bool accumulate, void*,
                  const Parallel& parallel) const override {
    const auto* w = static_cast<const float*>(packed);
    const std::int64_t image = shape_.h * shape_.w * shape_.c;
    parallel(shape_.n, [&](std::int64_t m) {
      if (!accumulate) std::fill_n(dx + m * image, image, 0.0f);
      conv_grad_input_loops(shape_, m, g, w, dx);
    });
  }

  void grad_weight(const float* x, const float* g, float* dw, bool accumulate, void*,
                   const Parallel& parallel) const override {
    const std::int64_t filter = weights() / shape_.k;
    parallel(shape_.k, [&](std::int64_t k) {
      if (!accumulate) std::fill_n(dw + k * filter, filter, 0.0f);
      conv_grad_weight_loops(shape_, k, x, g, dw);
    });
  }

 private:
  std::int64_t weights() const { return shape_.k * shape_.r * shape_.s * (shape_.c / shape_.groups); }
  ConvShape shape_;
};

constexpr ConvF32Candidate ref_conv_f32{"ref/conv_f32",
                                        [](const ConvShape&, ConvPhase) { return std::string(); },
                                        [](const ConvShape& shape, ConvPhase) -> std::unique_ptr<ConvF32> {
                                          return std::make_unique<RefConvF32>(shape);
                                        }};

}  // namespace

std::span<const ConvF32Candidate> conv_f32_candidates() {
  static const std::array candidates = {onednn_linear_f32, onednn_conv_f32, ref_conv_f32};
  return candidates;
}

const ConvF32Candidate& find_conv_f32(const ConvShape& shape, ConvPhase phase,
                                      const std::function<void(std::string)>& log) {
  const auto candidates = conv_f32_candidates();
  for (const ConvF32Candidate& candidate : candidates) {
    if (active_isa() == Isa::ref && &candidate != &candidates.back()) continue;
    const std::string reason = candidate.refuse(shape, phase);
    if (reason.empty()) return candidate;
    if (log) log(std::string(candidate.name) + ": " + reason);
  }
  throw std::logic_error("no FP32 convolution for this shape");
}

}  // namespace octavo::kernels
