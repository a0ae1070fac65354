// Reading and writing of settings fields.
#include "config/field.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace octavo {
namespace {

void read_choice(const YamlNode& node, const KeySpec& spec, std::string& out) {
  if (!node.is_scalar()) fail_expected(node, spec);
  if (std::find(spec.choices.begin(), spec.choices.end(), node.text) == spec.choices.end()) {
    const std::string near = nearest_name(node.text, spec.choices);
    fail_expected(node, spec, near.empty() ? "" : "; did you mean '" + near + "'?");
  }
  out = node.text;
}

template <class T>
void read_list(const YamlNode& node, const KeySpec& spec, std::vector<T>& out) {
  if (node.is_map()) fail_expected(node, spec);
  std::vector<T> values(node.is_scalar() ? 1 : node.items.size());
  if (node.is_scalar()) read_field(node, spec, values[0]);
  for (std::size_t i = 0; i < node.items.size(); ++i) read_field(node.items[i], spec, values[i]);
  out = std::move(values);
}

template <class T>
std::string write_list(const std::vector<T>& values) {
  std::string text;
  for (const T& value : values) text += (text.empty() ? "" : ", ") + write_field(value);
  return values.empty() ? "" : "[" + text + "]";
}

}  // namespace

void fail_expected(const YamlNode& node, const KeySpec& spec, const std::string& more) {
  fail_at(node.position,
          concat("'", spec.path, "' expects ", spec.allowed(), ", found ", describe(node), more));
}

void read_field(const YamlNode& node, const KeySpec& spec, bool& out) {
  const auto value = to_flag(node);
  if (!value) fail_expected(node, spec);
  out = *value;
}

void read_field(const YamlNode& node, const KeySpec& spec, std::int64_t& out) {
  const auto value = to_integer(node);
  if (!value || !spec.accepts(static_cast<double>(*value))) fail_expected(node, spec);
  out = *value;
}

void read_field(const YamlNode& node, const KeySpec& spec, double& out) {
  const auto value = to_number(node);
  if (!value || !spec.accepts(*value)) fail_expected(node, spec);
  out = *value;
}

void read_field(const YamlNode& node, const KeySpec& spec, std::string& out) {
  if (!spec.choices.empty()) return read_choice(node, spec, out);
  if (!node.is_scalar() || node.text.empty()) fail_expected(node, spec);
  out = node.text;
}

// "500 steps"; without a unit nobody can know what was meant.
void read_field(const YamlNode& node, const KeySpec& spec, Duration& out) {
  if (!node.is_scalar()) fail_expected(node, spec);
  const std::string& text = node.text;
  const std::size_t space = std::min(text.find(' '), text.size());
  const auto count = parse_number(std::string_view(text).substr(0, space));
  const std::string unit = text.substr(std::min(text.find_first_not_of(' ', space), text.size()));
  if (count && unit.empty())
    fail_at(node.position,
            concat("'", spec.path, "' has no unit; write '", text, " epochs' or '", text, " steps'"));
  const bool in_epochs = unit == "epoch" || unit == "epochs", in_steps = unit == "step" || unit == "steps";
  if (!count || !(in_epochs || in_steps) || !spec.accepts(*count)) fail_expected(node, spec);
  if (in_steps && std::floor(*count) != *count) fail_expected(node, spec, "; steps are whole");
  out = {*count, in_epochs};
}

void read_field(const YamlNode& node, const KeySpec& spec, std::vector<double>& out) {
  read_list(node, spec, out);
}

void read_field(const YamlNode& node, const KeySpec& spec, std::vector<std::string>& out) {
  read_list(node, spec, out);
}

void read_field(const YamlNode& node, const KeySpec& spec, std::vector<Duration>& out) {
  read_list(node, spec, out);
}

void read_field(const YamlNode& node, const KeySpec& spec, std::vector<NamedValue>& out) {
  if (!node.is_map()) fail_expected(node, spec);
  out.clear();
  for (const YamlEntry& entry : node.entries) out.push_back({entry.key, to_flow_text(entry.value)});
}

std::string write_field(bool value) { return value ? "true" : "false"; }
std::string write_field(std::int64_t value) { return std::to_string(value); }
std::string write_field(double value) { return format_number(value); }
std::string write_field(const std::string& value) { return value.empty() ? "" : quote_text(value); }
std::string write_field(const Duration& value) { return value.count > 0 ? value.str() : ""; }
std::string write_field(const std::vector<double>& value) { return write_list(value); }
std::string write_field(const std::vector<std::string>& value) { return write_list(value); }
std::string write_field(const std::vector<Duration>& value) { return write_list(value); }

std::string write_field(const std::vector<NamedValue>& value) {
  std::string text;
  for (const NamedValue& entry : value)
    text += (text.empty() ? "" : ", ") + quote_text(entry.name) + ": " + entry.value;
  return value.empty() ? "" : "{" + text + "}";
}

}  // namespace octavo
