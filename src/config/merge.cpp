// Includes, overrides and the merge of their layers.
#include "config/merge.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "config/schema.h"
#include "core/check.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_includes = 8;

struct Exclusive {
  const char* section;
  const char* first;
  const char* second;
};
constexpr std::array<Exclusive, 2> exclusives{{{"train", "epochs", "steps"}, {"model", "use", "file"}}};

struct Shorthand {
  const char* section;
  const char* key;
};
constexpr std::array<Shorthand, 3> shorthands{{{"precision", "policy"}, {"model", "use"}, {"data", "set"}}};

// `precision: fp32` means `precision: {policy: fp32}`.
void expand_shorthands(YamlNode& root) {
  for (const Shorthand& shorthand : shorthands) {
    YamlNode* node = root.find(shorthand.section);
    if (node == nullptr || !node->is_scalar()) continue;
    YamlNode map = make_map(node->position);
    map.entries.push_back({shorthand.key, node->position, *node});
    *node = std::move(map);
  }
}

void drop_replaced(YamlNode& base, const YamlNode& over) {
  for (const char* chosen : {"model.use", "model.file"}) {  // values for the parameters of another model
    const YamlNode *name = find_path(over, chosen), *former = find_path(base, chosen);
    if (name != nullptr && base.find("model") != nullptr && (former == nullptr || former->text != name->text))
      base.find("model")->erase("with");
  }
  for (const Exclusive& rule : exclusives) {
    const YamlNode* chosen = over.find(rule.section);
    YamlNode* former = base.find(rule.section);
    if (chosen == nullptr || former == nullptr) continue;
    if (chosen->find(rule.first) != nullptr) former->erase(rule.second);
    if (chosen->find(rule.second) != nullptr) former->erase(rule.first);
  }
  const YamlNode* policy = find_path(over, "precision.policy");
  const YamlNode* former_policy = find_path(base, "precision.policy");
  if (policy != nullptr && former_policy != nullptr && policy->text != former_policy->text)
    base.find("precision")->erase("options");
}

void merge_maps(YamlNode& base, const YamlNode& over) {
  for (const YamlEntry& entry : over.entries) {
    YamlNode* mine = base.find(entry.key);
    if (mine == nullptr) {
      base.entries.push_back(entry);
    } else if (mine->is_map() && entry.value.is_map()) {
      merge_maps(*mine, entry.value);
    } else {
      *mine = entry.value;
    }
  }
}

std::string located(const YamlNode& name, const std::string& folder) {
  if (!name.is_scalar())
    fail_at(name.position, "'include' expects a file or a list of files, found " + describe(name));
  const std::vector<std::string> places = places_of(name.text, folder);
  const std::string found = first_existing(places);
  std::string tried;
  for (const std::string& place : places) tried += (tried.empty() ? "" : ", ") + place;
  if (found.empty()) fail_at(name.position, "included file '" + name.text + "' not found; tried " + tried);
  return found;
}

YamlNode read_layers(const std::string& path, std::vector<std::string>& open) {
  YamlNode own = read_yaml_file(path);
  expand_shorthands(own);
  const YamlNode* include = own.find("include");
  if (include == nullptr) return own;
  open.push_back(fs::weakly_canonical(path).string());
  const std::vector<YamlNode> names =
      include->is_sequence() ? include->items : std::vector<YamlNode>{*include};
  YamlNode merged = make_map(own.position);
  for (const YamlNode& name : names) {
    const std::string file = fs::weakly_canonical(located(name, parent_folder(path))).string();
    if (std::find(open.begin(), open.end(), file) != open.end())
      fail_at(name.position, "'" + name.text + "' includes itself, directly or through other files");
    if (open.size() > most_includes)
      fail_at(name.position, concat("includes nest deeper than ", most_includes));
    merge_into(merged, read_layers(file, open));
  }
  open.pop_back();
  own.erase("include");
  merge_into(merged, own);
  return merged;
}

bool is_key(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

}  // namespace

YamlNode read_with_includes(const std::string& path) {
  std::vector<std::string> open;
  return read_layers(path, open);
}

void merge_into(YamlNode& base, const YamlNode& over) {
  drop_replaced(base, over);
  merge_maps(base, over);
}

YamlNode parse_override(std::string_view text, int number) {
  const std::string label =
      concat("override ", number, ": ", text.size() > 120 ? std::string(text.substr(0, 117)) + "..." : text);
  const std::size_t sign = std::min(text.find('='), text.size());
  std::string_view keys = text.substr(0, sign);
  require(sign < text.size(), Errc::config, label, ": expected dotted.key=value");
  require(text.find_first_not_of(" \t\r\n", sign + 1) != std::string_view::npos, Errc::config, label,
          ": the value is empty; write null for the default");
  YamlNode root = make_map({std::make_shared<const std::string>(label), 0, 0});
  YamlNode* map = &root;
  for (int depth = 0;; ++depth) {
    const std::size_t end = std::min(keys.find('.'), keys.size());
    const std::string key(keys.substr(0, end));
    require(is_key(key) && depth < 8, Errc::config, label, ": '", text.substr(0, sign),
            "' is not a key; expected names joined by dots");
    map->entries.push_back({key, root.position, make_map(root.position)});
    if (end == keys.size()) break;
    map = &map->entries.back().value;
    keys.remove_prefix(end + 1);
  }
  map->entries.back().value = parse_yaml(text.substr(sign + 1), label, true);
  expand_shorthands(root);
  return root;
}

std::vector<std::string> places_of(const std::string& path, const std::string& folder) {
  if (fs::path(path).is_absolute()) return {path};
  std::vector<std::string> places{(fs::path(folder) / path).lexically_normal().string()};
  const std::string here = (fs::current_path() / path).lexically_normal().string();
  if (here != places.front()) places.push_back(here);
  return places;
}

std::string parent_folder(const std::string& path) {
  return fs::absolute(path).lexically_normal().parent_path().string();
}

std::string first_existing(const std::vector<std::string>& places) {
  std::error_code ignored;
  for (const std::string& place : places)
    if (fs::exists(place, ignored)) return place;
  return "";
}

}  // namespace octavo
