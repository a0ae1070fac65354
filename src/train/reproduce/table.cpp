// Reading of table files.
#include "train/reproduce/table.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>

#include "config/merge.h"
#include "config/model_file.h"
#include "config/model_language.h"
#include "config/problems.h"
#include "core/check.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 4> sources{"none", "printed", "derived", "recalled"};
constexpr std::int64_t largest_seed = 9007199254740991;

AttrReader reader_of(const YamlNode& map, const std::string& kind, const std::string& name) {
  if (!map.is_map()) fail_at(map.position, concat("a ", kind, " is a map, found ", describe(map)));
  ModelNode node;
  node.op = kind;
  node.path = name;
  node.attributes = map;
  return attributes_of(node);
}

class TableReader {
 public:
  explicit TableReader(const std::string& path) : root_(read_yaml_file(path)) {
    table_.path = path;
    table_.name = fs::path(path).stem().string();
  }

  PaperTable read() {
    check_keys(root_, {"title", "text", "config", "bar", "overrides", "papers", "scales", "rows"}, "a table",
               problems_);
    guarded([&] { read_head(reader_of(root_, "table", table_.name)); });
    guarded([&] { read_papers(); });
    guarded([&] { read_scales(); });
    guarded([&] { read_rows(); });
    problems_.throw_if_any();
    return std::move(table_);
  }

 private:
  template <class Work>
  void guarded(const Work& work) {
    try {
      work();
    } catch (const Error& error) {
      problems_.add(error);
    }
  }

  const YamlNode& part(const char* key) const {
    const YamlNode* node = root_.find(key);
    if (node == nullptr) fail_at(root_.position, concat("table '", table_.name, "' needs '", key, "'"));
    return *node;
  }

  void read_head(const AttrReader& head) {
    table_.title = head.text("title");
    table_.text = head.text("text", "");
    table_.bar = head.number("bar", {}, 0.001, 100);
    table_.overrides = head.texts("overrides");
    const std::string config = head.text("config", "");
    if (!config.empty()) config_ = located(head, config);
  }

  std::string located(const AttrReader& reader, const std::string& config) const {
    const auto places = places_of(config, parent_folder(table_.path));
    const std::string found = first_existing(places);
    if (found.empty()) reader.fail("config", concat("no file '", config, "'; tried ", places.front()));
    return found;
  }

  void read_papers() {
    const YamlNode* papers = root_.find("papers");
    if (papers == nullptr) return;
    for (const YamlEntry& entry : papers->entries) {
      if (!entry.value.is_scalar()) fail_at(entry.position, "'papers' expects key: citation");
      papers_[entry.key] = entry.value.text;
    }
  }

  void read_scales() {
    const AttrReader scales = reader_of(part("scales"), "scales", table_.name);
    for (auto [name, scale] : {std::pair("quick", &table_.quick), std::pair("full", &table_.full)}) {
      const AttrReader reader = scales.map(name);
      scale->seeds = reader.integers("seeds", 0, largest_seed);
      scale->overrides = reader.texts("overrides");
      if (scale->seeds.empty()) reader.fail("seeds", "'seeds' needs at least one seed");
      reader.finish();
    }
    scales.finish();
  }

  void read_rows() {
    const YamlNode& rows = part("rows");
    if (!rows.is_sequence() || rows.items.empty()) fail_at(rows.position, "'rows' expects a list of rows");
    std::set<std::string> names;
    for (const YamlNode& item : rows.items)
      guarded([&] {
        table_.rows.push_back(read_row(item));
        if (!names.insert(table_.rows.back().name).second)
          fail_at(item.position, "row '" + table_.rows.back().name + "' stands here twice");
      });
  }

  PaperRow read_row(const YamlNode& item) {
    const YamlNode* name = item.find("name");
    const std::string shown = name != nullptr ? name->text : "?";
    const AttrReader reader = reader_of(item, "row", shown);
    check_keys(item, {"name", "policy", "unmeasured", "config", "overrides", "method", "seeds", "published"},
               "row '" + shown + "'", problems_);
    PaperRow row;
    row.position = item.position;
    row.name = reader.text("name");
    row.policy = reader.text("policy", "");
    row.unmeasured = reader.text("unmeasured", "");
    const std::string config = reader.text("config", "");
    row.config = config.empty() ? config_ : located(reader, config);
    row.overrides = reader.texts("overrides");
    row.method = reader.texts("method");
    row.seeds = reader.integers("seeds", 0, largest_seed);
    if (reader.has("published")) {
      const AttrReader published = reader.map("published");
      row.metric = read_published(published, "metric");
      row.drop = read_published(published, "drop");
      published.finish();
    }
    if (row.policy.empty() == row.unmeasured.empty())
      reader.fail("policy", "a row has either 'policy' or 'unmeasured' (why nothing runs)");
    if (!row.policy.empty() && row.config.empty())
      reader.fail("config", "neither the row nor the table names a 'config'");
    return row;
  }

  PublishedValue read_published(const AttrReader& published, const char* what) const {
    if (!published.has(what)) return {};
    const AttrReader reader = published.map(what);
    PublishedValue result;
    const std::string source = reader.choice("source", sources);
    result.source =
        static_cast<Attestation>(std::find(sources.begin(), sources.end(), source) - sources.begin());
    const bool given = reader.has("value"), shown = source == "printed" || source == "derived";
    const double value = reader.number("value", 0.0, -100, 100);
    const std::string cite = reader.text("cite", "");
    reader.finish();
    if (shown && !given) reader.fail("source", "a " + source + " figure needs its 'value'");
    if (source == "none" && given) reader.fail("value", "a figure without a source is not published");
    if (source != "none") {
      const auto paper = papers_.find(cite);
      if (paper == papers_.end())
        reader.fail("cite", "'cite' expects a key of 'papers', found '" + cite + "'");
      result.cite = paper->second;
    }
    if (shown) result.value = value;
    return result;
  }

  YamlNode root_;
  std::string config_;  // of the table, for rows without one
  std::map<std::string, std::string> papers_;
  Problems problems_;
  PaperTable table_;
};

}  // namespace

PaperTable load_paper_table(const std::string& path) { return TableReader(path).read(); }

std::vector<std::string> paper_table_paths(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    if (entry.path().extension() == ".yaml") paths.push_back(entry.path().string());
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace octavo
