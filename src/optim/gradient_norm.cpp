// Sums of squares in a fixed structure: lanes inside tiles, tiles inside chunks, chunks in order.
#include "optim/gradient_norm.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "fetch.h"

namespace octavo {
namespace {

constexpr std::int64_t lanes = 16, tile = kernels::fetch_block, chunk_elements = 1 << 14;

double sum_squares(const float* x, std::int64_t n) {
  double sum = 0;
  for (std::int64_t begin = 0; begin < n; begin += tile) {
    kernels::fetch_ahead(x + begin);
    const std::int64_t size = std::min(tile, n - begin), whole = size / lanes * lanes;
    float lane[lanes] = {};
    for (std::int64_t i = 0; i < whole; i += lanes) {
      for (std::int64_t j = 0; j < lanes; ++j) lane[j] += x[begin + i + j] * x[begin + i + j];
    }
    for (std::int64_t i = whole; i < size; ++i) lane[i - whole] += x[begin + i] * x[begin + i];
    for (const float value : lane) sum += value;
  }
  return sum;
}

}  // namespace

void GradientNorm::add(std::span<const float> gradient) {
  for (std::size_t begin = 0; begin < gradient.size(); begin += chunk_elements)
    chunks_.push_back(
        gradient.subspan(begin, std::min<std::size_t>(chunk_elements, gradient.size() - begin)));
}

double GradientNorm::norm(const kernels::Parallel& parallel) {
  sums_.resize(chunks_.size());
  parallel(std::ssize(chunks_), [&](std::int64_t number) {
    const std::span<const float> chunk = chunks_[static_cast<std::size_t>(number)];
    sums_[static_cast<std::size_t>(number)] = sum_squares(chunk.data(), std::ssize(chunk));
  });
  double total = 0;
  for (const double sum : sums_) total += sum;
  return std::sqrt(total);
}

double clip_factor(double norm, double max_norm) {
  require(max_norm > 0, Errc::config, "gradient clipping: the maximum norm ", max_norm, " must be above 0");
  require(std::isfinite(norm), Errc::numeric, "gradient clipping: the gradient norm is ", norm,
          "; lower the learning rate or raise the precision of the gradients");
  return std::min(1.0, max_norm / (norm + 1e-6));
}

}  // namespace octavo
