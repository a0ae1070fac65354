// yaml-cpp's event stream turned into octavo's nodes, with the limits that yaml-cpp does not have.
#include "config/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <map>
#include <set>

#include "config/problems.h"
#include "config/yaml_file.h"
#include "core/check.h"

namespace octavo {
namespace {

constexpr int deepest = 32;
constexpr std::int64_t node_budget = 100'000;

std::int64_t count_nodes(const YamlNode& node) {
  std::int64_t count = 1;
  for (const YamlNode& item : node.items) count += count_nodes(item);
  for (const YamlEntry& entry : node.entries) count += count_nodes(entry.value);
  return count;
}

class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(std::shared_ptr<const std::string> source, bool whole)
      : source_(std::move(source)), whole_(whole) {}

  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0)
      fail_at(place(mark), "a second document or stray text starts here; a file holds one document");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    YamlNode node;
    node.position = place(mark);
    finish(std::move(node), anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    if (tag != "?" && tag != "!") refuse_tag(mark, tag);
    finish(make_scalar(value, place(mark), tag == "!"), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    for (const Frame& frame : open_)
      if (frame.anchor == anchor) fail_at(place(mark), "this alias refers to a value that contains it");
    const YamlNode& target = anchors_.at(anchor);
    spend(mark, count_nodes(target));
    add(target, place(mark));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    start(mark, tag, anchor, YamlNode::Kind::sequence);
  }
  void OnSequenceEnd() override { end(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    start(mark, tag, anchor, YamlNode::Kind::map);
  }
  void OnMapEnd() override { end(); }

 private:
  struct Frame {
    YamlNode node;
    YAML::anchor_t anchor = 0;
    bool has_key = false;
    std::map<std::string, int, std::less<>> lines;  // of the keys so far
  };

  Position place(const YAML::Mark& mark) const {
    if (whole_) return {source_, 0, 0};
    return {source_, mark.line + 1, mark.column + 1};
  }

  [[noreturn]] void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
    fail_at(place(mark), "tag '" + tag + "' is not supported; write the plain value");
  }

  void spend(const YAML::Mark& mark, std::int64_t nodes) {
    nodes_ += nodes;
    if (nodes_ > node_budget)
      fail_at(place(mark), concat("the document expands to more than ", node_budget, " values"));
  }

  void start(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YamlNode::Kind kind) {
    if (tag != "?" && tag != "!" && !tag.empty()) refuse_tag(mark, tag);
    if (static_cast<int>(open_.size()) >= deepest)
      fail_at(place(mark), concat("values nest deeper than ", deepest, " levels"));
    spend(mark, 1);
    Frame frame;
    frame.node.kind = kind;
    frame.node.position = place(mark);
    frame.anchor = anchor;
    open_.push_back(std::move(frame));
  }

  void end() {
    Frame frame = std::move(open_.back());
    open_.pop_back();
    if (frame.anchor != 0) anchors_[frame.anchor] = frame.node;
    const Position position = frame.node.position;
    add(std::move(frame.node), position);
  }

  void finish(YamlNode node, YAML::anchor_t anchor) {
    if (++nodes_ > node_budget)
      fail_at(node.position, concat("the document expands to more than ", node_budget, " values"));
    if (anchor != 0) anchors_[anchor] = node;
    const Position position = node.position;
    add(std::move(node), position);
  }

  void add(YamlNode node, const Position& position) {
    if (open_.empty()) {
      root_ = std::move(node);
    } else if (Frame& frame = open_.back(); frame.node.is_sequence()) {
      frame.node.items.push_back(std::move(node));
    } else if (frame.has_key) {
      frame.node.entries.back().value = std::move(node);
      frame.has_key = false;
    } else {
      add_key(frame, node, position);
    }
  }

  void add_key(Frame& frame, const YamlNode& key, const Position& position) {
    if (!key.is_scalar()) fail_at(position, "a key must be a plain name, found " + describe(key));
    if (key.text == "<<" && !key.quoted)
      fail_at(position, "merge key '<<' is not supported; use 'include: other.yaml' or repeat the values");
    const auto [earlier, fresh] = frame.lines.emplace(key.text, position.line);
    if (!fresh)
      fail_at(position, concat("key '", key.text, "' appears twice, first in line ", earlier->second));
    frame.node.entries.push_back({key.text, position, {}});
    frame.has_key = true;
  }

  std::shared_ptr<const std::string> source_;
  bool whole_;
  int documents_ = 0;
  std::int64_t nodes_ = 0;
  std::vector<Frame> open_;
  std::map<YAML::anchor_t, YamlNode> anchors_;
  YamlNode root_;
};

// Memory stream over text that outlives it; saves the copy a string stream makes.
class TextBuffer : public std::streambuf {
 public:
  explicit TextBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());
    setg(begin, begin, begin + text.size());
  }
};

}  // namespace

YamlNode parse_yaml(std::string_view text, const std::string& source, bool whole_source_position) {
  check_text(text, source, deepest);
  TreeBuilder builder(std::make_shared<const std::string>(source), whole_source_position);
  try {
    TextBuffer buffer(text);
    std::istream stream(&buffer);
    YAML::Parser parser(stream);
    // The second call only finds out whether something follows; a loop would never end on stray tokens.
    if (parser.HandleNextDocument(builder)) parser.HandleNextDocument(builder);
  } catch (const YAML::Exception& error) {
    const int line = error.mark.line + 1, column = error.mark.column + 1;
    if (whole_source_position) fail(Errc::config, source, ": not YAML: ", error.msg);
    fail(Errc::config, source, ":", line, ":", column, ": not YAML: ", error.msg, caret(text, line, column));
  }
  return builder.take();
}

YamlNode read_yaml_file(const std::string& path) {
  YamlNode root = parse_yaml(read_text_file(path), path);
  if (root.is_null()) root.position = {std::make_shared<const std::string>(path), 1, 1};
  if (!root.is_map()) fail_at(root.position, "expected keys and values, found " + describe(root));
  return root;
}

}  // namespace octavo
