// Creating, locking and resuming run folders.
#include "train/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include "core/check.h"
#include "core/log.h"
#include "train/checkpoint_folders.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

std::string time_text(std::time_t time, const char* format) {
  std::tm parts{};
  ::localtime_r(&time, &parts);
  std::array<char, 64> text{};
  return {text.data(), std::strftime(text.data(), text.size(), format, &parts)};
}

void make_folders(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  require(!error, Errc::resource, fs::absolute(path).string(),
          ": cannot create the run folder: ", error.message());
}

/// Appends log lines to a file; throws when that fails, upon which the loggers drop it.
class LogFile {
 public:
  explicit LogFile(const fs::path& path) : path_(path) {
    file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (file_ < 0) fail_errno(Errc::resource, "open", path_);
  }
  ~LogFile() { ::close(file_); }
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  void write(const LogRecord& record) {
    const std::string line =
        concat(time_text(static_cast<std::time_t>(record.time), "%Y-%m-%d %H:%M:%S"), " ",
               log_level_name(record.level), " ", record.area, ": ", record.text, "\n");
    if (!write_all(system_files(), file_, std::as_bytes(std::span(line))))
      fail_errno(Errc::resource, "write", path_);
  }

 private:
  fs::path path_;
  int file_;
};

}  // namespace

fs::path default_run_path(const fs::path& base, const std::string& config_name, std::time_t now) {
  const std::string name = config_name + "-" + time_text(now, "%Y%m%d-%H%M%S");
  fs::path path = base / "runs" / name;
  for (int i = 2; fs::exists(path); ++i) path = base / "runs" / concat(name, "-", i);
  return path;
}

FolderLock::FolderLock(const fs::path& folder) {
  const fs::path path = folder / ".lock";
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (file_ < 0) fail_errno(Errc::resource, "open", path);
  if (::flock(file_, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    std::array<char, 300> holder{};
    const ssize_t size = ::pread(file_, holder.data(), holder.size() - 1, 0);
    ::close(file_);
    errno = error;
    if (error != EWOULDBLOCK) fail_errno(Errc::resource, "lock", path);
    fail(Errc::resource, fs::absolute(folder).string(), ": in use by ",
         size > 0 ? holder.data() : "another process", "; wait for it, or choose another folder with --out");
  }
  const std::string holder = concat("process ", ::getpid(), " on ", host_name());
  // The text is only for messages; the lock itself does not depend on it.
  if (::ftruncate(file_, 0) != 0 || ::pwrite(file_, holder.data(), holder.size(), 0) < 0) {
    logger(LogArea::train).warn("cannot write {}", path.string());
  }
}

FolderLock::~FolderLock() { ::close(file_); }

RunFolder::RunFolder(const fs::path& path, std::unique_ptr<FolderLock> lock, std::int64_t resume_step)
    : path_(path),
      lock_(std::move(lock)),
      metrics_(path / "metrics.jsonl"),
      precision_(path / "precision.jsonl"),
      tensorboard_(path / "tb", resume_step) {
  log_sink_ = add_log_sink(
      [file = std::make_shared<LogFile>(path / "log.txt")](const LogRecord& record) { file->write(record); });
}

RunFolder::~RunFolder() { remove_log_sink(log_sink_); }

std::unique_ptr<RunFolder> RunFolder::create(const fs::path& path, const std::string& config_yaml,
                                             const nlohmann::ordered_json& environment) {
  make_folders(path);
  auto lock = std::make_unique<FolderLock>(path);
  require(!fs::exists(path / "config.yaml"), Errc::resource, fs::absolute(path).string(),
          ": already holds a run; use `octavo resume`, or choose another folder with --out");
  replace_file(system_files(), path / "env.json", environment.dump(1) + "\n");
  replace_file(system_files(), path / "config.yaml", config_yaml);
  return std::unique_ptr<RunFolder>(new RunFolder(path, std::move(lock), -1));
}

std::unique_ptr<FolderLock> RunFolder::lock(const fs::path& path) {
  require(fs::exists(path / "config.yaml"), Errc::checkpoint, fs::absolute(path).string(),
          ": is no run folder, it has no config.yaml");
  return std::make_unique<FolderLock>(path);
}

std::unique_ptr<RunFolder> RunFolder::resume(const fs::path& path, std::unique_ptr<FolderLock> lock,
                                             std::int64_t step) {
  remove_temporaries(path, system_files());
  truncate_events(path / "metrics.jsonl", step);
  truncate_events(path / "precision.jsonl", std::max<std::int64_t>(step - 1, 0));  // steps count from 0 there
  return std::unique_ptr<RunFolder>(new RunFolder(path, std::move(lock), step));
}

void RunFolder::add_metrics(const nlohmann::ordered_json& event) {
  metrics_.append(event);
  tensorboard_.add_metrics(event);
}

void RunFolder::add_precision(const nlohmann::ordered_json& event) {
  precision_.append(event);
  tensorboard_.add_precision(event);
}

void RunFolder::write_summary(const nlohmann::ordered_json& summary) {
  replace_file(system_files(), path_ / "summary.json", summary.dump(1) + "\n");
}

}  // namespace octavo
