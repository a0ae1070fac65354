// Outer structure of model files, and where they are looked up.
#include "config/model_file.h"

#include <algorithm>
#include <filesystem>

#include "config/merge.h"
#include "config/model_language.h"
#include "core/check.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

void check_kind(const YamlNode& map, const char* key, YamlNode::Kind kind, Problems& problems) {
  const YamlNode* node = map.find(key);
  if (node == nullptr || node->is_null() || node->kind == kind) return;
  const char* wanted = kind == YamlNode::Kind::map ? "a map" : "a list of nodes";
  problems.add(node->position, concat("'", key, "' expects ", wanted, ", found ", describe(*node)));
}

void check_block(const YamlEntry& entry, Problems& problems) {
  if (!is_identifier(entry.key))
    problems.add(entry.position, concat("'", entry.key, "' is not a name; use letters, digits and _"));
  if (!entry.value.is_map())
    return problems.add(entry.value.position,
                        concat("block '", entry.key, "' expects a map, found ", describe(entry.value)));
  check_keys(entry.value, {"arguments", "inputs", "body", "outputs"}, concat("block '", entry.key, "'"),
             problems);
  check_kind(entry.value, "arguments", YamlNode::Kind::map, problems);
  check_kind(entry.value, "outputs", YamlNode::Kind::map, problems);
  check_kind(entry.value, "body", YamlNode::Kind::sequence, problems);
  if (entry.value.find("body") == nullptr)
    problems.add(entry.position, concat("block '", entry.key, "' has no 'body'"));
}

}  // namespace

const YamlNode* ModelFile::part(std::string_view key) const {
  const YamlNode* node = root.find(key);
  return node == nullptr || node->is_null() ? nullptr : node;
}

const YamlNode* ModelFile::block(std::string_view block_name) const {
  const YamlNode* blocks = part("blocks");
  return blocks != nullptr ? blocks->find(block_name) : nullptr;
}

std::vector<std::string> ModelFile::block_names() const {
  std::vector<std::string> names;
  if (const YamlNode* blocks = part("blocks"))
    for (const YamlEntry& entry : blocks->entries) names.push_back(entry.key);
  return names;
}

ModelFile read_model_file(const std::string& path) {
  ModelFile file{path, fs::path(path).stem().string(), read_yaml_file(path)};
  Problems problems;
  check_keys(file.root, {"parameters", "inputs", "blocks", "body", "outputs", "losses"}, "a model", problems);
  for (const char* key : {"parameters", "inputs", "blocks", "outputs", "losses"})
    check_kind(file.root, key, YamlNode::Kind::map, problems);
  check_kind(file.root, "body", YamlNode::Kind::sequence, problems);
  if (file.part("body") == nullptr) problems.add(file.root.position, "a model needs a 'body'");
  if (const YamlNode* blocks = file.part("blocks"))
    for (const YamlEntry& entry : blocks->entries) check_block(entry, problems);
  problems.throw_if_any();
  return file;
}

void check_keys(const YamlNode& map, const std::vector<std::string>& allowed, const std::string& place,
                Problems& problems) {
  for (const YamlEntry& entry : map.entries)
    if (std::find(allowed.begin(), allowed.end(), entry.key) == allowed.end())
      problems.add(entry.position,
                   concat("unknown key '", entry.key, "' in ", place, suggestion(entry.key, allowed)));
}

bool is_identifier(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !text.empty() && letter(text.front()) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

std::vector<std::string> model_folders(const std::string& config_folder, const std::string& share_folder) {
  std::vector<std::string> folders;
  const auto add = [&](const fs::path& folder) {
    const std::string text = folder.lexically_normal().string();
    if (std::find(folders.begin(), folders.end(), text) == folders.end()) folders.push_back(text);
  };
  add(fs::path(config_folder) / "models");
  add(config_folder);
  add(fs::path(config_folder).parent_path() / "models");  // configs/ and models/ usually stand side by side
  add(fs::current_path() / "models");
  add(fs::current_path());
  if (!share_folder.empty()) add(fs::absolute(fs::path(share_folder)) / "models");
  return folders;
}

std::string find_model(const std::string& name, const std::vector<std::string>& folders,
                       const Position& position) {
  std::vector<std::string> places;
  for (const std::string& folder : folders)
    places.push_back(
        (fs::path(folder) / (name.ends_with(".yaml") ? name : name + ".yaml")).lexically_normal().string());
  const std::string found = first_existing(places);
  if (!found.empty()) return found;
  std::vector<std::string> known;
  std::error_code ignored;
  for (const std::string& folder : folders)
    for (const auto& file : fs::directory_iterator(folder, ignored))
      if (file.path().extension() == ".yaml") known.push_back(file.path().stem().string());
  const std::string near = nearest_name(name, known);
  std::string tried;
  for (const std::string& place : places) tried += (tried.empty() ? "" : ", ") + fs::absolute(place).string();
  fail_at(position, concat("model '", name, "' not found",
                           near.empty() ? "" : "; did you mean '" + near + "'?", "; tried ", tried));
}

}  // namespace octavo
