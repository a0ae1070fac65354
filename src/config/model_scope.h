// Names that one part of a model file can see, and what they stand for.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/expression.h"
#include "config/model_language.h"

namespace octavo {

struct Part;

/// What a name refers to: a value, and the named parts below it (outputs of a block, turns of a loop).
struct Binding {
  std::string value;  ///< "" when only its parts can be used
  std::vector<Part> parts;
  bool is_loop = false;        ///< parts are turns; outputs of the last turn can be named directly
  std::string share;           ///< parameter group, or its prefix for a block
  bool missing = false;        ///< never computed
  std::string missing_reason;  ///< "": reported already
  bool declared_outputs = false;

  const Binding* part(std::string_view name) const;
  std::vector<std::string> part_names() const;
};

struct Part {
  std::string name;
  Binding binding;
};

Binding missing_binding(std::string reason = "");

struct ModelFile;

/// Loop and group bodies see the names around them (`outer`); blocks and model files see only their own.
struct Scope {
  const ModelFile* file = nullptr;
  const Scope* outer = nullptr;
  Variables variables;
  std::shared_ptr<const Variables> parameters;  ///< of the file; all that its blocks see
  std::map<std::string, Binding, std::less<>> values;
  std::vector<std::string> later;  ///< names the body defines, for messages on forward references
  std::string path;                ///< prefix of node paths, "" or "stage2.0."
  std::string share;               ///< prefix of parameter groups
  When when = When::always;
  bool frozen = false;
  bool imported = false;  ///< inside a model file used by another

  const Binding* find(std::string_view name) const;
  std::vector<std::string> names() const;
  Scope inside() const;  ///< a scope that sees this one and holds no names yet
};

/// Resolves "name", "name.part", "name:output", "name.*" (every turn of a loop, in order).
/// Errc::config with the nearest name when there is no such value.
/// With `values_only` each must stand for one value; without, a block with several outputs may be meant.
std::vector<Binding> resolve(const YamlNode& reference, const Scope& scope, bool values_only = true);

/// The one value of a reference; missing values keep their reason.
Binding resolve_one(const YamlNode& reference, const Scope& scope);

}  // namespace octavo
