// What batch norm does for one channel between the passes of its chains: src/ops/batch_norm.cpp in the same
// order, so that equal sums give equal bits.
#pragma once

#include <cmath>

#include "host_device.h"

namespace octavo::kernels::cuda {

/// Training, forward. Pointers of the device, c values each; the chain summed y - pivot and its squares.
struct BatchNormForward {
  int channels = 1;
  double pixels = 1;
  const double *sum = nullptr, *squares = nullptr;
  const float* minus_pivot = nullptr;
  const float *gamma = nullptr, *beta = nullptr;
  double eps = 1e-5;
  float momentum = 0.1f;
  float *mean = nullptr, *r = nullptr;                    // of the batch, for the backward pass
  float *running_mean = nullptr, *running_var = nullptr;  // updated; null where the forward pass runs again
  float *a = nullptr, *b = nullptr;                       // z = a y + b
};

/// The forward pass again, with what it saved.
struct BatchNormRepeated {
  int channels = 1;
  const float *gamma = nullptr, *beta = nullptr, *mean = nullptr, *r = nullptr;
  float *a = nullptr, *b = nullptr;
};

/// Evaluation.
struct BatchNormEvaluation {
  int channels = 1;
  const float *gamma = nullptr, *beta = nullptr, *running_mean = nullptr, *running_var = nullptr;
  double eps = 1e-5;
  float *a = nullptr, *b = nullptr;
};

/// Backward: the chain summed dz and dz (y - mean).
struct BatchNormBackward {
  int channels = 1;
  double pixels = 1;
  const double *sum = nullptr, *products = nullptr;
  const float *gamma = nullptr, *mean = nullptr, *r = nullptr;
  const float* a = nullptr;                           // gamma r
  float *b = nullptr, *d = nullptr;                   // dy = a dz + b y + d
  float* margin = nullptr;                            // of the other terms for scales per sample; or null
  float *grad_gamma = nullptr, *grad_beta = nullptr;  // or null
  bool accumulate = false;
};

OCTAVO_HD inline void finish_channel(const BatchNormForward& f, int i) {
  const double shifted = f.sum[i] / f.pixels, squares = f.squares[i] / f.pixels - shifted * shifted;
  const double variance = squares > 0 ? squares : 0;
  const auto mean = static_cast<float>(shifted - f.minus_pivot[i]);
  const auto r = static_cast<float>(1 / sqrt(variance + f.eps));
  f.mean[i] = mean, f.r[i] = r;
  if (f.running_mean != nullptr) {
    const double unbias = f.pixels > 1 ? f.pixels / (f.pixels - 1) : 1;
    f.running_mean[i] += f.momentum * (mean - f.running_mean[i]);
    f.running_var[i] += f.momentum * (static_cast<float>(variance * unbias) - f.running_var[i]);
  }
  f.a[i] = f.gamma[i] * r;
  f.b[i] = f.beta[i] - mean * f.a[i];
}

OCTAVO_HD inline void finish_channel(const BatchNormRepeated& f, int i) {
  f.a[i] = f.gamma[i] * f.r[i];
  f.b[i] = f.beta[i] - f.mean[i] * f.a[i];
}

OCTAVO_HD inline void finish_channel(const BatchNormEvaluation& e, int i) {
  e.a[i] = e.gamma[i] * static_cast<float>(1 / sqrt(e.running_var[i] + e.eps));
  e.b[i] = e.beta[i] - e.running_mean[i] * e.a[i];
}

OCTAVO_HD inline void finish_channel(const BatchNormBackward& g, int i) {
  const double beta = g.sum[i], gamma = g.r[i] * g.products[i], a = g.a[i], mean = g.mean[i];
  const double slope =
      -static_cast<double>(g.gamma[i]) * g.r[i] * g.r[i] * gamma / g.pixels;  // of (y - mean)
  g.b[i] = static_cast<float>(slope);
  g.d[i] = static_cast<float>(-a * beta / g.pixels - slope * mean);
  if (g.margin != nullptr)
    g.margin[i] = static_cast<float>(fabs(a * beta / g.pixels) + 3 * fabs(slope) / g.r[i]);
  if (g.grad_gamma == nullptr) return;
  g.grad_gamma[i] = static_cast<float>(gamma) + (g.accumulate ? g.grad_gamma[i] : 0);
  g.grad_beta[i] = static_cast<float>(beta) + (g.accumulate ? g.grad_beta[i] : 0);
}

}  // namespace octavo::kernels::cuda
