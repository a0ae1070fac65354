// Sums of squares in a fixed structure: lanes inside tiles, tiles inside chunks, chunks in order.
#include "optim/gradient_norm.h"

#include <algorithm>
#include <cmath>

#include "clones.h"
#include "core/check.h"
#include "fetch.h"

namespace octavo {
namespace {

constexpr std::int64_t lanes = square_lanes, tile = square_tile;
static_assert(square_chunk % tile == 0 && tile == kernels::fetch_block);

double root(std::span<const double> sums) {
  double total = 0;
  for (const double sum : sums) total += sum;
  return std::sqrt(total);
}

}  // namespace

OCTAVO_CLONES void sum_lanes(const float* x, std::int64_t n, float* to) {
  float lane[lanes] = {};
  for (std::int64_t i = 0; i < n; i += lanes) {
    for (std::int64_t j = 0; j < lanes; ++j) lane[j] += x[i + j] * x[i + j];
  }
  std::copy(lane, lane + lanes, to);
}

double add_lanes(double sum, const float* lane, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) sum += lane[i];
  return sum;
}

double add_squares(double sum, const float* x, std::int64_t n, bool fetches) {
  for (std::int64_t begin = 0; begin < n; begin += tile) {
    if (fetches) kernels::fetch_ahead(x + begin);
    const std::int64_t size = std::min(tile, n - begin), whole = size / lanes * lanes;
    float lane[lanes];
    sum_lanes(x + begin, whole, lane);
    for (std::int64_t i = whole; i < size; ++i) lane[i - whole] += x[begin + i] * x[begin + i];
    sum = add_lanes(sum, lane, lanes);
  }
  return sum;
}

void GradientNorm::begin() { chunks_.clear(); }

std::size_t GradientNorm::add(std::span<const float> gradient, bool told) {
  const std::size_t first = chunks_.size();
  for (std::size_t begin = 0; begin < gradient.size(); begin += square_chunk)
    chunks_.push_back(
        {gradient.subspan(begin, std::min<std::size_t>(square_chunk, gradient.size() - begin)), told});
  return first;
}

double GradientNorm::known_norm(const kernels::Parallel& parallel) {
  sums_.assign(chunks_.size(), 0);
  parallel(std::ssize(chunks_), [&](std::int64_t number) {
    const auto& [gradient, told] = chunks_[static_cast<std::size_t>(number)];
    if (!told)
      sums_[static_cast<std::size_t>(number)] = add_squares(0, gradient.data(), std::ssize(gradient), true);
  });
  return root(sums_);
}

double GradientNorm::norm() const { return root(sums_); }

double clip_factor(double norm, double max_norm) {
  require(max_norm > 0, Errc::config, "gradient clipping: the maximum norm ", max_norm, " must be above 0");
  require(std::isfinite(norm), Errc::numeric, "gradient clipping: the gradient norm is ", norm,
          "; lower the learning rate or raise the precision of the gradients");
  return std::min(1.0, max_norm / (norm + 1e-6));
}

}  // namespace octavo
