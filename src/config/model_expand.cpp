// Bodies, loops and operations.
#include "config/model_expand.h"

#include <algorithm>
#include <array>

#include "core/check.h"

namespace octavo {
namespace {

constexpr std::int64_t budget = 100'000;

// Keys that steer the expansion; every other key of an operation is its attribute.
constexpr std::array<std::string_view, 12> steering{"name", "op",   "use",    "body", "if",    "repeat",
                                                    "for",  "from", "frozen", "when", "share", "first"};
const std::vector<std::string> use_keys{"name",   "use",  "if",    "repeat", "for", "from",
                                        "frozen", "when", "share", "first",  "with"};
const std::vector<std::string> group_keys{"name",   "body", "if",    "repeat", "for",    "from",
                                          "frozen", "when", "share", "carry",  "outputs"};

bool is_steering(std::string_view key) {
  return std::find(steering.begin(), steering.end(), key) != steering.end() || key == "outputs";
}

Variables with_turn(const Scope& scope, const Turn& turn) {
  Variables variables = scope.variables;
  for (const auto& [name, value] : turn.variables) variables.insert_or_assign(name, value);
  return variables;
}

When read_when(const YamlNode* written, const Variables& variables, When outer) {
  if (written == nullptr) return outer;
  const YamlNode node = evaluate(*written, variables);
  When own = When::always;
  if (node.text == "train") {
    own = When::train;
  } else if (node.text == "eval") {
    own = When::eval;
  } else if (node.text != "always") {
    fail_at(node.position, "'when' expects one of always, train, eval, found " + describe(node));
  }
  if (own == When::always) return outer;
  if (outer != When::always && outer != own)
    fail_at(node.position, "a part of training cannot stand inside a part of evaluation, nor the reverse");
  return own;
}

bool read_flag(const YamlNode* node, const char* key) {
  if (node == nullptr) return false;
  const auto value = to_flag(*node);
  if (!value) fail_at(node->position, concat("'", key, "' expects true or false, found ", describe(*node)));
  return *value;
}

std::int64_t read_count(const YamlNode& node, const Variables& variables, const char* key,
                        std::int64_t most) {
  const YamlNode value = evaluate(node, variables);
  const auto count = to_integer(value);
  if (!count || *count < 0 || *count > most)
    fail_at(node.position,
            concat("'", key, "' expects a whole number in [0, ", most, "], found ", describe(value)));
  return *count;
}

bool read_condition(const YamlNode& node, const Variables& variables) {
  const auto flag = to_flag(evaluate(node, variables));
  return flag ? *flag : read_count(node, variables, "if", budget) > 0;
}

std::vector<YamlNode> range_items(const YamlNode& range, const Variables& variables) {
  const std::vector<YamlNode> ends = range.is_sequence() ? range.items : std::vector<YamlNode>{range};
  if (ends.empty() || ends.size() > 2) fail_at(range.position, "'range' expects an end, or [begin, end]");
  const std::int64_t begin = ends.size() == 2 ? read_count(ends[0], variables, "range", budget) : 0;
  const std::int64_t end = read_count(ends.back(), variables, "range", budget);
  std::vector<YamlNode> items;
  for (std::int64_t i = begin; i < end; ++i) items.push_back(make_scalar(std::to_string(i), range.position));
  return items;
}

// Part of a path: the item itself where it is a short name or number, else its index.
std::string turn_key(const YamlNode& item, std::size_t index) {
  const bool plain =
      item.is_scalar() && (is_identifier(item.text) || (to_integer(item) && item.text[0] != '-'));
  return plain ? item.text : std::to_string(index);
}

}  // namespace

const ModelFile& Expander::file(const std::string& path) {
  std::unique_ptr<ModelFile>& slot = files_[path];
  if (!slot) slot = std::make_unique<ModelFile>(read_model_file(path));
  return *slot;
}

void Expander::spend(std::int64_t count, const Position& position) {
  spent_ += count;
  if (spent_ <= budget) return;
  exhausted_ = true;
  fail_at(position, concat("the model expands to more than ", budget, " nodes"));
}

Binding Expander::body(const YamlNode& list, Scope& scope, Binding previous) {
  if (!list.is_sequence()) fail_at(list.position, "'body' expects a list of nodes, found " + describe(list));
  for (const YamlNode& node : list.items)
    if (const YamlNode* name = node.find("name")) scope.later.push_back(name->text);
  for (const YamlNode& node : list.items) previous = guarded(node, scope, previous);
  return previous;
}

// An error in one node is noted and its value is missing, so that the rest of the file is checked too.
Binding Expander::guarded(const YamlNode& node, Scope& scope, const Binding& previous) {
  std::string name;
  Binding result = missing_binding();
  try {
    spend(1, node.position);
    if (!node.is_map())
      fail_at(node.position, "expected a node such as {name: a, op: relu}, found " + describe(node));
    Entry entry{node, "", "", node.position};
    const YamlNode* own_name = entry.key("name");
    if (own_name == nullptr) fail_at(node.position, "a node needs a 'name'");
    if (!is_identifier(own_name->text) || own_name->text == "in")
      fail_at(own_name->position,
              concat("'", own_name->text, "' is not a name; use letters, digits and _, not 'in'"));
    if (scope.values.contains(own_name->text))
      fail_at(own_name->position, concat("the name '", own_name->text, "' is taken"));
    name = entry.name = own_name->text;
    for (const char* kind : {"op", "use", "body"}) {
      if (entry.key(kind) == nullptr) continue;
      if (!entry.kind.empty())
        fail_at(node.position, concat("'", name, "' has both '", entry.kind, "' and '", kind, "'"));
      entry.kind = kind;
    }
    if (entry.kind.empty())
      fail_at(node.position, concat("'", name, "' needs one of 'op', 'use' and 'body'"));
    result = expand(entry, scope, previous);
  } catch (const Error& error) {
    if (exhausted_) throw;
    problems_.add(error);
  }
  if (!name.empty()) scope.values.emplace(name, result);
  return result;
}

Binding Expander::expand(const Entry& entry, const Scope& scope, const Binding& previous) {
  if (entry.kind != "op") {
    Problems unknown;
    check_keys(entry.node, entry.kind == "use" ? use_keys : group_keys,
               concat("'", entry.name, "'", entry.kind == "use" ? " (arguments go under 'with')" : ""),
               unknown);
    unknown.throw_if_any();
  }
  const YamlNode* condition = entry.key("if");
  const bool present = condition == nullptr || read_condition(*condition, scope.variables);
  const std::vector<Turn> all = present ? turns(entry, scope) : std::vector<Turn>{};
  const bool loop = entry.key("repeat") != nullptr || entry.key("for") != nullptr;
  std::vector<GivenInput> inputs;
  Carried carried;
  Binding last, result;
  for (const Turn& turn : all) {
    Scope turn_scope = scope.inside();
    turn_scope.variables = with_turn(scope, turn);
    if (turn.first || (entry.key("for") != nullptr && entry.key("from") != nullptr)) {
      inputs = read_inputs(entry.key("from"), turn_scope, turn.first ? previous : last, entry.position);
    } else if (!inputs.empty()) {
      inputs.front().binding = last;
    }
    last = this->turn(entry, turn_scope, turn, inputs, carried);
    if (loop) result.parts.push_back({turn.key, last});
  }
  if (all.empty()) {  // a part that is left out passes its first input on
    inputs = read_inputs(entry.key("from"), scope, previous, entry.position);
    return inputs.empty() ? missing_binding() : inputs.front().binding;
  }
  if (!loop) return last;
  result.is_loop = true;
  result.value = last.value;
  result.missing = last.missing;
  result.missing_reason = last.missing_reason;
  result.share = scope.share + entry.name;
  return result;
}

std::vector<Turn> Expander::turns(const Entry& entry, const Scope& scope) {
  const YamlNode *repeat = entry.key("repeat"), *loop = entry.key("for");
  if (repeat != nullptr && loop != nullptr) fail_at(loop->position, "'repeat' and 'for' exclude each other");
  if (const YamlNode* first = entry.key("first"); first != nullptr && (!first->is_map() || repeat == nullptr))
    fail_at(first->position, "'first' expects a map of values for the first turn of 'repeat'");
  if (loop != nullptr) return loop_turns(*loop, scope);
  if (repeat == nullptr) return {Turn{}};
  const std::int64_t count = read_count(*repeat, scope.variables, "repeat", budget);
  spend(count, repeat->position);
  std::vector<Turn> all;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::string key = std::to_string(i);
    all.push_back({key, {{"index", make_scalar(key, repeat->position)}}, i == 0});
  }
  return all;
}

std::vector<Turn> Expander::loop_turns(const YamlNode& loop, const Scope& scope) {
  if (!loop.is_map() || loop.entries.size() != 1)
    fail_at(loop.position, "'for' expects one variable and its values, such as {level: [3, 4, 5]}");
  const YamlEntry& declared = loop.entries.front();
  if (!is_identifier(declared.key))
    fail_at(declared.position, "'" + declared.key + "' is not a variable name");
  std::vector<YamlNode> items;
  if (const YamlNode* range = declared.value.find("range")) {
    items = range_items(*range, scope.variables);
  } else {
    const YamlNode list = evaluate(declared.value, scope.variables);
    if (!list.is_sequence())
      fail_at(declared.value.position,
              "'for' expects a list or {range: [begin, end]}, found " + describe(list));
    items = list.items;
  }
  spend(static_cast<std::int64_t>(items.size()), loop.position);
  std::vector<Turn> all;
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string key = turn_key(items[i], i);
    if (std::find(keys.begin(), keys.end(), key) != keys.end())
      fail_at(items[i].position, concat("'for' has the value '", key, "' twice"));
    keys.push_back(key);
    all.push_back(
        {key, {{"index", make_scalar(std::to_string(i), loop.position)}, {declared.key, items[i]}}, i == 0});
  }
  return all;
}

std::string Expander::share_of(const Entry& entry, const Scope& scope, const Turn& turn) {
  const std::string own = scope.share + entry.name + (turn.key.empty() ? "" : "." + turn.key);
  const YamlNode* share = entry.key("share");
  if (share == nullptr) return own;
  if (share->is_scalar() && share->text == "weights") {
    if (turn.key.empty())
      fail_at(share->position,
              "'share: weights' joins the turns of a loop; name the other node: {weights: NAME}");
    return scope.share + entry.name;
  }
  const YamlNode* other = share->find("weights");
  if (other == nullptr || share->entries.size() != 1)
    fail_at(share->position,
            "'share' expects weights (in a loop) or {weights: NAME}, found " + describe(*share));
  const YamlNode name = evaluate(*other, scope.variables);
  std::vector<Binding> found = resolve(name, scope, false);
  if (found.size() != 1) fail_at(share->position, concat("'", name.text, "' stands for several nodes"));
  if (found.front().share.empty() && !found.front().missing)
    fail_at(share->position, concat("'", name.text, "' is an input and has no weights to share"));
  return found.front().share;
}

Binding Expander::turn(const Entry& entry, const Scope& scope, const Turn& turn,
                       const std::vector<GivenInput>& inputs, Carried& carried) {
  Scope inner = scope.inside();
  inner.path = scope.path + entry.name + (turn.key.empty() ? "" : "." + turn.key);
  inner.share = share_of(entry, scope, turn);
  inner.when = read_when(entry.key("when"), scope.variables, scope.when);
  inner.frozen = scope.frozen || read_flag(entry.key("frozen"), "frozen");
  if (entry.kind == "op") return operation(entry, inner, turn, inputs);
  const std::string share = inner.share;
  inner.path += ".";
  inner.share += ".";
  Binding result =
      entry.kind == "use" ? use(entry, inner, turn, inputs) : group(entry, inner, inputs, carried);
  result.share = share;
  return result;
}

Binding Expander::operation(const Entry& entry, const Scope& inner, const Turn& turn,
                            const std::vector<GivenInput>& inputs) {
  for (const GivenInput& input : inputs)
    if (input.binding.missing) {
      if (!input.binding.missing_reason.empty() && !inner.imported)
        fail_at(input.position, input.binding.missing_reason + "; name a value with 'from'");
      return input.binding;
    }
  ModelNode node;
  node.path = inner.path;
  node.share = inner.share;
  node.when = inner.when;
  node.frozen = inner.frozen;
  node.position = entry.position;
  const YamlNode op = evaluate(*entry.key("op"), inner.variables);
  if (!is_identifier(op.text))
    fail_at(op.position, "'op' expects the name of an operation, found " + describe(op));
  node.op = op.text;
  node.attributes = make_map(entry.position);
  for (const YamlEntry& attribute : entry.node.entries)
    if (!is_steering(attribute.key))
      node.attributes.entries.push_back(
          {attribute.key, attribute.position, evaluate(attribute.value, inner.variables)});
  if (const YamlNode* first = entry.key("first"); first != nullptr && turn.first)
    for (const YamlEntry& attribute : first->entries) {
      node.attributes.erase(attribute.key);
      node.attributes.entries.push_back(
          {attribute.key, attribute.position, evaluate(attribute.value, inner.variables)});
    }
  for (const GivenInput& input : inputs) node.inputs.push_back({input.binding.value, input.position});
  Binding result;
  result.value = node.path;
  result.share = node.share;
  if (const YamlNode* outputs = entry.key("outputs")) {
    if (!outputs->is_sequence())
      fail_at(outputs->position, "'outputs' of an operation expects a list of names");
    result.declared_outputs = true;
    for (const YamlNode& name : outputs->items) {
      if (!is_identifier(name.text)) fail_at(name.position, "'" + name.text + "' is not a name");
      node.outputs.push_back(name.text);
      Binding part;
      part.value = node.path + ":" + name.text;
      part.share = node.share;
      result.parts.push_back({name.text, part});
    }
  }
  nodes_.push_back(std::move(node));
  imported_.push_back(inner.imported);
  return result;
}

Binding Expander::group(const Entry& entry, Scope& inner, const std::vector<GivenInput>& inputs,
                        Carried& carried) {
  const YamlNode* carry = entry.key("carry");
  if (carry != nullptr && !carry->is_map())
    fail_at(carry->position, "'carry' expects {name: {first: .., next: ..}}");
  if (inputs.size() > 1)
    fail_at(entry.position, "a group takes one value by 'from'; its nodes see all values around it");
  const Binding incoming =
      inputs.empty() ? missing_binding("nothing flows into '" + entry.name + "'") : inputs.front().binding;
  if (!inputs.empty()) inner.values.emplace("in", incoming);
  for (const YamlEntry& value : carry != nullptr ? carry->entries : std::vector<YamlEntry>{}) {
    if (value.value.find("first") == nullptr || value.value.find("next") == nullptr ||
        value.value.entries.size() != 2)
      fail_at(value.position, concat("carried value '", value.key, "' expects {first: VALUE, next: VALUE}"));
    const auto former = carried.find(value.key);
    const YamlNode first = evaluate(*value.value.find("first"), inner.variables);
    inner.values.emplace(value.key,
                         former == carried.end() ? resolve_one(first, *inner.outer) : former->second);
  }
  const Binding last = body(*entry.key("body"), inner, incoming);
  for (const YamlEntry& value : carry != nullptr ? carry->entries : std::vector<YamlEntry>{})
    carried[value.key] = resolve_one(evaluate(*value.value.find("next"), inner.variables), inner);
  return outputs_of(entry.key("outputs"), inner, last);
}

}  // namespace octavo
