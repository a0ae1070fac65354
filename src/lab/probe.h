// The probe: what a policy's integer products of one layer make of given tensors, against FP32 products of
// the same tensors. The integer path is the one that training runs: slots, controller, kernels.
#pragma once

#include <array>
#include <optional>

#include "exec/runtime.h"
#include "octavo/config.h"
#include "octavo/op.h"
#include "precision/slots.h"

namespace octavo {

/// Operands of a layer in one step: X [n, h, w, c], W [k, r, s, c / groups], G [n, ho, wo, k].
struct LayerTensors {
  LayerInfo info;
  ProductShape shape;
  const float *x = nullptr, *w = nullptr, *g = nullptr;
  bool x_non_negative = false;
};

/// Products in FP32, by LayerProduct.
struct LayerReference {
  std::array<std::vector<float>, 3> products;
};
LayerReference reference_products(Runtime& runtime, const LayerTensors& layer);

/// Of q against f: 1 - cos(q, f), and |<q, f> / <f, f> - 1|.
struct ProductError {
  double cosine_distance = 0, gain_error = 0;
};
ProductError product_error(std::span<const float> q, std::span<const float> f);

struct LayerErrors {
  std::array<std::optional<ProductError>, 3> products;  // empty: the policy leaves this product in float
  std::array<int, 3> bits{};  // width of W, X, G where they differ by slot: the widest
  double learning_rate_factor = 1;
};

/// The policy sees the step once with the maxima at hand, decides, and then its products are measured: no
/// delay between statistics and use, whatever the policy's period.
LayerErrors probe_layer(Runtime& runtime, const PrecisionSettings& settings, const LayerTensors& layer,
                        const LayerReference& reference);

}  // namespace octavo
