// AttrReader: the attributes of one model node, each read once with its limits.
#include <algorithm>
#include <set>

#include "config/model_language.h"
#include "config/problems.h"
#include "core/check.h"
#include "octavo/config.h"

namespace octavo {

struct AttrReader::Impl {
  YamlNode attributes;
  std::string op, path;
  std::set<std::string, std::less<>> read;  // names that a getter asked for
};

namespace {

std::string range_text(const char* type, auto min, auto max) {
  return concat(type, " in [", min, ", ", max, "]");
}

// Entry of that name, noted as read; nullptr when absent or null.
const YamlNode* look(AttrReader::Impl& impl, std::string_view name) {
  impl.read.emplace(name);
  const YamlNode* node = impl.attributes.find(name);
  return node == nullptr || node->is_null() ? nullptr : node;
}

std::vector<const YamlNode*> as_list(const YamlNode* node) {
  if (node == nullptr) return {};
  if (!node->is_sequence()) return {node};
  std::vector<const YamlNode*> items;
  for (const YamlNode& item : node->items) items.push_back(&item);
  return items;
}

}  // namespace

AttrReader AttrReader::from_text(const std::string& yaml, std::string op, std::string path) {
  YamlNode node = parse_yaml(yaml, "attributes of " + path);
  if (node.is_null()) node = make_map(node.position);
  if (!node.is_map()) fail_at(node.position, "expected a map of attributes, found " + describe(node));
  return AttrReader(std::make_shared<Impl>(Impl{std::move(node), std::move(op), std::move(path), {}}));
}

AttrReader attributes_of(const ModelNode& node) {
  return AttrReader(
      std::make_shared<AttrReader::Impl>(AttrReader::Impl{node.attributes, node.op, node.path, {}}));
}

bool AttrReader::has(std::string_view name) const {
  const YamlNode* node = impl_->attributes.find(name);
  return node != nullptr && !node->is_null();
}

bool AttrReader::is_map(std::string_view name) const {
  const YamlNode* node = impl_->attributes.find(name);
  return node != nullptr && node->is_map();
}

std::string AttrReader::where() const {
  return concat(impl_->attributes.position.str(), ": [", impl_->op, " '", impl_->path, "']");
}

void AttrReader::fail(std::string_view name, const std::string& message) const {
  const YamlNode* node = impl_->attributes.find(name);
  const Position& position = node != nullptr ? node->position : impl_->attributes.position;
  fail_at(position, concat("[", impl_->op, " '", impl_->path, "'] ", message));
}

namespace {

[[noreturn]] void fail_value(const AttrReader& reader, std::string_view name, const std::string& expected,
                             const YamlNode* node) {
  if (node == nullptr) reader.fail(name, concat("attribute '", name, "' is required: ", expected));
  reader.fail(name, concat("attribute '", name, "' expects ", expected, ", found ", describe(*node)));
}

std::int64_t take_integer(const AttrReader& reader, std::string_view name, const YamlNode* node,
                          std::int64_t min, std::int64_t max, const char* type) {
  const auto value = node != nullptr ? to_integer(*node) : std::nullopt;
  if (!value || *value < min || *value > max) fail_value(reader, name, range_text(type, min, max), node);
  return *value;
}

}  // namespace

std::int64_t AttrReader::integer(std::string_view name, std::optional<std::int64_t> fallback,
                                 std::int64_t min, std::int64_t max) const {
  const YamlNode* node = look(*impl_, name);
  if (node == nullptr && fallback) return *fallback;
  return take_integer(*this, name, node, min, max, "a whole number");
}

double AttrReader::number(std::string_view name, std::optional<double> fallback, double min,
                          double max) const {
  const YamlNode* node = look(*impl_, name);
  if (node == nullptr && fallback) return *fallback;
  const auto value = node != nullptr ? to_number(*node) : std::nullopt;
  if (!value || *value < min || *value > max) {
    const bool limited =
        min > std::numeric_limits<double>::lowest() || max < std::numeric_limits<double>::max();
    fail_value(*this, name,
               limited ? range_text("a number", format_number(min), format_number(max)) : "a number", node);
  }
  return *value;
}

bool AttrReader::flag(std::string_view name, std::optional<bool> fallback) const {
  const YamlNode* node = look(*impl_, name);
  if (node == nullptr && fallback) return *fallback;
  const auto value = node != nullptr ? to_flag(*node) : std::nullopt;
  if (!value) fail_value(*this, name, "true or false", node);
  return *value;
}

std::string AttrReader::text(std::string_view name, std::optional<std::string> fallback) const {
  const YamlNode* node = look(*impl_, name);
  if (node == nullptr && fallback) return *fallback;
  if (node == nullptr || !node->is_scalar()) fail_value(*this, name, "a text", node);
  return node->text;
}

std::string AttrReader::choice(std::string_view name, std::span<const std::string_view> choices,
                               std::optional<std::string> fallback) const {
  const YamlNode* node = look(*impl_, name);
  if (node == nullptr && fallback) return *fallback;
  const std::vector<std::string> names(choices.begin(), choices.end());
  const bool known = node != nullptr && node->is_scalar() &&
                     std::find(names.begin(), names.end(), node->text) != names.end();
  if (!known) {
    std::string list;
    for (const std::string& choice : names) list += (list.empty() ? "" : ", ") + choice;
    fail_value(*this, name, "one of " + list, node);
  }
  return node->text;
}

std::array<std::int64_t, 2> AttrReader::pair(std::string_view name, std::optional<std::int64_t> fallback,
                                             std::int64_t min, std::int64_t max) const {
  const char* type = "a whole number, or two as [height, width],";
  const YamlNode* node = look(*impl_, name);
  if (node == nullptr && fallback) return {*fallback, *fallback};
  if (node == nullptr || !node->is_sequence()) {
    const std::int64_t value = take_integer(*this, name, node, min, max, type);
    return {value, value};
  }
  if (node->items.size() != 2) fail_value(*this, name, range_text(type, min, max), node);
  return {take_integer(*this, name, &node->items[0], min, max, type),
          take_integer(*this, name, &node->items[1], min, max, type)};
}

std::vector<std::int64_t> AttrReader::integers(std::string_view name, std::int64_t min,
                                               std::int64_t max) const {
  std::vector<std::int64_t> values;
  for (const YamlNode* item : as_list(look(*impl_, name)))
    values.push_back(take_integer(*this, name, item, min, max, "whole numbers"));
  return values;
}

std::vector<double> AttrReader::numbers(std::string_view name) const {
  std::vector<double> values;
  for (const YamlNode* item : as_list(look(*impl_, name))) {
    const auto value = to_number(*item);
    if (!value) fail_value(*this, name, "numbers", item);
    values.push_back(*value);
  }
  return values;
}

std::vector<std::string> AttrReader::texts(std::string_view name) const {
  std::vector<std::string> values;
  for (const YamlNode* item : as_list(look(*impl_, name))) {
    if (!item->is_scalar()) fail_value(*this, name, "texts", item);
    values.push_back(item->text);
  }
  return values;
}

AttrReader AttrReader::map(std::string_view name) const {
  const YamlNode* node = look(*impl_, name);
  if (node == nullptr || !node->is_map()) fail_value(*this, name, "a map", node);
  return AttrReader(std::make_shared<Impl>(Impl{*node, impl_->op, concat(impl_->path, ".", name), {}}));
}

void AttrReader::finish() const {
  Problems problems;
  const std::vector<std::string> names(impl_->read.begin(), impl_->read.end());
  for (const YamlEntry& entry : impl_->attributes.entries)
    if (!impl_->read.contains(entry.key))
      problems.add(entry.position, concat("[", impl_->op, " '", impl_->path, "'] unknown attribute '",
                                          entry.key, "'", suggestion(entry.key, names)));
  problems.throw_if_any();
}

}  // namespace octavo
