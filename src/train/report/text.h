// Text for pages and tables: escaping, and numbers as people read them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace octavo::report {

/// For HTML and SVG, in text and in quoted attributes. Control characters and bytes that are no UTF-8 become
/// U+FFFD, so that names from files can neither end an element nor break the page.
std::string escape(std::string_view text);

/// How the values of a chart or column are written.
enum class Unit { plain, percent, bits };

std::string count_text(std::int64_t value);         ///< "12,345"
std::string number_text(double value, int digits);  ///< significant digits: "0.0123", "1.2e-05"; "–" for NaN
std::string fixed_text(double value, int decimals);
std::string percent_text(double share, int decimals);  ///< 0.5 -> "50.0%"
std::string bytes_text(double bytes);                  ///< "12.3 MiB"
std::string power_text(int base, int exponent);        ///< "2⁻¹⁰"
std::string value_text(double value, Unit unit);       ///< three digits; "2.5×10⁻⁵%"

/// Coordinate in a drawing: at most one decimal.
std::string coordinate(double value);

/// JSON number of this many digits, or null: for what the page's script shows.
std::string json_number(double value, int digits);
/// JSON string that may stand inside an HTML script element.
std::string json_string(std::string_view text);

}  // namespace octavo::report
