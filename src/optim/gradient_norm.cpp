// Sums of squares in a fixed structure: lanes inside tiles, tiles inside chunks, chunks in order.
#include "optim/gradient_norm.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "clones.h"
#include "core/check.h"
#include "fetch.h"

namespace octavo {
namespace {

constexpr std::int64_t lanes = 16, tile = kernels::fetch_block, chunk_elements = 1 << 14;

using Lanes [[gnu::vector_size(lanes * sizeof(float))]] = float;

/// Sums of `count` whole tiles side by side, so that one addition need not wait for the other.
template <std::int64_t count>
[[gnu::always_inline]] inline double sum_tiles(double sum, const float* x) {
  Lanes lane[count] = {};
  for (std::int64_t i = 0; i < tile; i += lanes)
    for (std::int64_t t = 0; t < count; ++t) {
      Lanes v;
      std::memcpy(&v, x + t * tile + i, sizeof(v));
      lane[t] += v * v;
    }
  for (std::int64_t t = 0; t < count; ++t)
    for (std::int64_t j = 0; j < lanes; ++j) sum += lane[t][j];
  return sum;
}

double sum_rest(double sum, const float* x, std::int64_t n) {
  float lane[lanes] = {};
  for (std::int64_t i = 0; i < n; ++i) lane[i % lanes] += x[i] * x[i];
  for (const float value : lane) sum += value;
  return sum;
}

OCTAVO_CLONES double sum_squares(const float* x, std::int64_t n) {
  constexpr std::int64_t together = 2;
  double sum = 0;
  for (; n >= together * tile; x += together * tile, n -= together * tile) {
    for (std::int64_t t = 0; t < together; ++t) kernels::fetch_ahead(x + t * tile);
    sum = sum_tiles<together>(sum, x);
  }
  for (; n >= tile; x += tile, n -= tile) sum = sum_tiles<1>(sum, x);
  return n > 0 ? sum_rest(sum, x, n) : sum;
}

}  // namespace

double global_gradient_norm(std::span<const std::span<const float>> gradients,
                            const kernels::Parallel& parallel) {
  std::vector<std::span<const float>> chunks;
  for (const std::span<const float> gradient : gradients) {
    for (std::size_t begin = 0; begin < gradient.size(); begin += chunk_elements) {
      chunks.push_back(
          gradient.subspan(begin, std::min<std::size_t>(chunk_elements, gradient.size() - begin)));
    }
  }
  std::vector<double> sums(chunks.size());
  parallel(static_cast<std::int64_t>(chunks.size()), [&](std::int64_t number) {
    const std::span<const float> chunk = chunks[static_cast<std::size_t>(number)];
    sums[static_cast<std::size_t>(number)] =
        sum_squares(chunk.data(), static_cast<std::int64_t>(chunk.size()));
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return std::sqrt(total);
}

double clip_factor(double norm, double max_norm) {
  require(max_norm > 0, Errc::config, "gradient clipping: the maximum norm ", max_norm, " must be above 0");
  require(std::isfinite(norm), Errc::numeric, "gradient clipping: the gradient norm is ", norm,
          "; lower the learning rate or raise the precision of the gradients");
  return std::min(1.0, max_norm / (norm + 1e-6));
}

}  // namespace octavo
