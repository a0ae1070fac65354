// Appending and cutting back files of JSON lines.
#include "train/events.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "core/check.h"
#include "core/log.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

/// Whether `line` is an event of `step` or before.
bool keeps(const std::string& line, std::int64_t step) {
  const auto event = nlohmann::json::parse(line, nullptr, false);
  if (!event.is_object()) return false;
  const auto found = event.find("step");
  return found == event.end() || (found->is_number_integer() && found->get<std::int64_t>() <= step);
}

}  // namespace

EventFile::EventFile(fs::path path, FileCalls& files) : files_(files), path_(std::move(path)) {
  file_ = files_.open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (file_ < 0) fail_errno(Errc::resource, "open", path_);
}

EventFile::~EventFile() { files_.close(file_); }

void EventFile::append(const nlohmann::ordered_json& event) {
  using Json = nlohmann::ordered_json;
  std::string line = event.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  if (torn_) line.insert(0, "\n");  // what a failed write left is a line of its own, not the head of this one
  torn_ = !write_all(files_, file_, std::as_bytes(std::span(line)));
  if (!torn_ || warned_) return;
  warned_ = true;
  logger(LogArea::train).warn("cannot write {}: {}; training goes on", path_.string(), std::strerror(errno));
}

void truncate_events(const fs::path& path, std::int64_t step) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return;
  std::int64_t kept = 0;
  // A line without its end is damaged: eof() is set only then.
  for (std::string line; std::getline(in, line) && !in.eof() && keeps(line, step);) {
    kept += static_cast<std::int64_t>(line.size()) + 1;
  }
  if (::truncate(path.c_str(), kept) != 0) fail_errno(Errc::resource, "cut back", path);
}

}  // namespace octavo
