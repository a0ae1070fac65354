#include "train/report/json_lines.h"

#include <limits>

#include "core/check.h"
#include "train/file_io.h"
#include "train/strict_json.h"

namespace octavo::report {
namespace {

constexpr std::int64_t largest_file = std::int64_t{4} << 30;
constexpr std::int64_t most_values = 1'000'000;  // of one line

nlohmann::json parse_object(const std::string& text, const std::string& where) {
  try {
    nlohmann::json value = parse_strict_json(text, where, most_values);
    require(value.is_object(), Errc::checkpoint, where, ": should be a JSON object");
    return value;
  } catch (const Error& error) {
    fail(error.code(), error.what(), "; remove the line to do without it");
  }
}

}  // namespace

void JsonLine::refuse(const char* key, const char* expected) const {
  const auto found = value.find(key);
  fail(Errc::checkpoint, where, ": '", key, "' should be ", expected, ", found ",
       found == value.end() ? std::string("nothing") : found->dump().substr(0, 60));
}

double JsonLine::number(const char* key) const {
  const auto found = value.find(key);
  if (found == value.end() || found->is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (!found->is_number()) refuse(key, "a number");
  return found->get<double>();
}

std::int64_t JsonLine::integer(const char* key) const {
  const auto found = value.find(key);
  if (found == value.end() || !found->is_number_integer()) refuse(key, "a whole number");
  return found->get<std::int64_t>();
}

std::string JsonLine::text(const char* key) const {
  const auto found = value.find(key);
  if (found == value.end()) return {};
  if (!found->is_string()) refuse(key, "a text");
  return found->get<std::string>();
}

bool JsonLine::flag(const char* key) const {
  const auto found = value.find(key);
  if (found == value.end()) return false;
  if (!found->is_boolean()) refuse(key, "true or false");
  return found->get<bool>();
}

void each_line(const std::filesystem::path& file, const std::function<void(const JsonLine&)>& visit) {
  if (!std::filesystem::exists(file)) return;
  const std::string text = FileReader(system_files(), file).text(largest_file);
  const std::string prefix = file.string() + ":";
  std::int64_t number = 0;
  for (std::size_t from = 0, end = 0; (end = text.find('\n', from)) != std::string::npos; from = end + 1) {
    ++number;
    if (end == from) continue;
    const std::string where = prefix + std::to_string(number);
    const nlohmann::json value = parse_object(text.substr(from, end - from), where);
    visit({value, where});
  }
}

}  // namespace octavo::report
