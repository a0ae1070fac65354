// The frame of a page: one file with its style and script inside, nothing from anywhere else.
#pragma once

#include <string>
#include <vector>

namespace octavo::report {

struct Section {
  std::string id, title, body;  ///< body is markup
};

/// A whole HTML document: `head` is markup, then navigation and sections.
std::string page(const std::string& title, const std::string& head, const std::vector<Section>& sections);

const char* page_style();      ///< CSS without the colour scales
std::string colour_classes();  ///< CSS of the classes that ColourScale names, for light and dark pages
const char* page_script();     ///< tooltips; the page is complete without it

}  // namespace octavo::report
