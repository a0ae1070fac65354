// The folder of one run: lock, configuration, environment, log, event files and summary.
#pragma once

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "train/events.h"
#include "train/file_io.h"
#include "train/tensorboard.h"

namespace octavo {

/// "runs/<name>-20261122-143000" below `base`, with "-2", "-3", ... while that exists. Local time.
std::filesystem::path default_run_path(const std::filesystem::path& base, const std::string& config_name,
                                       std::time_t now);

/// Exclusive lock on a folder, held until destruction; the kernel frees it when the process dies.
class FolderLock {
 public:
  explicit FolderLock(
      const std::filesystem::path& folder);  ///< Errc::resource names the pid and host that hold it
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int file_ = -1;
};

/// An open, locked run folder. While it lives, log.txt receives the messages of all loggers.
class RunFolder {
 public:
  /// Starts a run: creates the folder, writes config.yaml and env.json. Errc::resource when the folder
  /// already holds a run, is locked or cannot be written.
  static std::unique_ptr<RunFolder> create(const std::filesystem::path& path, const std::string& config_yaml,
                                           const nlohmann::ordered_json& environment);
  /// Takes the lock of an existing run, before anything of it is read. Errc::checkpoint when there is no run.
  static std::unique_ptr<FolderLock> lock(const std::filesystem::path& path);
  /// Goes on with a run at `step`: cuts the event files back to it.
  static std::unique_ptr<RunFolder> resume(const std::filesystem::path& path,
                                           std::unique_ptr<FolderLock> lock, std::int64_t step);
  ~RunFolder();

  const std::filesystem::path& path() const { return path_; }
  /// Appends to metrics.jsonl or precision.jsonl, and to the event file in tb/.
  void add_metrics(const nlohmann::ordered_json& event);
  void add_precision(const nlohmann::ordered_json& event);
  void write_summary(const nlohmann::ordered_json& summary);  ///< summary.json, atomic; Errc::resource

 private:
  RunFolder(const std::filesystem::path& path, std::unique_ptr<FolderLock> lock, std::int64_t resume_step);

  std::filesystem::path path_;
  std::unique_ptr<FolderLock> lock_;
  EventFile metrics_, precision_;
  Tensorboard tensorboard_;
  int log_sink_ = 0;
};

/// Content of env.json: octavo version, git commit of the build, version of the numbers, compiler, CPU,
/// cores, host, ISA and threads.
nlohmann::ordered_json describe_environment(const std::string& isa, int threads);

}  // namespace octavo
