// load_model: a model file and its request become a ModelDescription.
#include <algorithm>
#include <set>

#include "config/config_impl.h"
#include "config/model_expand.h"
#include "core/check.h"

namespace octavo {
namespace {

constexpr std::int64_t largest = AttrReader::largest_size;

InputSize read_size(const YamlNode& written, const Variables& variables) {
  const YamlNode value = evaluate(written, variables);
  if (value.is_scalar() && is_identifier(value.text)) {
    const auto known = variables.find(value.text);
    if (known == variables.end()) return {value.text, 0};
    return {value.text, to_integer(known->second).value_or(0)};
  }
  const auto size = to_integer(value);
  if (!size || *size < 1 || *size > largest)
    fail_at(written.position, concat("a size expects a whole number in [1, ", largest,
                                     "] or a symbol such as H, found ", describe(value)));
  return {"", *size};
}

ModelInput read_input(const YamlEntry& entry, const Variables& variables) {
  if (!is_identifier(entry.key)) fail_at(entry.position, "'" + entry.key + "' is not a name");
  ModelInput input;
  input.name = entry.key;
  input.position = entry.position;
  const YamlNode* sizes = &entry.value;
  if (entry.value.is_map()) {
    Problems unknown;
    check_keys(entry.value, {"sizes", "type"}, "input '" + entry.key + "'", unknown);
    unknown.throw_if_any();
    if (const YamlNode* type = entry.value.find("type")) input.type = type->text;
    sizes = entry.value.find("sizes");
  }
  if (sizes == nullptr || !sizes->is_sequence())
    fail_at(entry.position, concat("input '", entry.key, "' expects a list of sizes such as [H, W, 3]"));
  std::int64_t elements = 1;
  for (const YamlNode& size : sizes->items) {
    input.sizes.push_back(read_size(size, variables));
    const std::int64_t factor = std::max<std::int64_t>(1, input.sizes.back().size);
    if (elements > largest / factor)
      fail_at(size.position, concat("the sizes of input '", entry.key, "' multiply to more than 2^40"));
    elements *= factor;
  }
  return input;
}

ValueRef read_value(const YamlNode& written, const Scope& scope) {
  const YamlNode reference = evaluate(written, scope.variables);
  const Binding binding = resolve_one(reference, scope);
  if (binding.missing && !binding.missing_reason.empty())
    fail_at(reference.position, concat("'", reference.text, "' is not computed: ", binding.missing_reason));
  return {binding.value, reference.position};
}

ModelLoss read_loss(const YamlEntry& entry, const Scope& scope) {
  if (!entry.value.is_map()) return {entry.key, read_value(entry.value, scope), 1};
  Problems unknown;
  check_keys(entry.value, {"from", "weight"}, "loss '" + entry.key + "'", unknown);
  unknown.throw_if_any();
  const YamlNode* from = entry.value.find("from");
  if (from == nullptr) fail_at(entry.position, concat("loss '", entry.key, "' needs 'from'"));
  ModelLoss loss{entry.key, read_value(*from, scope), 1};
  if (const YamlNode* written = entry.value.find("weight")) {
    const YamlNode weight = evaluate(*written, scope.variables);
    const auto value = to_number(weight);
    if (!value) fail_at(written->position, "'weight' expects a number, found " + describe(weight));
    loss.weight = *value;
  }
  return loss;
}

std::string node_of(const std::string& value) { return value.substr(0, value.find(':')); }

// A node that exists in both phases cannot read a value that exists in one.
void check_phases(const ModelDescription& model, Problems& problems) {
  std::map<std::string, When> phases;
  for (const ModelNode& node : model.nodes) phases[node.path] = node.when;
  const auto check = [&](const ValueRef& value, When reader, const std::string& name) {
    const auto found = phases.find(node_of(value.name));
    if (found == phases.end() || found->second == When::always || found->second == reader) return;
    const char* phase = found->second == When::train ? "training" : "evaluation";
    problems.add(value.position, concat("'", value.name, "' exists only in ", phase, ", but '", name,
                                        "' needs it elsewhere too"));
  };
  for (const ModelNode& node : model.nodes)
    for (const ValueRef& input : node.inputs) check(input, node.when, node.path);
  for (const ModelLoss& loss : model.losses) check(loss.value, When::train, loss.name);
}

// Outputs and losses behind a node that failed have no value.
void drop_missing(ModelDescription& model) {
  std::erase_if(model.outputs, [](const ModelOutput& output) { return output.value.name.empty(); });
  std::erase_if(model.losses, [](const ModelLoss& loss) { return loss.value.name.empty(); });
}

// Drops nodes of used model files that nothing needs, such as the classifier behind a backbone.
void drop_unused(ModelDescription& model, const std::vector<bool>& imported) {
  std::set<std::string> needed;
  for (const ModelOutput& output : model.outputs) needed.insert(node_of(output.value.name));
  for (const ModelLoss& loss : model.losses) needed.insert(node_of(loss.value.name));
  std::vector<ModelNode> kept;
  for (std::size_t i = model.nodes.size(); i-- > 0;) {
    ModelNode& node = model.nodes[i];
    if (imported[i] && !needed.contains(node.path)) continue;
    for (const ValueRef& input : node.inputs) needed.insert(node_of(input.name));
    kept.push_back(std::move(node));
  }
  std::reverse(kept.begin(), kept.end());
  model.nodes = std::move(kept);
}

// Runs `read` for each entry of a part of the file; errors are noted and the next entry follows.
template <class Read>
void each_entry(const YamlNode* part, Problems& problems, Read read) {
  for (const YamlEntry& entry : part != nullptr ? part->entries : std::vector<YamlEntry>{}) {
    try {
      read(entry);
    } catch (const Error& error) {
      problems.add(error);
    }
  }
}

}  // namespace

ModelDescription load_model(const ModelRequest& request, Problems& problems) {
  Expander expander(request, problems);
  const ModelFile& file = expander.file(request.file);
  Scope scope;
  scope.file = &file;
  scope.variables = expander.parameters(file, request.with, file.root.position);
  scope.parameters = std::make_shared<const Variables>(scope.variables);

  ModelDescription model;
  model.name = file.name;
  if (const YamlNode* parameters = file.part("parameters"))
    for (const YamlEntry& entry : parameters->entries)
      model.parameters.push_back({entry.key, to_flow_text(scope.variables.at(entry.key))});
  Binding previous = missing_binding("the model has no inputs");
  each_entry(file.part("inputs"), problems, [&](const YamlEntry& entry) {
    Binding binding;
    binding.value = entry.key;
    scope.values.emplace(entry.key, binding);
    if (model.inputs.empty()) previous = binding;
    model.inputs.push_back(read_input(entry, scope.variables));
  });
  const Binding last = expander.body(*file.part("body"), scope, previous);
  each_entry(file.part("outputs"), problems, [&](const YamlEntry& entry) {
    model.outputs.push_back({entry.key, read_value(entry.value, scope)});
  });
  each_entry(file.part("losses"), problems,
             [&](const YamlEntry& entry) { model.losses.push_back(read_loss(entry, scope)); });
  if (file.part("outputs") == nullptr && !last.missing)
    model.outputs.push_back({"output", {last.value, file.root.position}});
  model.nodes = std::move(expander.nodes());
  check_phases(model, problems);
  drop_missing(model);
  drop_unused(model, expander.imported());
  return model;
}

ModelDescription load_model(const ModelRequest& request) {
  Problems problems;
  ModelDescription model = load_model(request, problems);
  problems.throw_if_any();
  return model;
}

ModelRequest model_request(const Config& config, const std::map<std::string, std::int64_t>& symbols,
                           const std::map<std::string, std::int64_t>& facts) {
  const YamlNode* model = config.impl().document.find("model");
  const YamlNode* with = model != nullptr ? model->find("with") : nullptr;
  return {config.model().file, with != nullptr && with->is_map() ? *with : YamlNode{}, symbols, facts,
          config.impl().folders};
}

}  // namespace octavo
