// Finding and reading the files of a data set. Every error is Errc::data and names the absolute path.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "octavo/data.h"

namespace octavo {

/// What a set needs on disk and what to say when it is not there.
struct DataFiles {
  std::string set;
  std::vector<std::string> folders;  // folders below request.path that may hold the files, "" for itself
  std::vector<std::string> names;    // all needed; NAME.gz does as well when `gzip`
  bool gzip = false;
  std::string source;  // where to get them: "cifar-10-binary.tar.gz from https://..."
};

/// The absolute path of each name, in order.
std::vector<std::filesystem::path> find_files(const DataRequest& request, const DataFiles& wanted);

/// The first folder that request.path names; `expected` says what it should be: "a folder with ...".
std::filesystem::path find_folder(const DataRequest& request, const std::string& expected);

/// A regular file open for reading by position; safe when the file shrinks meanwhile, unlike a mapping.
class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  std::int64_t size() const { return size_; }  // when it was opened
  const std::filesystem::path& path() const { return path_; }
  void read(std::int64_t offset, std::int64_t bytes, void* out) const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::int64_t size_ = 0;
};

/// The first bytes of a file, unpacked when its name ends in .gz; fewer when it ends before `most`.
std::vector<std::uint8_t> read_bytes(const std::filesystem::path& path, std::int64_t most);

/// Most bytes that read_bytes may give: the file size, for .gz the bound of the deflate format (1032 times
/// that).
std::int64_t largest_content(const std::filesystem::path& path);

}  // namespace octavo
