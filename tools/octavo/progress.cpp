#include "progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <iomanip>
#include <iostream>
#include <sstream>

namespace octavo::cli {
namespace {

constexpr double terminal_pause = 0.2;  // seconds
constexpr double pipe_pause = 10;       // seconds
constexpr int pipe_lines = 20;          // at most, over the whole run

int terminal_width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col - 1 : 79;
}

}  // namespace

std::string fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

Progress::Progress() : terminal_(isatty(STDERR_FILENO) != 0) {}

double Progress::now() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
}

void Progress::start(const RunStart& start) {
  total_ = start.total_steps;
  eta_.emplace(total_);
  eta_->update(start.step, now());
  line("run folder " + start.folder + (start.step > 0 ? ", from step " + std::to_string(start.step) : ""));
  std::cerr << start.precision;
}

bool Progress::due(std::int64_t step, double time) const {
  if (shown_step_ < 0 || step == total_) return true;
  if (terminal_) return time - shown_time_ >= terminal_pause;
  return time - shown_time_ >= pipe_pause && (step - shown_step_) * pipe_lines >= total_;
}

void Progress::step(const StepReport& report) {
  const double time = now();
  eta_->update(report.step, time);
  if (!due(report.step, time)) return;
  shown_step_ = report.step;
  shown_time_ = time;
  const std::string detail = "epoch " + std::to_string(report.epoch + 1) + "  loss " + fixed(report.loss, 4) +
                             "  lr " + fixed(report.learning_rate, 5) + "  " +
                             fixed(1000 * report.seconds, 1) + " ms/step";
  const int width = terminal_ ? terminal_width() : 0;
  std::cerr << (terminal_ ? "\r\033[K" : "")
            << progress_line(report.step, total_, eta_->seconds(), detail, terminal_, width)
            << (terminal_ ? "" : "\n") << std::flush;
}

void Progress::line(const std::string& text) {
  std::cerr << (terminal_ ? "\r\033[K" : "") << text << std::endl;
}

void Progress::end() {
  if (terminal_ && shown_step_ >= 0) std::cerr << std::endl;
}

}  // namespace octavo::cli
