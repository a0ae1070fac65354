// Signal handlers for command line tools.
#include "train/signals.h"

#include <csignal>
#include <iterator>

namespace octavo {
namespace {

constexpr int stopping[] = {SIGINT, SIGTERM, SIGHUP};
constexpr int ignored[] = {SIGPIPE, SIGXFSZ};

volatile std::sig_atomic_t received = 0;
struct sigaction before[std::size(stopping) + std::size(ignored)];

extern "C" void on_stop(int number) {
  if (received == 0) {
    received = number;
    return;
  }
  // The default action ends the process as soon as this handler returns.
  std::signal(number, SIG_DFL);
  std::raise(number);
}

}  // namespace

StopSignals::StopSignals() {
  received = 0;
  struct sigaction action {};
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  action.sa_handler = on_stop;
  struct sigaction* saved = before;
  for (const int number : stopping) ::sigaction(number, &action, saved++);
  action.sa_handler = SIG_IGN;
  for (const int number : ignored) ::sigaction(number, &action, saved++);
}

StopSignals::~StopSignals() {
  const struct sigaction* saved = before;
  for (const int number : stopping) ::sigaction(number, saved++, nullptr);
  for (const int number : ignored) ::sigaction(number, saved++, nullptr);
}

int StopSignals::signal_number() const { return received; }

}  // namespace octavo
