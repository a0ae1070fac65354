// Collects every error of a file before one exception is thrown, and finds the name a user probably meant.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/yaml.h"

namespace octavo {

class Problems {
 public:
  void add(const Position& position, const std::string& text);
  void add(const Error& error);  ///< lines of an error that already carries its place
  void add(const Problems& others);
  bool empty() const { return lines_.empty(); }
  void throw_if_any() const;  ///< Errc::config, one problem per line

 private:
  std::vector<std::string> lines_;
};

/// The nearest of `names` by edit distance, or "" when none is near enough.
std::string nearest_name(std::string_view name, const std::vector<std::string>& names);

/// "; did you mean 'lr'?" or, with nothing near, "; valid: a, b, c".
std::string suggestion(std::string_view name, const std::vector<std::string>& names);

[[noreturn]] void fail_at(const Position& position, const std::string& text);

}  // namespace octavo
