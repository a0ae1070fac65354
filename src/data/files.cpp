// Finding and reading the files of a data set.
#include "data/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/check.h"

namespace octavo {
namespace fs = std::filesystem;

namespace {

bool is_gzip(const fs::path& path) { return path.extension() == ".gz"; }

/// The file itself or its .gz; empty when there is neither.
fs::path existing(const fs::path& file, bool gzip) {
  std::error_code ignored;
  if (fs::exists(file, ignored)) return file;
  fs::path packed = file;
  packed += ".gz";
  return gzip && fs::exists(packed, ignored) ? packed : fs::path{};
}

std::vector<fs::path> folders_to_try(const DataRequest& request, const std::vector<std::string>& below) {
  std::vector<fs::path> bases;
  for (const std::string& folder : request.folders) bases.emplace_back(folder);
  if (bases.empty()) bases.emplace_back();
  std::vector<fs::path> tried;
  for (const fs::path& base : bases)
    for (const std::string& folder : below) {
      std::error_code ignored;
      fs::path path = fs::absolute(base / (request.path.empty() ? "data" : request.path), ignored);
      if (!folder.empty()) path /= folder;
      path = path.lexically_normal();
      if (std::find(tried.begin(), tried.end(), path) == tried.end()) tried.push_back(path);
    }
  return tried;
}

std::string how_to_get(const DataFiles& wanted) {
  return concat("get ", wanted.source,
                " and set data.path to its folder, or train without it: data.set=shapes");
}

/// zlib's reader, closed on every way out.
struct GzipFile {
  explicit GzipFile(const fs::path& path) : file(gzopen(path.c_str(), "rb")) {}
  ~GzipFile() {
    if (file) gzclose(file);
  }
  GzipFile(const GzipFile&) = delete;
  GzipFile& operator=(const GzipFile&) = delete;
  gzFile file;
};

std::vector<std::uint8_t> unpack(const fs::path& path, std::int64_t most) {
  GzipFile gzip(path);
  require(gzip.file != nullptr, Errc::data, path.string(), ": cannot open: ", std::strerror(errno));
  std::vector<std::uint8_t> bytes;
  while (static_cast<std::int64_t>(bytes.size()) < most) {
    const std::size_t have = bytes.size();
    const auto part =
        static_cast<unsigned>(std::min<std::int64_t>(most - static_cast<std::int64_t>(have), 1 << 18));
    bytes.resize(have + part);
    const int got = gzread(gzip.file, bytes.data() + have, part);
    require(!gzdirect(gzip.file), Errc::data, path.string(), ": byte 0: not a gzip file; fetch it again");
    int state = Z_OK;
    const char* text = gzerror(gzip.file, &state);
    require(got >= 0 && (state == Z_OK || state == Z_STREAM_END), Errc::data, path.string(),
            ": damaged near unpacked byte ", have, " (", text, "); fetch it again");
    bytes.resize(have + static_cast<std::size_t>(got));
    if (static_cast<unsigned>(got) < part) break;
  }
  return bytes;
}

}  // namespace

std::vector<fs::path> find_files(const DataRequest& request, const DataFiles& wanted) {
  const std::vector<fs::path> tried = folders_to_try(request, wanted.folders);
  for (const fs::path& folder : tried) {
    std::vector<fs::path> found;
    for (const std::string& name : wanted.names) found.push_back(existing(folder / name, wanted.gzip));
    const auto missing = std::find(found.begin(), found.end(), fs::path{});
    if (missing == found.end()) return found;
    const bool none =
        std::all_of(found.begin(), found.end(), [](const fs::path& path) { return path.empty(); });
    if (!none)
      fail(Errc::data, "data set '", wanted.set, "': ", folder.string(), " lacks ",
           wanted.names[static_cast<std::size_t>(missing - found.begin())], "; ", how_to_get(wanted));
  }
  std::string list;
  for (const fs::path& folder : tried) list += "\n  " + folder.string();
  fail(Errc::data, "data set '", wanted.set, "': no ", wanted.names.front(), wanted.gzip ? "[.gz]" : "",
       " in any of", list, "\n", how_to_get(wanted));
}

fs::path find_folder(const DataRequest& request, const std::string& expected) {
  std::string list;
  for (const fs::path& folder : folders_to_try(request, {""})) {
    std::error_code ignored;
    if (fs::is_directory(folder, ignored)) return folder;
    list += "\n  " + folder.string();
  }
  fail(Errc::data, "data set '", request.set, "': no folder", list, "\nset data.path to ", expected,
       "; or train without it: data.set=shapes");
}

InputFile::InputFile(const fs::path& path) : path_(path) {
  // Without O_NONBLOCK a named pipe would wait here for a writer.
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  require(descriptor_ >= 0, Errc::data, path.string(), ": cannot open: ", std::strerror(errno));
  struct stat status {};
  const bool regular = ::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
  if (!regular) {
    ::close(descriptor_);
    fail(Errc::data, path.string(), ": not a regular file");
  }
  size_ = status.st_size;
}

InputFile::~InputFile() { ::close(descriptor_); }

void InputFile::read(std::int64_t offset, std::int64_t bytes, void* out) const {
  int failures = 0;
  for (std::int64_t done = 0; done < bytes;) {
    const ssize_t got = ::pread(descriptor_, static_cast<char*>(out) + done,
                                static_cast<std::size_t>(bytes - done), static_cast<off_t>(offset + done));
    if (got < 0 && (errno == EINTR || (errno == EIO && ++failures < 3))) continue;  // network disks recover
    require(got >= 0, Errc::data, path_.string(), ": byte ", offset + done, ": ", std::strerror(errno));
    require(got > 0, Errc::data, path_.string(), ": byte ", offset + done, ": the file ends early");
    done += got;
  }
}

std::vector<std::uint8_t> read_bytes(const fs::path& path, std::int64_t most) {
  const InputFile file(path);
  if (is_gzip(path)) return unpack(path, most);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(std::min(most, file.size())));
  file.read(0, static_cast<std::int64_t>(bytes.size()), bytes.data());
  return bytes;
}

std::int64_t largest_content(const fs::path& path) {
  constexpr std::int64_t deflate_ratio = 1032;
  const std::int64_t size = InputFile(path).size();
  return is_gzip(path) ? checked_multiply(size, deflate_ratio) : size;
}

}  // namespace octavo
