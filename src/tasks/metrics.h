// Accumulators of training and evaluation metrics.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace octavo {

/// Weighted mean in FP64; a batch adds its mean with its sample count.
class MeanAccumulator {
 public:
  void add(double mean, std::int64_t samples);
  std::optional<double> mean() const;  ///< none when empty: print "n/a", never NaN
  std::int64_t samples() const { return samples_; }
  void reset() { *this = {}; }

 private:
  double sum_ = 0;
  std::int64_t samples_ = 0;
};

/// Share of rows whose largest logit is at the label; the lowest index wins ties, a row with NaN counts as
/// wrong.
class Top1Accumulator {
 public:
  /// logits [rows, classes]; Errc::internal when sizes do not fit, Errc::data when a label is no class.
  void add(std::span<const float> logits, std::int64_t classes, std::span<const std::int64_t> labels);
  std::optional<double> accuracy() const;  ///< a fraction; none when empty
  std::int64_t samples() const { return samples_; }
  void reset() { *this = {}; }

 private:
  std::int64_t correct_ = 0, samples_ = 0;
};

}  // namespace octavo
