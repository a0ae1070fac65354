// Writes HTML and SVG elements: whatever is opened is closed, whatever is text is escaped.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace octavo::report {

class Markup {
 public:
  using Attributes = std::vector<std::pair<std::string_view, std::string>>;

  Markup& open(std::string_view tag, const Attributes& attributes = {});
  Markup& close();  ///< the element opened last
  Markup& text(std::string_view text);
  Markup& element(std::string_view tag, const Attributes& attributes, std::string_view text);
  Markup& empty(std::string_view tag, const Attributes& attributes);  ///< <path .../>
  Markup& raw(std::string_view markup);                               ///< what another Markup made

  std::string take();  ///< closes what is open

 private:
  void start(std::string_view tag, const Attributes& attributes);

  std::string out_;
  std::vector<std::string> open_;
};

}  // namespace octavo::report
