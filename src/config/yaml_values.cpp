// Scalars of a YAML node read as numbers and written back, independent of the locale.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "config/yaml.h"
#include "core/check.h"

namespace octavo {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::size_t digits_at(std::string_view text, std::size_t i) {
  std::size_t end = i;
  while (end < text.size() && is_digit(text[end])) ++end;
  return end - i;
}

// [+-] digits [. digits] [e [+-] digits], no leading zero: std::from_chars alone would take "inf" and "010".
bool is_decimal(std::string_view text, bool whole) {
  std::size_t i = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  const std::size_t before = digits_at(text, i);
  if (before > 1 && text[i] == '0') return false;
  i += before;
  if (whole) return before > 0 && i == text.size();
  std::size_t after = 0;
  if (i < text.size() && text[i] == '.') {
    after = digits_at(text, i + 1);
    i += 1 + after;
  }
  if (before + after == 0) return false;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '-' || text[i] == '+')) ++i;
    const std::size_t exponent = digits_at(text, i);
    if (exponent == 0) return false;
    i += exponent;
  }
  return i == text.size();
}

template <class T>
std::optional<T> convert(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return value;
}

bool is_reserved(const std::string& text) {
  static constexpr std::array<std::string_view, 8> words{"null", "Null",  "NULL", "~",
                                                         "true", "false", "---",  "..."};
  return std::find(words.begin(), words.end(), text) != words.end();
}

}  // namespace

std::string Position::str() const {
  const std::string& name = source ? *source : "?";
  return line > 0 ? concat(name, ":", line, ":", column) : name;
}

const YamlNode* YamlNode::find(std::string_view key) const {
  for (const YamlEntry& entry : entries)
    if (entry.key == key) return &entry.value;
  return nullptr;
}

YamlNode* YamlNode::find(std::string_view key) {
  return const_cast<YamlNode*>(static_cast<const YamlNode*>(this)->find(key));
}

void YamlNode::erase(std::string_view key) {
  std::erase_if(entries, [&](const YamlEntry& entry) { return entry.key == key; });
}

YamlNode make_scalar(std::string text, Position position, bool quoted) {
  YamlNode node;
  node.kind = YamlNode::Kind::scalar;
  node.text = std::move(text);
  node.position = std::move(position);
  node.quoted = quoted;
  return node;
}

YamlNode make_map(Position position) {
  YamlNode node;
  node.kind = YamlNode::Kind::map;
  node.position = std::move(position);
  return node;
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  if (!is_decimal(text, true)) return {};
  return convert<std::int64_t>(text);
}

std::optional<double> parse_number(std::string_view text) {
  if (!is_decimal(text, false)) return {};
  return convert<double>(text);
}

std::optional<std::int64_t> to_integer(const YamlNode& node) {
  if (!node.is_scalar() || node.quoted) return {};
  return parse_integer(node.text);
}

std::optional<double> to_number(const YamlNode& node) {
  if (!node.is_scalar() || node.quoted) return {};
  return parse_number(node.text);
}

std::optional<bool> to_flag(const YamlNode& node) {
  if (!node.is_scalar() || node.quoted) return {};
  if (node.text == "true") return true;
  if (node.text == "false") return false;
  return {};
}

std::string format_number(double value) {
  std::array<char, 32> text{};
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  return std::string(text.data(), error == std::errc{} ? end : text.data());
}

std::string describe(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::null:
      return "nothing";
    case YamlNode::Kind::sequence:
      return "a list";
    case YamlNode::Kind::map:
      return "a map";
    case YamlNode::Kind::scalar:
      break;
  }
  const std::string shown = node.text.size() > 60 ? node.text.substr(0, 57) + "..." : node.text;
  return node.quoted ? "the text '" + shown + "'" : "'" + shown + "'";
}

std::string quote_text(const std::string& text) {
  const auto is_plain = [](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '/' ||
           c == '.' || c == '+' || c == ' ' || c == '-';
  };
  // Plain texts that start like a number read as one, here or in another YAML reader (010, 0x10, 1_000).
  const bool like_number =
      !text.empty() &&
      (is_digit(text.front()) || std::string_view("+-.").find(text.front()) != std::string_view::npos);
  const bool safe_ends = !text.empty() && text.front() != ' ' && text.back() != ' ';
  if (safe_ends && !like_number && !is_reserved(text) && std::all_of(text.begin(), text.end(), is_plain))
    return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (c == '\n' || c == '\t' || c == '\r') {
      quoted += c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r";
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string to_flow_text(const YamlNode& node) {
  std::string text;
  switch (node.kind) {
    case YamlNode::Kind::null:
      return "null";
    case YamlNode::Kind::scalar:
      return !node.quoted && (parse_number(node.text) || to_flag(node)) ? node.text : quote_text(node.text);
    case YamlNode::Kind::sequence:
      for (const YamlNode& item : node.items) text += (text.empty() ? "" : ", ") + to_flow_text(item);
      return "[" + text + "]";
    case YamlNode::Kind::map:
      for (const YamlEntry& entry : node.entries)
        text += (text.empty() ? "" : ", ") + quote_text(entry.key) + ": " + to_flow_text(entry.value);
      return "{" + text + "}";
  }
  return text;
}

}  // namespace octavo
