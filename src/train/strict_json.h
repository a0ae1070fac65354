// JSON from files that may be damaged or hostile.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace octavo {

/// Parses one JSON value of at most `max_values` values and 64 levels, without duplicate keys, in valid
/// UTF-8. Errc::checkpoint, beginning with `where`.
nlohmann::json parse_strict_json(const std::string& text, const std::string& where, std::int64_t max_values);

}  // namespace octavo
