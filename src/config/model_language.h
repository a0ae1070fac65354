// A model file expanded into a flat list of nodes in execution order: the input of the graph builder.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "config/problems.h"
#include "config/yaml.h"
#include "octavo/config.h"

namespace octavo {

enum class When { always, train, eval };

/// A use of a value: "image" (a model input), "stage1.1.sum" (first output of a node) or "cell:hidden".
struct ValueRef {
  std::string name;
  Position position;
};

/// One operation. Its values are named `path` (the first output) and `path:output`.
struct ModelNode {
  std::string path;  ///< unique: "stage2.0.conv1"
  std::string op;
  YamlNode attributes;               ///< a map; every ${} is evaluated, positions are those of the file
  std::vector<ValueRef> inputs;      ///< of earlier nodes or model inputs
  std::vector<std::string> outputs;  ///< names the file declares; empty: the op's own
  std::string share;                 ///< parameter group: equal for nodes that share weights, else the path
  When when = When::always;
  bool frozen = false;
  Position position;
};

/// A size of an input: a number, or a symbol that the data set did not bind (size 0).
struct InputSize {
  std::string symbol;
  std::int64_t size = 0;
};

struct ModelInput {
  std::string name;
  std::vector<InputSize> sizes;  ///< without the batch axis; empty: one value per sample
  std::string type;              ///< element type, empty: the data set's own
  Position position;
};

struct ModelOutput {
  std::string name;
  ValueRef value;
};

struct ModelLoss {
  std::string name;
  ValueRef value;  ///< one number per batch
  double weight = 1;
};

struct ModelDescription {
  std::string name;                    ///< file name without ending
  std::vector<NamedValue> parameters;  ///< the values in force
  std::vector<ModelInput> inputs;
  std::vector<ModelNode> nodes;  ///< every input of a node stands before it
  std::vector<ModelOutput> outputs;
  std::vector<ModelLoss> losses;
};

/// What a model file is expanded with.
struct ModelRequest {
  std::string file;
  YamlNode with;                                ///< map or null: values for its parameters
  std::map<std::string, std::int64_t> symbols;  ///< H, W, C, T, ... of the data set; visible in ${}
  std::map<std::string, std::int64_t> facts;    ///< parameters the data set fills unless `with` does: classes
  std::vector<std::string> folders;             ///< where `use:` looks for other model files
};

/// Throws Errc::config with every problem found, each with file:line:col.
ModelDescription load_model(const ModelRequest& request);

/// The same with the problems noted: what they leave of the model, each input of a node before it. Throws
/// only where the file as a whole cannot be read.
ModelDescription load_model(const ModelRequest& request, Problems& problems);

/// The request of a configuration; symbols and facts come from its data set.
ModelRequest model_request(const Config& config, const std::map<std::string, std::int64_t>& symbols,
                           const std::map<std::string, std::int64_t>& facts);

/// Folders searched for a model by name, first choice first.
std::vector<std::string> model_folders(const std::string& config_folder, const std::string& share_folder);

/// Absolute path of `name`.yaml in the folders, or Errc::config listing the paths tried.
std::string find_model(const std::string& name, const std::vector<std::string>& folders,
                       const Position& position);

/// A reader of the node's attributes.
AttrReader attributes_of(const ModelNode& node);

}  // namespace octavo
