// A strict reader of HTML pages: every element closed in order, attributes quoted, text escaped.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace octavo::testing {

struct HtmlElement {
  std::string tag, text;  ///< its own text, without that of elements inside
  std::map<std::string, std::string> attributes;
};

/// Elements in the order in which they begin; throws std::runtime_error at the first fault.
class HtmlReader {
 public:
  explicit HtmlReader(const std::string& text) : text_(text) {
    const std::string doctype = "<!DOCTYPE html>";
    if (text.rfind(doctype, 0) != 0) fault("no doctype");
    at_ = doctype.size();
    while (at_ < text_.size()) text_[at_] == '<' ? read_tag() : read_character();
    if (!open_.empty()) fault("<" + elements_[open_.back()].tag + "> is not closed");
  }

  const std::vector<HtmlElement>& elements() const { return elements_; }

 private:
  [[noreturn]] void fault(const std::string& what) const {
    throw std::runtime_error(what + " near: " + text_.substr(at_ < 40 ? 0 : at_ - 40, 100));
  }

  static bool is_void(const std::string& tag) {
    return tag == "meta" || tag == "br" || tag == "link" || tag == "img";
  }

  std::string entity() {
    static const std::map<std::string, std::string> known = {
        {"&amp;", "&"}, {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&#39;", "'"}};
    const std::size_t end = text_.find(';', at_);
    const auto found = known.find(text_.substr(at_, end == std::string::npos ? 0 : end + 1 - at_));
    if (found == known.end()) fault("unescaped &");
    at_ = end + 1;
    return found->second;
  }

  void read_character() {
    const std::string character = text_[at_] == '&' ? entity() : std::string(1, text_[at_++]);
    if (!open_.empty())
      elements_[open_.back()].text += character;
    else if (character != "\n")
      fault("text outside elements");
  }

  std::string name() {
    std::size_t end = at_;
    while (end < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[end])) || text_[end] == '-'))
      ++end;
    if (end == at_) fault("a name is missing");
    const std::size_t from = at_;
    at_ = end;
    return text_.substr(from, end - from);
  }

  void read_attribute(HtmlElement& element) {
    const std::string key = name();
    if (text_.compare(at_, 2, "=\"") != 0) fault("attribute without a quoted value");
    at_ += 2;
    std::string value;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] == '<') fault("< in an attribute");
      value += text_[at_] == '&' ? entity() : std::string(1, text_[at_++]);
    }
    ++at_;
    if (!element.attributes.emplace(key, value).second) fault("attribute twice: " + key);
  }

  void read_tag() {
    ++at_;
    if (text_[at_] == '/') {
      ++at_;
      const std::string tag = name();
      if (open_.empty() || elements_[open_.back()].tag != tag) fault("</" + tag + "> closes nothing");
      open_.pop_back();
      if (text_[at_++] != '>') fault("broken end tag");
      return;
    }
    HtmlElement element;
    element.tag = name();
    while (text_[at_] == ' ') {
      ++at_;
      read_attribute(element);
    }
    const bool closed = text_[at_] == '/';
    if (closed) ++at_;
    if (text_[at_++] != '>') fault("broken tag <" + element.tag);
    elements_.push_back(element);
    if (closed || is_void(element.tag)) return;
    open_.push_back(elements_.size() - 1);
    if (element.tag != "script" && element.tag != "style") return;
    const std::size_t end = text_.find("</" + element.tag, at_);
    if (end == std::string::npos) fault("open " + element.tag);
    elements_.back().text = text_.substr(at_, end - at_);
    at_ = end;
  }

  const std::string& text_;
  std::size_t at_ = 0;
  std::vector<HtmlElement> elements_;
  std::vector<std::size_t> open_;
};

inline std::vector<HtmlElement> read_html(const std::string& text) { return HtmlReader(text).elements(); }

/// Some element of this tag has the text.
inline bool says(const std::vector<HtmlElement>& elements, const std::string& tag, const std::string& text) {
  return std::any_of(elements.begin(), elements.end(), [&](const HtmlElement& element) {
    return element.tag == tag && element.text.find(text) != std::string::npos;
  });
}

}  // namespace octavo::testing
