// Accumulators of metrics.
#include "tasks/metrics.h"

#include "core/check.h"

namespace octavo {
namespace {

/// Index of the largest logit, the lowest on ties; -1 when one is NaN.
std::int64_t largest(std::span<const float> logits) {
  std::int64_t best = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] != logits[i]) return -1;
    if (logits[i] > logits[static_cast<std::size_t>(best)]) best = static_cast<std::int64_t>(i);
  }
  return best;
}

}  // namespace

void MeanAccumulator::add(double mean, std::int64_t samples) {
  sum_ += mean * static_cast<double>(samples);
  samples_ += samples;
}

std::optional<double> MeanAccumulator::mean() const {
  if (samples_ == 0) return std::nullopt;
  return sum_ / static_cast<double>(samples_);
}

void Top1Accumulator::add(std::span<const float> logits, std::int64_t classes,
                          std::span<const std::int64_t> labels) {
  require(classes > 0 && logits.size() == labels.size() * static_cast<std::size_t>(classes), Errc::internal,
          "accuracy: ", logits.size(), " logits for ", labels.size(), " labels of ", classes, " classes");
  for (std::size_t row = 0; row < labels.size(); ++row) {
    require(labels[row] >= 0 && labels[row] < classes, Errc::data, "accuracy: label ", labels[row],
            " of sample ", row, " is outside the ", classes, " classes");
    const auto size = static_cast<std::size_t>(classes);
    correct_ += largest(logits.subspan(row * size, size)) == labels[row];
  }
  samples_ += static_cast<std::int64_t>(labels.size());
}

std::optional<double> Top1Accumulator::accuracy() const {
  if (samples_ == 0) return std::nullopt;
  return static_cast<double>(correct_) / static_cast<double>(samples_);
}

}  // namespace octavo
