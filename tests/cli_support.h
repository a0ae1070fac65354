// The octavo program as a child process.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.h"
#include "support/temporary_folder.h"
#include "support/tiny_config.h"

namespace octavo::testing {

struct Outcome {
  int code = 0;  ///< exit code, or 1000 + signal
  std::string out, err;
};

/// A running octavo; its working folder is `folder`.
class Child {
 public:
  Child(const TemporaryFolder& folder, std::vector<std::string> arguments) {
    static int number = 0;
    const std::string base = (folder / (".child-" + std::to_string(++number))).string();
    out_ = base + ".out";
    err_ = base + ".err";
    arguments.insert(arguments.begin(), "octavo");
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ != 0) return;
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    if (::chdir(folder.path().c_str()) != 0 || ::dup2(::open(out_.c_str(), flags, 0644), 1) < 0 ||
        ::dup2(::open(err_.c_str(), flags, 0644), 2) < 0)
      ::_exit(126);
    ::execv(OCTAVO_COMMAND, pointers.data());
    ::_exit(127);
  }
  ~Child() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      wait();
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number) const { ::kill(pid_, number); }
  Outcome wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status), read_text(out_),
            read_text(err_)};
  }

 private:
  pid_t pid_ = -1;
  std::string out_, err_;
};

inline Outcome octavo_run(const TemporaryFolder& folder, const std::vector<std::string>& arguments) {
  return Child(folder, arguments).wait();
}

/// As above, and it has to end with 0.
inline Outcome octavo_good(const TemporaryFolder& folder, const std::vector<std::string>& arguments) {
  const Outcome outcome = octavo_run(folder, arguments);
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  return outcome;
}

inline std::vector<nlohmann::json> json_lines(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

/// Waits at most 20 s until the run has done `steps` steps.
inline void wait_for_steps(const std::filesystem::path& run, int steps) {
  for (int i = 0; i < 4000; ++i) {
    const std::string text = read_text(run / "metrics.jsonl");
    if (std::count(text.begin(), text.end(), '\n') >= steps) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  FAIL("the run did not get to step " << steps);
}

inline std::string model_bytes(const std::filesystem::path& run, int step) {
  const std::string bytes =
      read_text(run / "checkpoints" / ("step-" + std::to_string(step)) / "model.safetensors");
  REQUIRE(!bytes.empty());
  return bytes;
}

}  // namespace octavo::testing
