// Strict YAML: one document read into plain nodes that keep their place. The only user of yaml-cpp is
// yaml.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/error.h"

namespace octavo {

/// Where a value was written. Line 0 stands for a whole source, such as "override 1: optimizer.lr=1".
struct Position {
  std::shared_ptr<const std::string> source;
  int line = 0;
  int column = 0;
  std::string str() const;  ///< "a.yaml:4:3"
};

struct YamlEntry;

/// A value of the document; maps keep the order of the file.
struct YamlNode {
  enum class Kind { null, scalar, sequence, map };
  Kind kind = Kind::null;
  Position position;
  std::string text;             ///< of a scalar
  bool quoted = false;          ///< a quoted scalar is a text, never a number or flag
  std::vector<YamlNode> items;  ///< of a sequence
  std::vector<YamlEntry> entries;

  bool is_null() const { return kind == Kind::null; }
  bool is_scalar() const { return kind == Kind::scalar; }
  bool is_sequence() const { return kind == Kind::sequence; }
  bool is_map() const { return kind == Kind::map; }
  const YamlNode* find(std::string_view key) const;  ///< value of a map's key, or nullptr
  YamlNode* find(std::string_view key);
  void erase(std::string_view key);
};

struct YamlEntry {
  std::string key;
  Position position;
  YamlNode value;
};

YamlNode make_scalar(std::string text, Position position, bool quoted = false);
YamlNode make_map(Position position);

/// Reads a regular file of at most 1 MB: UTF-8, one document, nesting <= 32, no duplicate or merge keys,
/// no alias cycles, at most 100,000 nodes after alias expansion. Anything else is Errc::config.
YamlNode read_yaml_file(const std::string& path);

/// The same for a text; `source` names it in messages. An override gives all its nodes line 0.
YamlNode parse_yaml(std::string_view text, const std::string& source, bool whole_source_position = false);

/// Decimal numbers only: no 010, 0x10, 1_000, .inf, .nan. Empty when the node is not of the type.
std::optional<std::int64_t> to_integer(const YamlNode& node);
std::optional<double> to_number(const YamlNode& node);
std::optional<bool> to_flag(const YamlNode& node);  ///< true and false only
std::optional<std::int64_t> parse_integer(std::string_view text);
std::optional<double> parse_number(std::string_view text);

std::string format_number(double value);         ///< shortest text that reads back to the same value
std::string describe(const YamlNode& node);      ///< for messages: "'0x10'", "a list", "a map", "nothing"
std::string to_flow_text(const YamlNode& node);  ///< one line of YAML that reads back to the same node
std::string quote_text(
    const std::string& text);  ///< plain where YAML reads it back as the same text, else quoted

}  // namespace octavo
