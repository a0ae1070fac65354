// Range batch normalization in the order of src/ops/range_batch_norm.cpp, so that it has the CPU's bits: what
// one channel does in one chunk of rows, and between the passes.
#pragma once

#include "host_device.h"

namespace octavo::kernels::cuda {

/// Rows of `channels` values, cut into chunks. Results of chunks are [chunk, channel].
struct RowChunks {
  std::int64_t rows = 1;
  int channels = 1, chunks = 1;

  OCTAVO_HD constexpr std::int64_t begin(std::int64_t chunk) const { return rows * chunk / chunks; }
  OCTAVO_HD constexpr std::int64_t results() const { return std::int64_t{chunks} * channels; }
};

/// Forward: sums of chunks, and the rows of their largest and smallest values, the first of equal ones.
struct RangeNormLook {
  RowChunks of;
  const float* x = nullptr;
  double* sum = nullptr;
  std::int64_t *top = nullptr, *bottom = nullptr;
};

/// Backward: sums of dz and dz (y - mean) of chunks.
struct RangeNormGradientLook {
  RowChunks of;
  const float *x = nullptr, *dz = nullptr, *mean = nullptr;
  double *sum = nullptr, *product = nullptr;
};

/// Training, forward, by channel. z = a (y + minus_mean) + beta.
struct RangeNormForward {
  int channels = 1;
  RangeNormLook looked;
  double factor = 1, eps = 1e-5;
  float momentum = 0.1f;
  const float* gamma = nullptr;
  float *mean = nullptr, *r = nullptr;                          // for the backward pass
  float *running_mean = nullptr, *running_deviation = nullptr;  // updated; null where the pass runs again
  float *minus_mean = nullptr, *a = nullptr;
};

/// The forward pass again, with what it saved.
struct RangeNormRepeated {
  int channels = 1;
  const float *gamma = nullptr, *mean = nullptr, *r = nullptr;
  float *minus_mean = nullptr, *a = nullptr;
};

struct RangeNormEvaluation {
  int channels = 1;
  double eps = 1e-5;
  const float *gamma = nullptr, *running_mean = nullptr, *running_deviation = nullptr;
  float *minus_mean = nullptr, *a = nullptr;
};

/// Backward by channel: dy = a dz + d, and -+ slope at the extremes of chunks.
struct RangeNormBackward {
  int channels = 1;
  RangeNormGradientLook looked;
  double factor = 1;
  const float *gamma = nullptr, *r = nullptr;
  float *a = nullptr, *d = nullptr, *slope = nullptr;
  float *grad_gamma = nullptr, *grad_beta = nullptr;  // or null
  bool accumulate = false;
};

/// dy at the extremes.
struct RangeNormExtremes {
  RowChunks of;
  const std::int64_t *top = nullptr, *bottom = nullptr;
  const float* slope = nullptr;
  float* dx = nullptr;
};

OCTAVO_HD inline void look_at_chunk(const RangeNormLook& look, std::int64_t at) {
  const std::int64_t c = look.of.channels, chunk = at / c, k = at % c, first = look.of.begin(chunk);
  double sum = 0;
  float largest = look.x[first * c + k], smallest = largest;
  std::int64_t top = first, bottom = first;
#pragma unroll 8
  for (std::int64_t row = first; row < look.of.begin(chunk + 1); ++row) {
    const float v = look.x[row * c + k];
    sum += v;
    if (v > largest) largest = v, top = row;
    if (v < smallest) smallest = v, bottom = row;
  }
  look.sum[at] = sum, look.top[at] = top, look.bottom[at] = bottom;
}

OCTAVO_HD inline void look_at_chunk(const RangeNormGradientLook& look, std::int64_t at) {
  const std::int64_t c = look.of.channels, chunk = at / c, k = at % c;
  const float mean = look.mean[k];
  double sum = 0, product = 0;
#pragma unroll 8
  for (std::int64_t row = look.of.begin(chunk); row < look.of.begin(chunk + 1); ++row) {
    const float dz = look.dz[row * c + k];
    sum += dz;
    product += static_cast<double>(dz) * (look.x[row * c + k] - mean);
  }
  look.sum[at] = sum, look.product[at] = product;
}

OCTAVO_HD inline float inverse_deviation(double deviation, double eps) {
  return static_cast<float>(1 / (deviation + eps));
}

OCTAVO_HD inline void finish_channel(const RangeNormForward& f, int k) {
  const RangeNormLook& of = f.looked;
  double sum = 0, ranges = 0;
  for (std::int64_t at = k; at < of.of.results(); at += f.channels) {
    sum += of.sum[at];
    ranges += static_cast<double>(of.x[of.top[at] * f.channels + k]) - of.x[of.bottom[at] * f.channels + k];
  }
  const auto mean = static_cast<float>(sum / static_cast<double>(of.of.rows));
  const double deviation = f.factor * ranges / static_cast<double>(of.of.chunks);
  if (f.running_mean != nullptr) {
    f.running_mean[k] += f.momentum * (mean - f.running_mean[k]);
    f.running_deviation[k] += f.momentum * (static_cast<float>(deviation) - f.running_deviation[k]);
  }
  f.mean[k] = mean, f.r[k] = inverse_deviation(deviation, f.eps);
  f.minus_mean[k] = -mean, f.a[k] = f.gamma[k] * f.r[k];
}

OCTAVO_HD inline void finish_channel(const RangeNormRepeated& f, int k) {
  f.minus_mean[k] = -f.mean[k], f.a[k] = f.gamma[k] * f.r[k];
}

OCTAVO_HD inline void finish_channel(const RangeNormEvaluation& e, int k) {
  e.minus_mean[k] = -e.running_mean[k];
  e.a[k] = e.gamma[k] * inverse_deviation(e.running_deviation[k], e.eps);
}

OCTAVO_HD inline void finish_channel(const RangeNormBackward& g, int k) {
  const RangeNormGradientLook& of = g.looked;
  double sum = 0, product = 0;
  for (std::int64_t at = k; at < of.of.results(); at += g.channels)
    sum += of.sum[at], product += of.product[at];
  const float a = g.gamma[k] * g.r[k];
  g.a[k] = a;
  g.d[k] = static_cast<float>(-static_cast<double>(a) * sum / static_cast<double>(of.of.rows));
  g.slope[k] = static_cast<float>(static_cast<double>(a) * g.r[k] * product * g.factor /
                                  static_cast<double>(of.of.chunks));
  if (g.grad_gamma == nullptr) return;
  g.grad_gamma[k] = static_cast<float>(g.r[k] * product) + (g.accumulate ? g.grad_gamma[k] : 0);
  g.grad_beta[k] = static_cast<float>(sum) + (g.accumulate ? g.grad_beta[k] : 0);
}

/// Where a chunk's values are all equal, its two extremes are one row.
OCTAVO_HD inline void add_slopes(const RangeNormExtremes& e, std::int64_t at) {
  const std::int64_t c = e.of.channels, k = at % c;
  e.dx[e.top[at] * c + k] -= e.slope[k];
  e.dx[e.bottom[at] * c + k] += e.slope[k];
}

}  // namespace octavo::kernels::cuda
