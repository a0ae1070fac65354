// FP32 convolution and linear layers, from a library where there is one. Tensors as in ConvShape: X [n, h, w,
// c], Y and G [n, ho, wo, k], W [k, r, s, c / groups]. Work is cut into parts fixed by sizes, so results do
// not depend on the number of threads.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "kernels.h"

namespace octavo::kernels {

/// training: parts of the batch. evaluation: forward only, one image (or row of a linear layer) computed as
/// if it were alone, so that it does not depend on the batch it comes in.
enum class ConvPhase : std::uint8_t { training, evaluation };

class ConvF32 {
 public:
  virtual ~ConvF32() = default;
  /// Bytes of W in the order that a product reads (forward, grad_input); made once per change of W.
  virtual std::int64_t packed_bytes(Product product) const = 0;
  virtual void prepare_weights(Product product, const float* weights, void* packed,
                               const Parallel&) const = 0;
  virtual std::int64_t scratch_bytes(Product product, bool accumulate) const = 0;

  /// y = conv(x, w) [+ bias per k].
  virtual void forward(const float* x, const void* packed, const float* bias, float* y, void* scratch,
                       const Parallel& parallel) const = 0;
  /// dx [+]= gradient for X.
  virtual void grad_input(const float* g, const void* packed, float* dx, bool accumulate, void* scratch,
                          const Parallel& parallel) const = 0;
  /// dw [+]= gradient for W.
  virtual void grad_weight(const float* x, const float* g, float* dw, bool accumulate, void* scratch,
                           const Parallel& parallel) const = 0;
};

struct ConvF32Candidate {
  const char* name;
  /// Empty when it can do this convolution, or the reason why not.
  std::string (*refuse)(const ConvShape&, ConvPhase);
  std::unique_ptr<ConvF32> (*make)(const ConvShape&, ConvPhase);
};
std::span<const ConvF32Candidate> conv_f32_candidates();  // library first, ref last
/// The first that does not refuse; `log` receives one line per refusal. OCTAVO_ISA=ref chooses ref.
const ConvF32Candidate& find_conv_f32(const ConvShape&, ConvPhase,
                                      const std::function<void(std::string)>& log = {});

}  // namespace octavo::kernels
