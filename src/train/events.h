// Files of one JSON object per line: metrics.jsonl and precision.jsonl.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "train/file_io.h"

namespace octavo {

/// Appends lines, each by one write. A failure warns once in the train log; later lines are tried again,
/// silently.
class EventFile {
 public:
  explicit EventFile(std::filesystem::path path, FileCalls& files = system_files());
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  /// Keeps the order of the keys; numbers that are not finite become null.
  void append(const nlohmann::ordered_json& event);

 private:
  FileCalls& files_;
  std::filesystem::path path_;
  int file_ = -1;
  bool warned_ = false;
  bool torn_ = false;  // the last line may be incomplete
};

/// Resuming at `step`: cuts the file before the first line that is damaged or whose "step" is larger, so that
/// no line appears twice. Write the events of a step before its checkpoint. A missing file is fine;
/// Errc::resource.
void truncate_events(const std::filesystem::path& path, std::int64_t step);

}  // namespace octavo
