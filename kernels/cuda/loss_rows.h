// Softmax with cross entropy: its sizes and the arithmetic of a row.
#pragma once

#include "host_device.h"

namespace octavo::kernels::cuda {

constexpr int loss_threads = 128;
constexpr unsigned no_bad_sample = ~0u;  // what the kernel finds before it

/// Logits [rows, classes]; labels of the device.
struct LossRows {
  int rows = 1, classes = 1;
  const std::int64_t* labels = nullptr;
  double label_smoothing = 0;

  /// -sum q log p of a row: `label` and `all` are its label's logit and all of them, less the largest.
  OCTAVO_HD constexpr double row_loss(double log_sum, double label, double all) const {
    return log_sum - (1 - label_smoothing) * label - label_smoothing * all / classes;
  }
  /// q of a class.
  OCTAVO_HD constexpr float target(int row, int k) const {
    const auto smoothing = static_cast<float>(label_smoothing);
    return (k == labels[row] ? 1 - smoothing : 0) + smoothing / static_cast<float>(classes);
  }
};

}  // namespace octavo::kernels::cuda
