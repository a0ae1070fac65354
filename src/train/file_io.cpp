// File system calls with checked results.
#include "train/file_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "core/check.h"
#include "train/crc32c.h"

namespace octavo {
namespace fs = std::filesystem;

int FileCalls::open(const char* path, int flags, unsigned mode) { return ::open(path, flags, mode); }
ssize_t FileCalls::write(int file, const void* data, std::size_t size) { return ::write(file, data, size); }
ssize_t FileCalls::pread(int file, void* data, std::size_t size, off_t offset) {
  return ::pread(file, data, size, offset);
}
int FileCalls::fsync(int file) { return ::fsync(file); }
int FileCalls::close(int file) { return ::close(file); }
int FileCalls::mkdir(const char* path, unsigned mode) { return ::mkdir(path, mode); }
int FileCalls::rename(const char* from, const char* to) { return ::rename(from, to); }
int FileCalls::exchange(const char* a, const char* b) {
  return ::renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}
int FileCalls::unlink(const char* path) { return ::unlink(path); }
int FileCalls::rmdir(const char* path) { return ::rmdir(path); }
std::int64_t FileCalls::free_bytes(const char* folder) {
  struct statvfs info {};
  if (::statvfs(folder, &info) != 0) return -1;
  return static_cast<std::int64_t>(info.f_bavail) * static_cast<std::int64_t>(info.f_frsize);
}

FileCalls& system_files() {
  static FileCalls calls;
  return calls;
}

void fail_errno(Errc code, std::string_view action, const fs::path& path) {
  const int error = errno;
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  fail(code, path.string(), ": cannot ", action, ": ", std::strerror(error),
       full ? concat(" (", system_files().free_bytes(folder.c_str()),
                     " bytes free); free some space or choose another "
                     "folder with --out")
            : std::string());
}

bool write_all(FileCalls& files, int file, std::span<const std::byte> data) {
  while (!data.empty()) {
    // Linux writes at most 2 GiB - 4 KiB per call; smaller pieces keep signals responsive.
    const ssize_t written = files.write(file, data.data(), std::min<std::size_t>(data.size(), 64 << 20));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      if (written == 0) errno = EIO;
      return false;
    }
    data = data.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

FileWriter::FileWriter(FileCalls& files, fs::path path) : files_(files), path_(std::move(path)) {
  file_ = files_.open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (file_ < 0) fail_errno(Errc::resource, "create", path_);
}

FileWriter::~FileWriter() {
  if (file_ >= 0) files_.close(file_);
}

void FileWriter::write(std::span<const std::byte> data) {
  if (!write_all(files_, file_, data)) fail_errno(Errc::resource, "write", path_);
  size_ += static_cast<std::int64_t>(data.size());
  crc_ = octavo::crc32c(data, crc_);
}

void FileWriter::finish() {
  if (files_.fsync(file_) != 0) fail_errno(Errc::resource, "sync", path_);
  const int file = std::exchange(file_, -1);
  if (files_.close(file) != 0) fail_errno(Errc::resource, "close", path_);
}

FileReader::FileReader(FileCalls& files, fs::path path) : files_(files), path_(std::move(path)) {
  // Non-blocking, so that a FIFO in the place of a file is an error and not a hang.
  file_ = files_.open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
  if (file_ < 0) fail_errno(Errc::checkpoint, "open", path_);
  struct stat info {};
  if (::fstat(file_, &info) != 0 || !S_ISREG(info.st_mode)) {
    files_.close(file_);
    fail(Errc::checkpoint, path_.string(), ": is no regular file");
  }
  size_ = info.st_size;
}

FileReader::~FileReader() { files_.close(file_); }

void FileReader::read(std::int64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got = files_.pread(file_, out.data(), std::min<std::size_t>(out.size(), 64 << 20), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_errno(Errc::checkpoint, "read", path_);
    require(got > 0, Errc::checkpoint, path_.string(), ": ends at byte ", offset, ", ", out.size(),
            " bytes are missing; the file is truncated");
    offset += got;
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

std::string FileReader::text(std::int64_t limit) const {
  require(size_ <= limit, Errc::checkpoint, path_.string(), ": has ", size_, " bytes, the limit is ", limit);
  std::string text(static_cast<std::size_t>(size_), '\0');
  read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

std::uint32_t FileReader::crc32c() const {
  std::vector<std::byte> buffer(static_cast<std::size_t>(std::min<std::int64_t>(size_, 1 << 20)));
  std::uint32_t crc = 0;
  for (std::int64_t offset = 0; offset < size_; offset += static_cast<std::int64_t>(buffer.size())) {
    const auto part = std::span(buffer).first(static_cast<std::size_t>(
        std::min<std::int64_t>(size_ - offset, static_cast<std::int64_t>(buffer.size()))));
    read(offset, part);
    crc = octavo::crc32c(part, crc);
  }
  return crc;
}

void sync_folder(FileCalls& files, const fs::path& folder) {
  const int file = files.open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (file < 0) fail_errno(Errc::resource, "open", folder);
  const bool synced = files.fsync(file) == 0;
  const int error = errno;
  files.close(file);
  errno = error;
  if (!synced) fail_errno(Errc::resource, "sync", folder);
}

void replace_file(FileCalls& files, const fs::path& path, std::string_view text) {
  static std::atomic<int> counter = 0;
  const fs::path temporary =
      path.parent_path() / concat(".tmp-", path.filename().string(), "-", ::getpid(), "-", counter++);
  try {
    FileWriter writer(files, temporary);
    writer.write(text);
    writer.finish();
    if (files.rename(temporary.c_str(), path.c_str()) != 0) fail_errno(Errc::resource, "replace", path);
    sync_folder(files, path.has_parent_path() ? path.parent_path() : fs::path("."));
  } catch (...) {
    files.unlink(temporary.c_str());
    throw;
  }
}

bool remove_flat_folder(FileCalls& files, const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> names;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path());
  }
  bool removed = !error;
  for (const fs::path& name : names) removed = files.unlink(name.c_str()) == 0 && removed;
  return files.rmdir(folder.c_str()) == 0 && removed;
}

}  // namespace octavo
