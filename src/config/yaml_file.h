// Text of a configuration file, read without trusting what the path points to.
#pragma once

#include <string>
#include <string_view>

namespace octavo {

/// Whole content of a regular file of at most 1 MB; Errc::config otherwise. Never blocks on a pipe or device.
std::string read_text_file(const std::string& path);

/// Errc::config at the first byte that is not UTF-8 or is a control character, and where brackets nest deeper
/// than `limit`: the YAML scanner must not see either.
void check_text(std::string_view text, const std::string& source, int limit);

/// "\n  the line\n      ^" for a message about a place; "" outside the text.
std::string caret(std::string_view text, int line, int column);

}  // namespace octavo
