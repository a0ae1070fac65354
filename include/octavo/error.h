// Errors and the export macro. The library throws octavo::Error and nothing else of its own;
// it never exits, aborts, installs signal handlers or prints unasked.
#pragma once

#include <stdexcept>
#include <string>

#if defined(_WIN32)
#define OCTAVO_API
#else
#define OCTAVO_API __attribute__((visibility("default")))
#endif

namespace octavo {

/// What went wrong; the value is the exit code of the command line tool.
enum class Errc {
  internal = 1,     ///< a bug in octavo
  config = 2,       ///< usage, configuration or model description
  data = 3,         ///< data set missing, damaged or of the wrong form
  checkpoint = 4,   ///< model or checkpoint file damaged or not fitting
  resource = 5,     ///< memory, disk, device, locks
  numeric = 6,      ///< NaN, Inf or divergence
  distributed = 7,  ///< a rank died or disagrees
  self_check = 8,   ///< `reproduce`, `inspect --verify` found a difference
};

/// `what()` names the place ("configs/a.yaml:14:5", "[conv2d 'stage2.conv1']"), what was found, and the
/// remedy.
class OCTAVO_API Error : public std::runtime_error {
 public:
  Error(Errc code, const std::string& message) : std::runtime_error(message), code_(code) {}
  Errc code() const noexcept { return code_; }

 private:
  Errc code_;
};

}  // namespace octavo
