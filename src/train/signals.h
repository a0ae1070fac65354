// Stop requests by signal, for command line tools; the library itself never installs handlers.
#pragma once

namespace octavo {

/// While it lives, the first SIGINT, SIGTERM or SIGHUP sets a flag and a second one ends the process at once.
/// SIGPIPE and SIGXFSZ are ignored, so that a closed pipe or a full quota is an error of write(). One at a
/// time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  bool stop_requested() const { return signal_number() != 0; }
  int signal_number() const;                               ///< 0 when there was none
  int exit_code() const { return 128 + signal_number(); }  ///< 130 for SIGINT, 143 for SIGTERM
};

}  // namespace octavo
