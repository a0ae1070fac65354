// Reading files of one JSON object per line, with messages that name file and line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

namespace octavo::report {

/// One line being read; the members throw Errc::checkpoint when a value has the wrong type.
struct JsonLine {
  const nlohmann::json& value;
  std::string where;  ///< "runs/a/metrics.jsonl:17"

  double number(const char* key) const;         ///< NaN when missing or null
  std::int64_t integer(const char* key) const;  ///< has to be there
  std::string text(const char* key) const;      ///< "" when missing
  bool flag(const char* key) const;             ///< false when missing
  [[noreturn]] void refuse(const char* key, const char* expected) const;
};

/// Calls `visit` for each line. A missing file has no lines; empty lines and an incomplete last one are left
/// out. Errc::checkpoint for a line that is no JSON object.
void each_line(const std::filesystem::path& file, const std::function<void(const JsonLine&)>& visit);

}  // namespace octavo::report
