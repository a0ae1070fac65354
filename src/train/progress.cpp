// Remaining time and progress lines.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "train/progress.h"

namespace octavo {

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "--:--";
  const auto whole = static_cast<long long>(seconds + 0.5);
  const long long days = whole / 86400, hours = whole / 3600 % 24, minutes = whole / 60 % 60,
                  rest = whole % 60;
  std::array<char, 48> text{};
  if (days > 0) {
    std::snprintf(text.data(), text.size(), "%lldd %lld:%02lld:%02lld", days, hours, minutes, rest);
  } else if (hours > 0) {
    std::snprintf(text.data(), text.size(), "%lld:%02lld:%02lld", hours, minutes, rest);
  } else {
    std::snprintf(text.data(), text.size(), "%lld:%02lld", minutes, rest);
  }
  return text.data();
}

void Eta::update(std::int64_t done, double seconds_now) {
  const bool first = !started_;
  const std::int64_t steps = done - done_;
  const double elapsed = seconds_now - last_time_;
  started_ = true;
  done_ = done;
  last_time_ = seconds_now;
  if (first || steps <= 0 || elapsed < 0) return;
  // About the last 50 steps count; the first measurement stands alone.
  const double now = elapsed / static_cast<double>(steps);
  const double weight = seconds_per_step_ == 0 ? 1.0 : 1.0 - std::pow(0.98, static_cast<double>(steps));
  seconds_per_step_ += weight * (now - seconds_per_step_);
}

double Eta::seconds() const {
  if (seconds_per_step_ == 0 || done_ > total_) return -1;
  return seconds_per_step_ * static_cast<double>(total_ - done_);
}

std::string progress_line(std::int64_t done, std::int64_t total, double eta_seconds,
                          const std::string& detail, bool terminal, int width) {
  const double share =
      total > 0 ? std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0) : 0.0;
  std::array<char, 96> head{};
  std::snprintf(head.data(), head.size(), "%3d%% %lld/%lld", static_cast<int>(100 * share),
                static_cast<long long>(done), static_cast<long long>(total));
  const std::string tail = "eta " + duration_text(eta_seconds) + (detail.empty() ? "" : "  " + detail);
  if (!terminal) return std::string(head.data()) + "  " + tail;
  constexpr int bar = 24;
  const int filled = static_cast<int>(bar * share);
  std::string line = std::string(head.data()) + " [" + std::string(static_cast<std::size_t>(filled), '#') +
                     std::string(static_cast<std::size_t>(bar - filled), '.') + "] " + tail;
  if (width > 0 && line.size() > static_cast<std::size_t>(width))
    line.resize(static_cast<std::size_t>(width));
  return line;
}

}  // namespace octavo
