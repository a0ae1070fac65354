// Lookup of references.
#include "config/model_scope.h"

#include <algorithm>

#include "config/problems.h"
#include "core/check.h"

namespace octavo {
namespace {

std::string list_of(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

const Binding& first_part(const std::string& name, const YamlNode& reference, const Scope& scope) {
  if (const Binding* found = scope.find(name)) return *found;
  for (const Scope* s = &scope; s != nullptr; s = s->outer)
    if (std::find(s->later.begin(), s->later.end(), name) != s->later.end())
      fail_at(reference.position,
              concat("'", name, "' is used before it is computed; move it up, or break the cycle"));
  fail_at(reference.position, concat("unknown value '", name, "'", suggestion(name, scope.names())));
}

// Every binding that `rest` (".c3", ".*.cls", ":hidden", "") selects below `binding`.
void select(const Binding& binding, std::string_view rest, const std::string& so_far,
            const YamlNode& reference, std::vector<Binding>& found) {
  if (rest.empty() || binding.missing) {
    found.push_back(binding);
    return;
  }
  const bool output = rest.front() == ':';
  rest.remove_prefix(1);
  const std::size_t end = std::min(rest.find_first_of(".:"), rest.size());
  const std::string name(rest.substr(0, end));
  rest.remove_prefix(end);
  if (name == "*") {
    for (const auto& [part_name, part] : binding.parts)
      select(part, rest, so_far + "." + part_name, reference, found);
    if (binding.parts.empty()) fail_at(reference.position, concat("'", so_far, "' has no parts for '*'"));
    return;
  }
  if (const Binding* part = binding.part(name))
    return select(*part, rest, so_far + "." + name, reference, found);
  if (output && !binding.declared_outputs && rest.empty() && binding.value.find(':') == std::string::npos &&
      !binding.value.empty()) {
    Binding named;  // an output the op names itself; the graph builder knows it
    named.value = binding.value + ":" + name;
    named.share = binding.share;
    found.push_back(named);
    return;
  }
  const std::vector<std::string> names = binding.part_names();
  fail_at(reference.position,
          concat("'", so_far, "' has no output '", name, "'", names.empty() ? "" : suggestion(name, names)));
}

}  // namespace

const Binding* Binding::part(std::string_view name) const {
  for (const auto& [part_name, binding] : parts)
    if (part_name == name) return &binding;
  return is_loop && !parts.empty() ? parts.back().binding.part(name) : nullptr;
}

std::vector<std::string> Binding::part_names() const {
  std::vector<std::string> names;
  for (const auto& [name, binding] : parts) names.push_back(name);
  return names;
}

Binding missing_binding(std::string reason) {
  Binding binding;
  binding.missing = true;
  binding.missing_reason = std::move(reason);
  return binding;
}

const Binding* Scope::find(std::string_view name) const {
  if (const auto found = values.find(name); found != values.end()) return &found->second;
  return outer != nullptr ? outer->find(name) : nullptr;
}

std::vector<std::string> Scope::names() const {
  std::vector<std::string> all;
  for (const Scope* s = this; s != nullptr; s = s->outer)
    for (const auto& [name, binding] : s->values) all.push_back(name);
  return all;
}

Scope Scope::inside() const {
  Scope inner;
  inner.file = file;
  inner.outer = this;
  inner.variables = variables;
  inner.parameters = parameters;
  inner.path = path;
  inner.share = share;
  inner.when = when;
  inner.frozen = frozen;
  inner.imported = imported;
  return inner;
}

std::vector<Binding> resolve(const YamlNode& reference, const Scope& scope, bool values_only) {
  if (!reference.is_scalar() || reference.text.empty())
    fail_at(reference.position, "expected the name of a value, found " + describe(reference));
  const std::string& text = reference.text;
  const std::size_t end = std::min(text.find_first_of(".:"), text.size());
  const std::string name = text.substr(0, end);
  std::vector<Binding> found;
  select(first_part(name, reference, scope), std::string_view(text).substr(end), name, reference, found);
  for (const Binding& binding : found)
    if (values_only && !binding.missing && binding.value.empty())
      fail_at(reference.position,
              concat("'", text, "' has several outputs; name one of ", list_of(binding.part_names())));
  return found;
}

Binding resolve_one(const YamlNode& reference, const Scope& scope) {
  std::vector<Binding> found = resolve(reference, scope);
  if (found.size() != 1)
    fail_at(reference.position,
            concat("'", reference.text, "' stands for ", found.size(), " values; one is expected here"));
  return found.front();
}

}  // namespace octavo
