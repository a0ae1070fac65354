// File calls that fail at a chosen point, for tests of everything that is saved.
#pragma once

#include <fcntl.h>

#include <cerrno>
#include <map>
#include <set>
#include <string>

#include "train/file_io.h"

namespace octavo::testing {

/// Counts the calls that change something; the `fail_at`-th (from 1) fails. With `dead` all later ones fail
/// too, with no effect: what is on the disk then is what a killed process leaves. Writes are cut to 1000
/// bytes.
class FailingFiles : public FileCalls {
 public:
  FailingFiles(int fail_at, bool dead, int error = EIO) : fail_at_(fail_at), dead_(dead), error_(error) {}

  bool failed() const { return failed_; }

  int open(const char* path, int flags, unsigned mode) override {
    if ((flags & O_CREAT) != 0 && fails()) return -1;
    return FileCalls::open(path, flags, mode);
  }
  ssize_t write(int file, const void* data, std::size_t size) override {
    if (fails()) return -1;
    return FileCalls::write(file, data, size < 1000 ? size : 1000);
  }
  int fsync(int file) override { return fails() ? -1 : FileCalls::fsync(file); }
  int close(int file) override {
    const bool fail = fails();
    const int result = FileCalls::close(file);
    if (fail) errno = error_;
    return fail ? -1 : result;
  }
  int mkdir(const char* path, unsigned mode) override { return fails() ? -1 : FileCalls::mkdir(path, mode); }
  int rename(const char* a, const char* b) override { return fails() ? -1 : FileCalls::rename(a, b); }
  int exchange(const char* a, const char* b) override { return fails() ? -1 : FileCalls::exchange(a, b); }
  int unlink(const char* path) override { return fails() ? -1 : FileCalls::unlink(path); }
  int rmdir(const char* path) override { return fails() ? -1 : FileCalls::rmdir(path); }

 private:
  bool fails() {
    ++calls_;
    const bool fail = dead_ ? calls_ >= fail_at_ : calls_ == fail_at_;
    if (fail) {
      failed_ = true;
      errno = error_;
    }
    return fail;
  }

  int calls_ = 0, fail_at_;
  bool dead_, failed_ = false;
  int error_;
};

/// Remembers what was written and not yet synced: `renamed_unsynced` counts renames that a power cut could
/// spoil.
class SyncWatcher : public FileCalls {
 public:
  int renamed_unsynced = 0, renames = 0;

  /// Renames whose folder was not synced afterwards.
  int unsynced_renames() const { return static_cast<int>(pending_folders_.size()); }

  int open(const char* path, int flags, unsigned mode) override {
    const int file = FileCalls::open(path, flags, mode);
    names_[file] = path;
    if ((flags & O_CREAT) != 0) dirty_.insert(path);
    return file;
  }
  ssize_t write(int file, const void* data, std::size_t size) override {
    dirty_.insert(names_[file]);
    return FileCalls::write(file, data, size);
  }
  int fsync(int file) override {
    dirty_.erase(names_[file]);
    pending_folders_.erase(names_[file]);
    return FileCalls::fsync(file);
  }
  int rename(const char* from, const char* to) override {
    ++renames;
    renamed_unsynced += static_cast<int>(dirty_.size());
    pending_folders_.insert(std::filesystem::path(to).parent_path().string());
    return FileCalls::rename(from, to);
  }

 private:
  std::map<int, std::string> names_;
  std::set<std::string> dirty_, pending_folders_;
};

}  // namespace octavo::testing
