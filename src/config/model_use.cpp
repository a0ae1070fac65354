// Calls of blocks and of other model files: inputs, arguments, outputs.
#include <algorithm>
#include <filesystem>

#include "config/model_expand.h"
#include "core/check.h"

namespace octavo {
namespace {

constexpr std::size_t deepest_use = 100;
constexpr std::size_t longest_list = 1000;  // of one parameter; lists are copied where they are used

void check_size(const YamlNode& value, const std::string& name) {
  if (value.items.size() > longest_list)
    fail_at(value.position,
            concat("'", name, "' has ", value.items.size(), " values; a list may have ", longest_list));
}

std::vector<std::string> keys_of(const YamlNode* map) {
  std::vector<std::string> keys;
  if (map != nullptr)
    for (const YamlEntry& entry : map->entries) keys.push_back(entry.key);
  return keys;
}

std::vector<std::string> block_inputs(const YamlNode& block) {
  const YamlNode* inputs = block.find("inputs");
  if (inputs == nullptr || inputs->is_null()) return {"in"};
  if (!inputs->is_sequence()) fail_at(inputs->position, "'inputs' of a block expects a list of names");
  std::vector<std::string> names;
  for (const YamlNode& name : inputs->items) {
    if (!is_identifier(name.text)) fail_at(name.position, "'" + name.text + "' is not a name");
    names.push_back(name.text);
  }
  return names;
}

// Matches what `from` gives with the inputs that a block or model has.
std::map<std::string, Binding> match_inputs(const std::vector<GivenInput>& given,
                                            const std::vector<std::string>& names, const std::string& what) {
  std::map<std::string, Binding> matched;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const GivenInput& input = given[i];
    if (input.name.empty() && i >= names.size())
      fail_at(input.position, concat(what, " takes ", names.size(), " inputs, found ", given.size()));
    const std::string name = input.name.empty() ? names[i] : input.name;
    if (std::find(names.begin(), names.end(), name) == names.end())
      fail_at(input.position, concat(what, " has no input '", name, "'", suggestion(name, names)));
    matched[name] = input.binding;
  }
  return matched;
}

}  // namespace

std::vector<GivenInput> read_inputs(const YamlNode* from, const Scope& scope, const Binding& previous,
                                    const Position& position) {
  if (from == nullptr) {
    const bool usable = previous.missing || !previous.value.empty();
    return {{"", usable ? previous : missing_binding("the node before has several outputs"), position}};
  }
  std::vector<GivenInput> inputs;
  const auto append = [&](const std::string& name, const YamlNode& written) {
    const YamlNode reference = evaluate(written, scope.variables);
    for (Binding& binding : resolve(reference, scope)) {
      if (binding.missing && !binding.missing_reason.empty() && !scope.imported)
        fail_at(reference.position,
                concat("'", reference.text, "' is not computed: ", binding.missing_reason));
      inputs.push_back({name, std::move(binding), reference.position});
    }
  };
  if (from->is_scalar()) append("", *from);
  for (const YamlNode& item : from->items) append("", item);
  for (const YamlEntry& entry : from->entries) append(entry.key, entry.value);
  return inputs;
}

Variables bind_arguments(const YamlNode* declared, const YamlNode& given, const Variables& visible,
                         const std::map<std::string, std::int64_t>& facts, const std::string& what,
                         const Position& position) {
  Problems problems;
  const std::vector<std::string> names = keys_of(declared);
  for (const YamlEntry& entry : given.entries)
    if (std::find(names.begin(), names.end(), entry.key) == names.end())
      problems.add(entry.position, concat(what, " has no argument '", entry.key, "'",
                                          names.empty() ? "; it takes none" : suggestion(entry.key, names)));
  Variables variables = visible;
  for (const YamlEntry& entry : declared != nullptr ? declared->entries : std::vector<YamlEntry>{}) {
    const YamlNode* value = given.find(entry.key);
    try {
      if (!is_identifier(entry.key)) fail_at(entry.position, "'" + entry.key + "' is not a variable name");
      YamlNode bound;
      if (value != nullptr && !value->is_null()) {
        bound = *value;
      } else if (const auto fact = facts.find(entry.key); fact != facts.end()) {
        bound = make_scalar(std::to_string(fact->second), entry.position);
      } else if (entry.value.is_null()) {
        fail_at(position, concat(what, " needs the argument '", entry.key, "'"));
      } else {
        bound = evaluate(entry.value, variables);
      }
      check_size(bound, entry.key);
      variables.insert_or_assign(entry.key, std::move(bound));
    } catch (const Error& error) {
      problems.add(error);
    }
  }
  problems.throw_if_any();
  return variables;
}

Variables Expander::parameters(const ModelFile& file, const YamlNode& given, const Position& position) {
  Variables symbols;
  for (const auto& [name, size] : request_.symbols)
    symbols[name] = make_scalar(std::to_string(size), position);
  return bind_arguments(file.part("parameters"), given, symbols, request_.facts, "model '" + file.name + "'",
                        position);
}

Binding Expander::use(const Entry& entry, const Scope& inner, const Turn& turn,
                      const std::vector<GivenInput>& inputs) {
  const YamlNode name = evaluate(*entry.key("use"), inner.variables);
  if (!name.is_scalar())
    fail_at(name.position, "'use' expects the name of a block or model, found " + describe(name));
  YamlNode with = make_map(entry.position);
  for (const char* key : {"with", "first"}) {
    const YamlNode* values = entry.key(key);
    if (values == nullptr || (key == std::string_view("first") && !turn.first)) continue;
    if (!values->is_map())
      fail_at(values->position, concat("'", key, "' expects a map, found ", describe(*values)));
    for (const YamlEntry& value : values->entries) {
      with.erase(value.key);
      with.entries.push_back({value.key, value.position, evaluate(value.value, inner.variables)});
    }
  }
  if (inner.file->block(name.text) != nullptr) return use_block(entry, name.text, inner, with, inputs);
  const std::string near = nearest_name(name.text, inner.file->block_names());
  std::string path;
  try {
    std::vector<std::string> folders{std::filesystem::path(inner.file->path).parent_path().string()};
    folders.insert(folders.end(), request_.folders.begin(), request_.folders.end());
    path = find_model(name.text, folders, name.position);
  } catch (const Error&) {
    if (near.empty()) throw;
    fail_at(name.position, concat("unknown block '", name.text, "'; did you mean '", near, "'?"));
  }
  return use_model(entry, path, inner, with, inputs);
}

Binding Expander::use_block(const Entry& entry, const std::string& name, const Scope& inner,
                            const YamlNode& with, const std::vector<GivenInput>& inputs) {
  const YamlNode& block = *inner.file->block(name);
  Scope scope = inner;
  scope.outer = nullptr;
  scope.variables = bind_arguments(block.find("arguments"), with, *inner.parameters, {},
                                   "block '" + name + "'", entry.position);
  open_uses_.push_back(inner.file->path + "#" + name);
  return called(entry, block, block_inputs(block), false, scope, inputs);
}

Binding Expander::use_model(const Entry& entry, const std::string& path, const Scope& inner,
                            const YamlNode& with, const std::vector<GivenInput>& inputs) {
  const ModelFile& model = file(path);
  Scope scope = inner;
  scope.outer = nullptr;
  scope.file = &model;
  scope.variables = parameters(model, with, entry.position);
  scope.parameters = std::make_shared<const Variables>(scope.variables);
  scope.imported = true;
  open_uses_.push_back(path);
  return called(entry, model.root, keys_of(model.part("inputs")), true, scope, inputs);
}

// Expands the body of a block or model; the caller has put it on `open_uses_`.
Binding Expander::called(const Entry& entry, const YamlNode& definition,
                         const std::vector<std::string>& input_names, bool optional_inputs, Scope& scope,
                         const std::vector<GivenInput>& inputs) {
  struct Leave {
    std::vector<std::string>& open;
    ~Leave() { open.pop_back(); }
  } leave{open_uses_};
  const std::string& self = open_uses_.back();
  const std::string what = "'" + entry.key("use")->text + "'";
  if (std::count(open_uses_.begin(), open_uses_.end(), self) > 1)
    fail_at(entry.position, what + " uses itself, directly or through other blocks");
  if (open_uses_.size() > deepest_use)
    fail_at(entry.position, concat("'use' nests deeper than ", deepest_use));
  std::map<std::string, Binding> matched = match_inputs(inputs, input_names, what);
  for (const std::string& name : input_names) {
    if (!matched.contains(name)) {
      if (!optional_inputs) fail_at(entry.position, concat(what, " needs the input '", name, "'"));
      matched[name] = missing_binding(concat("input '", name, "' of ", what, " is not given"));
    }
    scope.values.emplace(name, matched[name]);
  }
  const Binding incoming =
      input_names.empty() ? missing_binding("nothing flows into " + what) : matched[input_names.front()];
  const Binding last = body(*definition.find("body"), scope, incoming);
  const YamlNode* outputs = definition.find("outputs");
  return outputs_of(outputs != nullptr && outputs->is_null() ? nullptr : outputs, scope, last);
}

Binding Expander::outputs_of(const YamlNode* outputs, const Scope& scope, const Binding& last) {
  if (outputs == nullptr) {
    Binding only;  // parts of the last node stay inside
    only.value = last.value;
    only.missing = last.missing;
    only.missing_reason = last.missing_reason;
    return only;
  }
  if (!outputs->is_map())
    fail_at(outputs->position, "'outputs' expects {name: value}, found " + describe(*outputs));
  Binding result;
  for (const YamlEntry& output : outputs->entries)
    result.parts.push_back({output.key, resolve_one(evaluate(output.value, scope.variables), scope)});
  if (result.parts.size() == 1) {
    const Binding& only = result.parts.front().binding;
    result.value = only.value;
    result.missing = only.missing;
    result.missing_reason = only.missing_reason;
  }
  return result;
}

}  // namespace octavo
