// The progress display: remaining time and the line that shows it.
#pragma once

#include <cstdint>
#include <string>

namespace octavo {

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
