// Small models written in a test: one line per node, "name op input,input {attributes}".
#pragma once

#include <cstring>
#include <sstream>
#include <string>

#include "config/yaml.h"
#include "exec/program.h"
#include "graph/build.h"

namespace octavo::test {

inline Position here() { return {std::make_shared<const std::string>("test"), 1, 1}; }

inline std::vector<ValueRef> split_refs(const std::string& text) {
  std::vector<ValueRef> refs;
  std::istringstream in(text);
  for (std::string name; std::getline(in, name, ',');) refs.push_back({name, here()});
  return refs;
}

/// Lines "input NAME", "output NAME VALUE", "loss VALUE [WEIGHT]", or a node; "share=GROUP", "frozen" and
/// "when=train|eval" may stand before the attributes.
inline ModelDescription parse_model(const std::string& text) {
  ModelDescription model;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line.substr(0, line.find('{')));
    std::string first, second, third;
    if (!(words >> first >> second)) continue;
    words >> third;
    if (first == "input") {
      model.inputs.push_back({second, {}, "", here()});
    } else if (first == "output") {
      model.outputs.push_back({second, {third, here()}});
    } else if (first == "loss") {
      model.losses.push_back({second, {second, here()}, third.empty() ? 1 : std::stod(third)});
    } else {
      ModelNode node{first, second};
      node.inputs = split_refs(third);
      node.position = here();
      node.share = first;
      for (std::string flag; words >> flag;) {
        if (flag == "frozen") node.frozen = true;
        if (flag == "when=train") node.when = When::train;
        if (flag == "when=eval") node.when = When::eval;
        if (flag.starts_with("share=")) node.share = flag.substr(6);
      }
      const std::size_t brace = line.find('{');
      node.attributes = parse_yaml(brace == std::string::npos ? "{}" : line.substr(brace), "test");
      model.nodes.push_back(std::move(node));
    }
  }
  return model;
}

inline Graph build(const std::string& text) { return build_graph(parse_model(text)); }

inline ParameterData& parameter(Program& program, const std::string& name) {
  for (ParameterData& data : program.parameters)
    if (data.name == name) return data;
  throw std::runtime_error("no parameter " + name);
}

template <class Values>
void assign(Tensor& tensor, const Values& values) {
  auto out = tensor.as<float>();
  REQUIRE(out.size() == static_cast<std::size_t>(values.size()));
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(values[i]);
}

/// All products of all layers in integers with one scale per tensor, or in float.
inline void set_formats(Program& program, bool integer,
                        RoundingMode gradient_rounding = RoundingMode::nearest_even) {
  const SlotFormat plain, gradient{8, ScaleGranularity::tensor, gradient_rounding};
  for (Layer& layer : program.layers)
    layer.formats = {{integer, plain, plain}, {integer, gradient, plain}, {integer, plain, gradient}};
}

}  // namespace octavo::test
