// Run folders, locks, event files, loggers, signals, metrics and progress lines.
#include "train/run_folder.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>

#include "core/log.h"
#include "core/numerics.h"
#include "octavo/error.h"
#include "support/catch.h"
#include "support/failing_files.h"
#include "support/temporary_folder.h"
#include "tasks/metrics.h"
#include "train/progress.h"
#include "train/signals.h"

using namespace octavo;
using namespace octavo::testing;
namespace fs = std::filesystem;

namespace {

template <class Call>
std::string failure(Errc code, Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  FAIL("no error");
  return {};
}

/// Exit status of a child process that runs `call` and exits with its result.
template <class Call>
int child_status(Call&& call) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(call());
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

/// Collects the warnings of all loggers.
struct Warnings {
  std::vector<std::string> texts;
  int number =
      add_log_sink([this](const LogRecord& record) { texts.emplace_back(record.text); }, LogLevel::warning);
  ~Warnings() { remove_log_sink(number); }
};

}  // namespace

TEST_CASE("a run folder holds config, environment, events, log and summary") {
  TemporaryFolder base;
  const fs::path path = base / "runs/a";
  {
    auto run = RunFolder::create(path, "train: {epochs: 1}\n", describe_environment("avx2", 3));
    logger(LogArea::train).info("epoch {}", 1);
    logger(LogArea::data).debug("not shown");
    run->add_metrics({{"phase", "train"}, {"step", 1}, {"loss", std::nan("")}});
    run->add_precision({{"step", 0}, {"layer", "\xff"}});
    run->write_summary({{"metric", 0.5}});
    run->write_summary({{"metric", 0.75}});
  }
  logger(LogArea::train).info("after the run");
  CHECK(read_text(path / "config.yaml") == "train: {epochs: 1}\n");
  const auto environment = nlohmann::json::parse(read_text(path / "env.json"));
  CHECK(environment["isa"] == "avx2");
  CHECK(environment["threads"] == 3);
  CHECK(environment["numerics_version"] == numerics_version);
  for (const char* key : {"octavo", "commit", "compiler", "host", "cpu"})
    CHECK(!environment[key].get<std::string>().empty());
  CHECK(read_text(path / "metrics.jsonl") == "{\"phase\":\"train\",\"step\":1,\"loss\":null}\n");
  CHECK(nlohmann::json::parse(read_text(path / "precision.jsonl"))["step"] == 0);
  CHECK(nlohmann::json::parse(read_text(path / "summary.json"))["metric"] == 0.75);
  const std::string log = read_text(path / "log.txt");
  CHECK_THAT(log, ContainsSubstring("info train: epoch 1\n"));
  CHECK(std::count(log.begin(), log.end(), '\n') == 1);
  CHECK_THAT(failure(Errc::resource, [&] { RunFolder::create(path, "", {}); }),
             ContainsSubstring("octavo resume"));
  CHECK_THAT(failure(Errc::checkpoint, [&] { RunFolder::lock(base / "none"); }),
             ContainsSubstring("config.yaml"));
}

TEST_CASE("a second process is refused, naming the first") {
  TemporaryFolder base;
  auto run = RunFolder::create(base / "run", "", {});
  const std::string expected = "process " + std::to_string(::getpid()) + " on ";
  CHECK_THAT(failure(Errc::resource, [&] { RunFolder::lock(base / "run"); }), ContainsSubstring(expected));
  const auto second = [&] {
    try {
      FolderLock lock(base / "run");
      return 0;
    } catch (const Error& error) {
      return error.code() == Errc::resource && std::string(error.what()).find(expected) != std::string::npos
                 ? 5
                 : 1;
    }
  };
  CHECK(WEXITSTATUS(child_status(second)) == 5);
  run.reset();
  CHECK(WEXITSTATUS(child_status(second)) == 0);
  // A killed process holds nothing.
  child_status([&] {
    FolderLock lock(base / "run");
    return ::raise(SIGKILL);
  });
  FolderLock lock(base / "run");
}

TEST_CASE("the default path is named by config and time and never reused") {
  TemporaryFolder base;
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  const fs::path first = default_run_path(base.path(), "resnet", 0);
  CHECK(first == base / "runs/resnet-19700101-000000");
  fs::create_directories(first);
  CHECK(default_run_path(base.path(), "resnet", 0) == base / "runs/resnet-19700101-000000-2");
}

TEST_CASE("resuming cuts events back to the checkpoint's step") {
  TemporaryFolder base;
  const fs::path path = base / "run";
  const auto line = [](int step) { return "{\"step\":" + std::to_string(step) + "}\n"; };
  std::string kept = "{\"plan\":\"int8\"}\n" + line(1) + line(2) + line(2);
  { RunFolder::create(path, "", {}); }
  for (const std::string& rest :
       {std::string(), line(3) + line(4), std::string("{\"step\":2"), std::string("garbage\n") + line(2),
        line(3) + line(1), std::string("{\"step\":2}"), std::string(5, '\0')}) {
    write_text(path / "metrics.jsonl", kept + rest);
    write_text(path / ".tmp-summary.json-1-1", "left by a kill");
    RunFolder::resume(path, RunFolder::lock(path), 2)->add_metrics({{"step", 3}});
    CHECK(read_text(path / "metrics.jsonl") == kept + line(3));
    CHECK(!fs::exists(path / ".tmp-summary.json-1-1"));
  }
  truncate_events(base / "missing.jsonl", 2);
}

TEST_CASE("events that cannot be written warn once and later ones stay readable") {
  TemporaryFolder base;
  FailingFiles files(3, false, ENOSPC);  // open, first event, then this one
  Warnings warnings;
  {
    EventFile events(base / "e.jsonl", files);
    for (int step = 1; step <= 3; ++step) events.append({{"step", step}});
  }
  REQUIRE(warnings.texts.size() == 1);
  CHECK_THAT(warnings.texts[0], ContainsSubstring("No space left"));
  CHECK(read_text(base / "e.jsonl") == "{\"step\":1}\n\n{\"step\":3}\n");

  FailingFiles dead(2, true, EPIPE);
  EventFile events(base / "f.jsonl", dead);
  for (int step = 1; step <= 3; ++step) events.append({{"step", step}});
  CHECK(warnings.texts.size() == 2);
}

TEST_CASE("a log sink that throws is dropped with one warning to the others") {
  Warnings warnings;
  int calls = 0;
  const int broken = add_log_sink([&](const LogRecord&) {
    ++calls;
    throw std::runtime_error("pipe closed");
  });
  logger(LogArea::train).info("one");
  logger(LogArea::graph).info("two");
  remove_log_sink(broken);
  CHECK(calls == 1);
  REQUIRE(warnings.texts.size() == 1);
  CHECK_THAT(warnings.texts[0], ContainsSubstring("pipe closed"));
}

TEST_CASE("log records carry area, level and text, silent without sinks") {
  std::vector<std::string> lines;
  const int number = add_log_sink(
      [&](const LogRecord& record) {
        lines.push_back(std::string(log_level_name(record.level)) + " " + std::string(record.area) + " " +
                        std::string(record.text));
      },
      LogLevel::debug);
  logger(LogArea::precision).debug("width {}", 8);
  logger(LogArea::dispatch).error("x");
  remove_log_sink(number);
  logger(LogArea::graph).info("nobody hears this");
  CHECK(lines == std::vector<std::string>{"debug precision width 8", "error dispatch x"});
}

TEST_CASE("a full disk under log.txt does not stop anything") {
  TemporaryFolder base;
  if (::geteuid() != 0 || ::mount("tmpfs", base.path().c_str(), "tmpfs", 0, "size=32k") != 0) {
    WARN("SKIPPED: mounting a small file system needs root");
    return;
  }
  Warnings warnings;
  {
    auto run = RunFolder::create(base / "run", "", {});
    for (int i = 0; i < 100; ++i) {
      logger(LogArea::train).info("{}", std::string(1000, 'x'));
      run->add_metrics({{"step", i}, {"text", std::string(1000, 'y')}});
    }
  }
  CHECK(warnings.texts.size() == 2);
  ::umount(base.path().c_str());
}

TEST_CASE("the first signal sets a flag, the second ends the process") {
  {
    StopSignals signals;
    CHECK(!signals.stop_requested());
    ::raise(SIGTERM);
    CHECK(signals.stop_requested());
    CHECK(signals.exit_code() == 143);
    ::raise(SIGPIPE);  // ignored
  }
  for (const int second : {SIGINT, SIGTERM}) {
    const int status = child_status([&] {
      StopSignals signals;
      ::raise(SIGINT);
      if (signals.exit_code() != 130) return 1;
      ::raise(second);
      return 0;
    });
    REQUIRE(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == second);
  }
}

TEST_CASE("means weigh by samples and know nothing of nothing") {
  MeanAccumulator mean;
  CHECK(!mean.mean());
  mean.add(1, 3);
  mean.add(5, 1);
  CHECK(mean.mean() == 2.0);
  CHECK(mean.samples() == 4);
  mean.reset();
  CHECK(!mean.mean());
  for (int i = 0; i < 1000000; ++i) mean.add(0.1, 1);
  CHECK(*mean.mean() == Approx(0.1).epsilon(1e-9));  // FP32 would be off by 1%
}

TEST_CASE("top-1 accuracy: ties, NaN and bad labels") {
  Top1Accumulator top1;
  CHECK(!top1.accuracy());
  const float nan = std::nanf("");
  const float logits[] = {1, 2, 0, 3, 3, 0, nan, 5, 0, -INFINITY, -INFINITY, -1};
  const std::int64_t labels[] = {1, 0, 1, 2};
  top1.add(logits, 3, labels);
  CHECK(top1.accuracy() == 0.75);
  const std::int64_t tie[] = {1};
  top1.add(std::span(logits).subspan(3, 3), 3, tie);
  CHECK(top1.accuracy() == 0.6);
  const std::int64_t bad[] = {3}, negative[] = {-1};
  failure(Errc::data, [&] { top1.add(std::span(logits).first(3), 3, bad); });
  failure(Errc::data, [&] { top1.add(std::span(logits).first(3), 3, negative); });
  failure(Errc::internal, [&] { top1.add(std::span(logits).first(4), 3, tie); });
}

TEST_CASE("durations, remaining time and progress lines") {
  CHECK(duration_text(0) == "0:00");
  CHECK(duration_text(125.4) == "2:05");
  CHECK(duration_text(3725) == "1:02:05");
  CHECK(duration_text(3 * 86400 + 4 * 3600) == "3d 4:00:00");
  for (const double unknown : {-1.0, std::nan(""), HUGE_VAL, 1e300}) CHECK(duration_text(unknown) == "--:--");

  Eta eta(100);
  CHECK(eta.seconds() == -1);
  eta.update(0, 1000);
  CHECK(eta.seconds() == -1);
  eta.update(1, 1010);  // a slow first step
  CHECK(eta.seconds() == Approx(990));
  for (int i = 2; i <= 90; ++i) eta.update(i, 1008 + i);
  CHECK(eta.seconds() == Approx(10).margin(20));
  eta.update(90, 500);  // a clock that runs backwards changes nothing
  eta.update(91, 501);
  CHECK(eta.seconds() == Approx(9).margin(18));

  CHECK(progress_line(50, 200, 65, "loss 1.5", false, 0) == " 25% 50/200  eta 1:05  loss 1.5");
  CHECK(progress_line(50, 200, -1, "", true, 200) == " 25% 50/200 [######..................] eta --:--");
  CHECK(progress_line(50, 200, 65, "loss 1.5", true, 20).size() == 20);
  CHECK(progress_line(0, 0, -1, "", false, 0) == "  0% 0/0  eta --:--");
}
