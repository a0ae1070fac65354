// Checks that throw octavo::Error with a composed message.
#pragma once

#include <sstream>
#include <string>

#include "octavo/error.h"

namespace octavo {

template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

template <class... Parts>
[[noreturn]] void fail(Errc code, const Parts&... parts) {
  throw Error(code, concat(parts...));
}

template <class... Parts>
void require(bool condition, Errc code, const Parts&... parts) {
  if (!condition) [[unlikely]]
    fail(code, parts...);
}

}  // namespace octavo
