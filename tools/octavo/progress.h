// Progress of a training on stderr: a bar on a terminal, now and then a line in a pipe.
#pragma once

#include <chrono>
#include <optional>

#include "octavo/trainer.h"
#include "train/progress.h"

namespace octavo::cli {

std::string fixed(double value, int digits);

class Progress {
 public:
  Progress();
  void start(const RunStart& start);
  void step(const StepReport& report);
  void line(const std::string& text);
  void end();  ///< leaves the line of the bar

 private:
  double now() const;
  bool due(std::int64_t step, double time) const;

  bool terminal_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::int64_t total_ = 0, shown_step_ = -1;
  double shown_time_ = 0;
  std::optional<Eta> eta_;
};

}  // namespace octavo::cli
