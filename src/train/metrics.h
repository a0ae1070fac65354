// Accumulators of training and evaluation metrics, and the progress display.
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

/// "2:05", "1:02:05", "3d 4:00:00"; "--:--" when unknown (negative or not finite).
std::string duration_text(double seconds);

/// Remaining time from a running mean of the step time, so that a slow start does not spoil the estimate.
/// Times come from a steady clock: a jump of the wall clock changes nothing.
class Eta {
 public:
  explicit Eta(std::int64_t total) : total_(total) {}
  void update(std::int64_t done, double seconds_now);
  double seconds() const;  ///< -1 when unknown

 private:
  std::int64_t total_, done_ = 0;
  double last_time_ = 0, seconds_per_step_ = 0;
  bool started_ = false;
};

/// One progress line without line end: on a terminal a bar cut to `width` columns, in a pipe plain text.
std::string progress_line(std::int64_t done, std::int64_t total, double eta_seconds,
                          const std::string& detail, bool terminal, int width);

}  // namespace octavo
