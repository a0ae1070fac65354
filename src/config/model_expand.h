// Expansion of model files: blocks, loops and nested models become a flat list of nodes.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/model_file.h"
#include "config/model_scope.h"

namespace octavo {

/// One input of a node or block as written in `from`.
struct GivenInput {
  std::string name;  ///< of `from: {name: value}`, else ""
  Binding binding;
  Position position;
};

/// One turn of `repeat` or `for`, or the only pass of a plain entry (key "").
struct Turn {
  std::string key;
  Variables variables;
  bool first = true;
};

class Expander {
 public:
  Expander(const ModelRequest& request, Problems& problems) : request_(request), problems_(problems) {}

  /// The cached file of that path.
  const ModelFile& file(const std::string& path);

  /// Expands a list of nodes in `scope`; the binding of the last one, or `previous` for an empty list.
  Binding body(const YamlNode& list, Scope& scope, Binding previous);

  /// Parameters of a file with `given` values (a map or null); data set facts fill the rest before defaults
  /// do.
  Variables parameters(const ModelFile& file, const YamlNode& given, const Position& position);

  std::vector<ModelNode>& nodes() { return nodes_; }
  const std::vector<bool>& imported() const { return imported_; }

 private:
  struct Entry;
  using Carried = std::map<std::string, Binding>;

  Binding guarded(const YamlNode& node, Scope& scope, const Binding& previous);
  Binding expand(const Entry& entry, const Scope& scope, const Binding& previous);
  std::vector<Turn> turns(const Entry& entry, const Scope& scope);
  std::vector<Turn> loop_turns(const YamlNode& loop, const Scope& scope);
  Binding turn(const Entry& entry, const Scope& scope, const Turn& turn,
               const std::vector<GivenInput>& inputs, Carried& carried);
  Binding operation(const Entry& entry, const Scope& inner, const Turn& turn,
                    const std::vector<GivenInput>& inputs);
  Binding group(const Entry& entry, Scope& inner, const std::vector<GivenInput>& inputs, Carried& carried);
  Binding use(const Entry& entry, const Scope& inner, const Turn& turn,
              const std::vector<GivenInput>& inputs);
  Binding use_block(const Entry& entry, const std::string& name, const Scope& inner, const YamlNode& with,
                    const std::vector<GivenInput>& inputs);
  Binding use_model(const Entry& entry, const std::string& path, const Scope& inner, const YamlNode& with,
                    const std::vector<GivenInput>& inputs);
  Binding called(const Entry& entry, const YamlNode& definition, const std::vector<std::string>& input_names,
                 bool optional_inputs, Scope& scope, const std::vector<GivenInput>& inputs);
  Binding outputs_of(const YamlNode* outputs, const Scope& scope, const Binding& last);
  std::string share_of(const Entry& entry, const Scope& scope, const Turn& turn);
  void spend(std::int64_t count, const Position& position);

  const ModelRequest& request_;
  Problems& problems_;
  std::map<std::string, std::unique_ptr<ModelFile>> files_;
  std::vector<std::string> open_uses_;  // blocks and files being expanded, outermost first
  std::vector<ModelNode> nodes_;
  std::vector<bool> imported_;  // by node: comes from a file that another model uses
  std::int64_t spent_ = 0;
  bool exhausted_ = false;
};

/// One node of a body: what it is and the keys that steer its expansion.
struct Expander::Entry {
  const YamlNode& node;
  std::string name;
  std::string kind;  ///< "op", "use" or "body"
  Position position;
  const YamlNode* key(std::string_view key) const {
    const YamlNode* found = node.find(key);
    return found == nullptr || found->is_null() ? nullptr : found;
  }
};

/// Inputs named by `from`; `previous` when there is none.
std::vector<GivenInput> read_inputs(const YamlNode* from, const Scope& scope, const Binding& previous,
                                    const Position& position);

/// Arguments of a block or parameters of a file: given values, else facts, else defaults.
Variables bind_arguments(const YamlNode* declared, const YamlNode& given, const Variables& visible,
                         const std::map<std::string, std::int64_t>& facts, const std::string& what,
                         const Position& position);

}  // namespace octavo
