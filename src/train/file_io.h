// System calls on files, behind a table that tests replace to make the N-th call fail, and the few whole-file
// operations that checkpoints and run folders are made of. Every result is checked.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "octavo/error.h"

namespace octavo {

/// The calls with the meaning of POSIX: -1 and errno on failure.
class FileCalls {
 public:
  virtual ~FileCalls() = default;
  virtual int open(const char* path, int flags, unsigned mode);
  virtual ssize_t write(int file, const void* data, std::size_t size);
  virtual ssize_t pread(int file, void* data, std::size_t size, off_t offset);
  virtual int fsync(int file);
  virtual int close(int file);
  virtual int mkdir(const char* path, unsigned mode);
  virtual int rename(const char* from, const char* to);
  virtual int exchange(const char* a, const char* b);  ///< swaps two paths atomically
  virtual int unlink(const char* path);
  virtual int rmdir(const char* path);
  virtual std::int64_t free_bytes(const char* folder);  ///< for this user, by statvfs
};

FileCalls& system_files();

/// Throws `code` naming the action, the path and the text of errno.
[[noreturn]] void fail_errno(Errc code, std::string_view action, const std::filesystem::path& path);

/// Writes one file that must not exist yet, keeping its size and CRC32C. Errc::resource on any failure.
class FileWriter {
 public:
  FileWriter(FileCalls& files, std::filesystem::path path);
  ~FileWriter();  ///< closes; without finish() the file is incomplete
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(std::span<const std::byte> data);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  void finish();  ///< fsync and close
  std::int64_t size() const { return size_; }
  std::uint32_t crc32c() const { return crc_; }

 private:
  FileCalls& files_;
  std::filesystem::path path_;
  int file_ = -1;
  std::int64_t size_ = 0;
  std::uint32_t crc_ = 0;
};

/// Reads one regular file by pread: no mapping, so that a file that shrinks is an error and not a signal.
class FileReader {
 public:
  /// Errc::checkpoint when the path is missing, no regular file, or unreadable.
  FileReader(FileCalls& files, std::filesystem::path path);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  std::int64_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }
  /// Fills `out` from `offset`; Errc::checkpoint when the file ends before.
  void read(std::int64_t offset, std::span<std::byte> out) const;
  std::string text(std::int64_t limit) const;  ///< the whole file; Errc::checkpoint above `limit` bytes
  std::uint32_t crc32c() const;                ///< of the whole file

 private:
  FileCalls& files_;
  std::filesystem::path path_;
  int file_ = -1;
  std::int64_t size_ = 0;
};

void sync_folder(FileCalls& files, const std::filesystem::path& folder);

/// Replaces `path` by a file with this text: either the old or the text is there, never a mixture.
void replace_file(FileCalls& files, const std::filesystem::path& path, std::string_view text);

/// Appends all of `data`, going on after interrupts and short writes; false and errno on failure.
bool write_all(FileCalls& files, int file, std::span<const std::byte> data);

/// Removes a folder and the files in it (no deeper); returns false when something is left.
bool remove_flat_folder(FileCalls& files, const std::filesystem::path& folder);

}  // namespace octavo
