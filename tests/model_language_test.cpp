// Model files expand to the intended node lists, and wrong ones are refused with their place.
#include "config/model_language.h"

#include <algorithm>
#include <map>

#include "config/expression.h"
#include "support/catch.h"
#include "support/temp_folder.h"

using namespace octavo;

namespace {

const std::string models = OCTAVO_SOURCE_DIR "/models";
const std::string fixtures = OCTAVO_SOURCE_DIR "/tests/fixtures";
const std::map<std::string, std::int64_t> image_sizes{{"H", 32}, {"W", 32}, {"C", 3}, {"T", 20}};

ModelDescription load(const std::string& file, const std::string& with = "", std::int64_t classes = 10) {
  ModelRequest request;
  request.file = file;
  if (!with.empty()) request.with = parse_yaml(with, "with");
  request.symbols = image_sizes;
  request.facts = {{"classes", classes}};
  request.folders = {models};
  return load_model(request);
}

const ModelNode& node(const ModelDescription& model, const std::string& path) {
  for (const ModelNode& found : model.nodes)
    if (found.path == path) return found;
  FAIL("no node " << path);
  return model.nodes.front();
}

std::vector<std::string> inputs(const ModelDescription& model, const std::string& path) {
  std::vector<std::string> names;
  for (const ValueRef& input : node(model, path).inputs) names.push_back(input.name);
  return names;
}

std::string attribute(const ModelDescription& model, const std::string& path, const std::string& name) {
  const YamlNode* found = node(model, path).attributes.find(name);
  return found == nullptr ? "(none)" : to_flow_text(*found);
}

std::int64_t count_ops(const ModelDescription& model, const std::string& op) {
  return std::count_if(model.nodes.begin(), model.nodes.end(),
                       [&](const ModelNode& n) { return n.op == op; });
}

using Names = std::vector<std::string>;

std::string value_of(const std::string& expression) {
  const Variables variables{{"depth", make_scalar("20", {})},
                            {"half", make_scalar("0.5", {})},
                            {"list", parse_yaml("[4, [7, 8]]", "list")}};
  return to_flow_text(
      evaluate(make_scalar(expression, {std::make_shared<const std::string>("e"), 1, 1}), variables));
}

}  // namespace

TEST_CASE("expressions") {
  CHECK(value_of("${(depth-2)//6}") == "3");
  CHECK(value_of("${-7//2}") == "-4");
  CHECK(value_of("${-7%2}") == "1");
  CHECK(value_of("${7/2}") == "3.5");
  CHECK(value_of("${6/2*half}") == "1.5");
  CHECK(value_of("${2-3-4}") == "-5");
  CHECK(value_of("${max(1, min(list[0], 9), 2)}") == "4");
  CHECK(value_of("${list[1][depth-19]}") == "8");
  CHECK(value_of("${list}") == "[4, [7, 8]]");
  CHECK(value_of("${ceil(7*half)}") == "4");
  CHECK(value_of("${round_to(18, 8)}") == "24");  // 16 is more than a tenth below
  CHECK(value_of("${round_to(3, 8)}") == "8");
  CHECK(value_of("${round_to(1280*1.4, 8)}") == "1792");
  CHECK(value_of("c${list[0]}.x${1+1}") == "c4.x2");
  CHECK(value_of("${1e-3}") == "1e-3");
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"${dept}", "e:1:1: unknown variable 'dept' in '${dept}'; did you mean 'depth'?"},
      {"${1/0}", "e:1:1: division by 0 in '${1/0}'"},
      {"${1%(2-2)}", "e:1:1: division by 0 in '${1%(2-2)}'"},
      {"${list[2]}", "e:1:1: index '2' is outside the list of 2 values in '${list[2]}'"},
      {"${list+1}", "e:1:1: expected a number, found a list in '${list+1}'"},
      {"${depth[0]}", "e:1:1: only a list has elements; found '20' in '${depth[0]}'"},
      {"${1048576*1048576}", ""},
      {"${1048576*1048577}", "e:1:1: the result exceeds 2^40 in '${1048576*1048577}'"},
      {"${1099511627776*1099511627776}",
       "e:1:1: the result exceeds 2^40 in '${1099511627776*1099511627776}'"},
      {"${9223372036854775807+1}", "e:1:1: a value exceeds 2^40 in '${9223372036854775807+1}'"},
      {"${1+}", "e:1:1: a value is missing in '${1+}'"},
      {"${(1}", "e:1:1: missing ')' in '${(1}'"},
      {"${1 2}", "e:1:1: unexpected '2' in '${1 2}'"},
      {"${a", "e:1:1: missing '}' in '${a'"},
      {"${floor(1)}", "e:1:1: unknown function 'floor'; valid: min, max, ceil, round_to in '${floor(1)}'"},
      {"${round_to(1)}", "e:1:1: round_to takes 2 values, found 1 in '${round_to(1)}'"},
      {"${" + std::string(60, '(') + "1", "e:1:1: missing '}' in '${" + std::string(60, '(') + "1'"},
      {"x${list}", "e:1:1: '${list}' inside a text gives a list"},
  };
  for (const auto& [text, message] : bad) {
    if (message.empty()) {
      CHECK(value_of(text) == "1099511627776");
    } else {
      CHECK_THROWS_WITH(value_of(text), message);
    }
  }
}

TEST_CASE("models/lenet.yaml") {
  const ModelDescription model = load(models + "/lenet.yaml");
  REQUIRE(model.nodes.size() == 13);
  CHECK(inputs(model, "conv1") == Names{"image"});
  CHECK(inputs(model, "relu1") == Names{"conv1"});
  CHECK(inputs(model, "loss") == Names{"head", "label"});
  CHECK(attribute(model, "head", "out") == "10");
  CHECK(model.inputs.at(0).sizes.at(2).size == 3);
  CHECK(model.inputs.at(0).sizes.at(2).symbol == "C");
  CHECK(model.inputs.at(1).sizes.empty());
  CHECK(model.outputs.at(0).value.name == "head");
  CHECK(model.losses.at(0).weight == 1);
}

TEST_CASE("models/resnet_cifar.yaml") {
  const ModelDescription model = load(models + "/resnet_cifar.yaml", "{depth: 20}", 100);
  CHECK(count_ops(model, "conv2d") == 21);  // 19 and two projections
  CHECK(count_ops(model, "add") == 9);
  CHECK(model.nodes.size() == 21 + 21 + 19 + 9 + 3);
  CHECK(attribute(model, "stage2.0.conv1", "stride") == "2");
  CHECK(attribute(model, "stage2.0.conv1", "out") == "32");
  CHECK(attribute(model, "stage2.1.conv1", "stride") == "1");
  CHECK(attribute(model, "stage3.2.conv2", "out") == "64");
  CHECK(inputs(model, "stage2.0.shortcut.conv") == Names{"stage1.2.relu2"});
  CHECK(inputs(model, "stage2.0.sum") == Names{"stage2.0.shortcut.bn", "stage2.0.bn2"});
  CHECK(inputs(model, "stage2.1.sum") == Names{"stage2.0.relu2", "stage2.1.bn2"});
  CHECK(inputs(model, "stage2.1.conv1") == Names{"stage2.0.relu2"});
  CHECK(inputs(model, "pool") == Names{"stage3.2.relu2"});
  CHECK(attribute(model, "head", "out") == "100");
  CHECK(model.outputs.at(2).value.name == "stage2.2.relu2");
  CHECK(node(model, "stage2.0.conv1").share == "stage2.0.conv1");
  CHECK(node(model, "stage2.0.conv1").position.line == 12);
}

TEST_CASE("models/resnet8.yaml uses another model by its outputs") {
  const ModelDescription model = load(models + "/resnet8.yaml");
  CHECK(count_ops(model, "conv2d") == 9);
  CHECK(count_ops(model, "softmax_cross_entropy") == 1);
  CHECK(inputs(model, "loss") == Names{"net.head", "label"});
  CHECK(inputs(model, "net.conv0") == Names{"image"});
}

TEST_CASE("models/mobilenetv2_cifar.yaml") {
  const ModelDescription model = load(models + "/mobilenetv2_cifar.yaml");
  CHECK(count_ops(model, "conv2d") == 52);
  CHECK(count_ops(model, "add") == 10);
  CHECK(attribute(model, "stage.0.block.0.depthwise.conv", "groups") == "32");
  CHECK(attribute(model, "stage.1.block.0.expand.conv", "out") == "96");
  CHECK(attribute(model, "stage.1.block.1.expand.conv", "out") == "144");
  CHECK(attribute(model, "stage.2.block.0.depthwise.conv", "stride") == "2");
  CHECK(inputs(model, "stage.1.block.1.sum") == Names{"stage.1.block.1.bn", "stage.1.block.0.bn"});
  CHECK(attribute(load(models + "/mobilenetv2_cifar.yaml", "{width: 0.75}"), "stage.1.block.1.project",
                  "out") == "24");
  CHECK(attribute(load(models + "/mobilenetv2_cifar.yaml", "{width: 1.4}"), "last.conv", "out") == "1792");
}

TEST_CASE("InceptionV3: branches and an auxiliary head") {
  const ModelDescription model = load(fixtures + "/inception_v3.yaml", "", 1000);
  CHECK(count_ops(model, "conv2d") == 96);  // 94 and two of the auxiliary head
  CHECK(count_ops(model, "concat") == 15);
  CHECK(model.nodes.size() == 324);
  CHECK(inputs(model, "mixed_5.1.join") == Names{"mixed_5.1.branch1x1.relu", "mixed_5.1.branch5x5_2.relu",
                                                 "mixed_5.1.branch3x3_2.1.relu",
                                                 "mixed_5.1.branch_pool.relu"});
  CHECK(attribute(model, "mixed_5.0.branch_pool.conv", "out") == "32");
  CHECK(attribute(model, "mixed_5.2.branch_pool.conv", "out") == "64");
  CHECK(attribute(model, "mixed_6c.1.double_5.conv", "kernel") == "[1, 7]");
  CHECK(inputs(model, "mixed_7.0.join").at(1) == "mixed_7.0.three_2.join");
  CHECK(node(model, "aux.conv1.bn").when == When::train);
  CHECK(node(model, "mixed_7a.pool").when == When::always);
  CHECK(inputs(model, "aux.pool") == Names{"mixed_6e.join"});
  CHECK(model.losses.at(1).value.name == "aux.loss");
  CHECK(model.losses.at(1).weight == 0.4);
}

TEST_CASE("feature pyramid: carried value, shared heads, backbone by outputs") {
  const ModelDescription model = load(fixtures + "/pyramid_detector.yaml");
  CHECK(inputs(model, "top") == Names{"backbone.stage3.1.relu2"});
  CHECK(inputs(model, "pyramid.2.lateral") == Names{"backbone.stage2.1.relu2"});
  CHECK(inputs(model, "pyramid.2.up") == Names{"top"});
  CHECK(inputs(model, "pyramid.1.up") == Names{"pyramid.2.sum"});
  CHECK(inputs(model, "heads.1.classify.tower.0") == Names{"pyramid.2.smooth"});
  CHECK(inputs(model, "heads.1.classify.tower.1") == Names{"heads.1.classify.tower.0"});
  for (const char* level : {"top", "1", "2"})
    CHECK(node(model, std::string("heads.") + level + ".regress.predict").share == "heads.regress.predict");
  CHECK(node(model, "heads.2.regress.tower.1").share == "heads.regress.tower.1");
  CHECK(inputs(model, "scores") ==
        Names{"heads.top.classify.predict", "heads.1.classify.predict", "heads.2.classify.predict"});
  CHECK(attribute(model, "heads.2.classify.predict", "out") == "90");
  CHECK(inputs(model, "class_loss") == Names{"scores", "match:target_class", "match:valid"});
  CHECK(node(model, "match").outputs == Names{"target_class", "target_delta", "valid"});
  CHECK(model.losses.at(1).weight == 0.5);
  for (const ModelNode& found : model.nodes)
    CHECK(found.path != "backbone.head");  // nothing needs the classifier
  CHECK(model.nodes.size() == 49 + 1 + 2 * 4 + 3 * 2 * 3 + 5);
}

TEST_CASE("Faster R-CNN: frozen parts, host-side values, phases") {
  const ModelDescription model = load(fixtures + "/faster_rcnn.yaml", "", 21);
  CHECK(model.nodes.size() == 24);
  CHECK(node(model, "stem.conv1").frozen);
  CHECK_FALSE(node(model, "features").frozen);
  CHECK(attribute(model, "propose", "side") == "host");
  CHECK(inputs(model, "propose") == Names{"rpn.objectness", "rpn.deltas"});
  CHECK(inputs(model, "train_rois") == Names{"features", "sample:boxes", "sample:valid"});
  CHECK(node(model, "head.0.fc").when == When::train);
  CHECK(node(model, "head.1.fc").when == When::eval);
  CHECK(node(model, "head.1.fc").share == node(model, "head.0.fc").share);
  CHECK(node(model, "head.1.fc").share == "head.fc");
  CHECK(inputs(model, "head.1.fc") == Names{"eval_rois"});
  REQUIRE(model.losses.size() == 4);
  CHECK(model.losses.at(1).value.name == "rpn.box_loss");
  CHECK(model.losses.at(1).weight == 10);
  CHECK(model.inputs.at(2).type == "i64");
  CHECK(model.outputs.at(3).value.name == "propose:valid");
}

TEST_CASE("attention sequence model: carried state, tied weights") {
  const ModelDescription model = load(fixtures + "/attention_seq2seq.yaml");
  REQUIRE(model.nodes.size() == 7);
  CHECK(inputs(model, "encoder.1") == Names{"encoder.0"});
  CHECK(inputs(model, "decoder") == Names{"embed_target", "encoder.1:sequence", "encoder.1:final"});
  CHECK(attribute(model, "decoder", "carry") == "[hidden, context]");
  CHECK(node(model, "project").share == "embed_target");
  CHECK(model.outputs.at(1).value.name == "decoder:context");
  CHECK(model.inputs.at(0).sizes.at(0).size == 20);
}

TEST_CASE("Transformer: repeated layers, residual sums, one table") {
  const ModelDescription model = load(fixtures + "/transformer.yaml");
  CHECK(model.nodes.size() == 4 + 3 * 13 + 3 * 21);
  CHECK(inputs(model, "encoder.0.self.sum") == Names{"embed", "encoder.0.self.drop"});
  CHECK(inputs(model, "encoder.1.self.q") == Names{"encoder.0.feed.norm"});
  CHECK(inputs(model, "decoder.0.self.q") == Names{"embed_target"});
  CHECK(inputs(model, "decoder.2.cross.q") == Names{"decoder.2.self.norm"});
  CHECK(inputs(model, "decoder.2.cross.k") == Names{"encoder.2.feed.norm"});
  CHECK(inputs(model, "decoder.2.self.q") == Names{"decoder.1.feed.norm"});
  CHECK(attribute(model, "decoder.1.self.mix", "causal") == "true");
  CHECK(attribute(model, "decoder.1.cross.mix", "causal") == "false");
  for (const char* path : {"embed", "embed_target", "project"}) CHECK(node(model, path).share == "embed");
}

TEST_CASE("attributes of a node reach its reader with their place") {
  const ModelDescription model = load(models + "/lenet.yaml");
  const AttrReader reader = attributes_of(node(model, "conv1"));
  CHECK(reader.integer("out") == 6);
  CHECK_THROWS_WITH(reader.finish(), ContainsSubstring("lenet.yaml:6:39:") &&
                                         ContainsSubstring("[conv2d 'conv1'] unknown attribute 'kernel'"));
}

TEST_CASE("bad models are refused with their place and the remedy") {
  const TempFolder folder;
  const std::string head = "inputs: {image: [8, 8, 3]}\nbody:\n";
  const std::vector<std::pair<std::string, std::string>> table = {
      {"  - {name: a, op: relu, from: imag}", "m.yaml:3:31: unknown value 'imag'; did you mean 'image'?"},
      {"  - {name: a, op: relu, from: b}\n  - {name: b, op: relu}",
       "m.yaml:3:31: 'b' is used before it is computed; move it up, or break the cycle"},
      {"  - {name: a, op: add, from: [image, a]}",
       "m.yaml:3:38: 'a' is used before it is computed; move it up, or break the cycle"},
      {"  - {name: a, op: relu}\n  - {name: a, op: relu}", "m.yaml:4:12: the name 'a' is taken"},
      {"  - {name: image, op: relu}", "m.yaml:3:12: the name 'image' is taken"},
      {"  - {op: relu}", "m.yaml:3:5: a node needs a 'name'"},
      {"  - {name: a.b, op: relu}", "m.yaml:3:12: 'a.b' is not a name; use letters, digits and _, not 'in'"},
      {"  - {name: a}", "m.yaml:3:5: 'a' needs one of 'op', 'use' and 'body'"},
      {"  - {name: a, op: relu, use: b}", "m.yaml:3:5: 'a' has both 'op' and 'use'"},
      {"  - relu", "m.yaml:3:5: expected a node such as {name: a, op: relu}, found 'relu'"},
      {"  - {name: a, op: conv2d, out: \"${widht}\"}\nparameters: {width: 4}",
       "m.yaml:3:32: unknown variable 'widht' in '${widht}'; did you mean 'width'?"},
      {"  - {name: a, use: blk, with: {chanels: 4}}\nblocks: {blk: {arguments: {channels: 1}, body: []}}",
       "m.yaml:3:32: block 'blk' has no argument 'chanels'; did you mean 'channels'?"},
      {"  - {name: a, use: blk}\nblocks: {blk: {arguments: {channels: }, body: []}}",
       "m.yaml:3:5: block 'blk' needs the argument 'channels'"},
      {"  - {name: a, use: blk2}\nblocks: {blk1: {body: []}}",
       "m.yaml:3:20: unknown block 'blk2'; did you mean 'blk1'?"},
      {"  - {name: a, use: blk, from: [image, image]}\nblocks: {blk: {body: []}}",
       "m.yaml:3:39: 'blk' takes 1 inputs, found 2"},
      {"  - {name: a, use: blk, from: {x: image}}\nblocks: {blk: {inputs: [y], body: []}}",
       "m.yaml:3:35: 'blk' has no input 'x'; valid: y"},
      {"  - {name: a, use: blk}\nblocks: {blk: {inputs: [x, y], body: []}}",
       "m.yaml:3:5: 'blk' needs the input 'y'"},
      {"  - {name: a, use: one}\nblocks: {one: {body: [{name: b, use: two}]}, two: {body: [{name: c, use: "
       "one}]}}",
       "m.yaml:4:59: 'one' uses itself, directly or through other blocks"},
      {"  - {name: a, use: m}", "m.yaml:3:5: 'm' uses itself, directly or through other blocks"},
      {"  - {name: a, use: blk, stride: 2}\nblocks: {blk: {body: []}}",
       "m.yaml:3:25: unknown key 'stride' in 'a' (arguments go under 'with'); valid: name, use, if, repeat, "
       "for, from, "
       "frozen, when, share, first, with"},
      {"  - {name: a, op: relu, repeat: 1000000}",
       "m.yaml:3:33: 'repeat' expects a whole number in [0, 100000], found '1000000'"},
      {"  - {name: a, repeat: 1000, body: [{name: b, op: relu, repeat: 1000}]}",
       "m.yaml:3:64: the model expands to more than 100000 nodes"},
      {"  - {name: a, op: relu, for: {i: 3}}",
       "m.yaml:3:34: 'for' expects a list or {range: [begin, end]}, found '3'"},
      {"  - {name: a, op: relu, for: {i: [1, 1]}}", "m.yaml:3:38: 'for' has the value '1' twice"},
      {"  - {name: a, op: relu, first: {x: 1}}",
       "m.yaml:3:32: 'first' expects a map of values for the first turn of 'repeat'"},
      {"  - {name: a, op: relu, share: weights}",
       "m.yaml:3:32: 'share: weights' joins the turns of a loop; name the other node: {weights: NAME}"},
      {"  - {name: a, op: relu, share: {weights: image}}",
       "m.yaml:3:32: 'image' is an input and has no weights to share"},
      {"  - {name: a, op: relu, when: tran}",
       "m.yaml:3:31: 'when' expects one of always, train, eval, found 'tran'"},
      {"  - {name: a, op: relu, when: train}\n  - {name: b, op: relu}",
       "m.yaml:4:5: 'a' exists only in training, but 'b' needs it elsewhere too"},
      {"  - {name: a, when: train, body: [{name: b, op: relu, when: eval}]}",
       "m.yaml:3:61: a part of training cannot stand inside a part of evaluation, nor the reverse"},
      {"  - {name: a, op: relu, frozen: 1}", "m.yaml:3:33: 'frozen' expects true or false, found '1'"},
      {"  - {name: a, op: split, outputs: [x, y]}\n  - {name: b, op: relu, from: a.z}",
       "m.yaml:4:31: 'a' has no output 'z'; valid: x, y"},
      {"  - {name: a, use: blk}\n  - {name: b, op: relu}\nblocks: {blk: {body: [{name: c, op: relu}], "
       "outputs: {x: c, "
       "y: in}}}",
       "m.yaml:4:5: the node before has several outputs; name a value with 'from'"},
      {"  - {name: a, use: blk}\n  - {name: b, op: relu, from: a}\nblocks: {blk: {body: [{name: c, op: "
       "relu}], outputs: "
       "{x: c, y: in}}}",
       "m.yaml:4:31: 'a' has several outputs; name one of x, y"},
      {"  - {name: a, op: relu}\noutputs: {y: b}", "m.yaml:4:14: unknown value 'b'; valid: a, image"},
      {"  - {name: a, op: relu}\nlosses: {y: {from: a, weigth: 2}}",
       "m.yaml:4:23: unknown key 'weigth' in loss 'y'; did you mean 'weight'?"},
      {"  - {name: a, op: relu}\nparamters: {}",
       "m.yaml:4:1: unknown key 'paramters' in a model; did you mean 'parameters'?"},
      {"  - {name: a, op: relu, from: x}\n  - {name: b, op: relu, from: y}\n  - {name: c, op: relu, from: a}",
       "m.yaml:3:31: unknown value 'x'; valid: image\nm.yaml:4:31: unknown value 'y'; valid: a, image"},
  };
  for (const auto& [text, message] : table) {
    folder.write("m.yaml", head + text + "\n");
    INFO(text);
    std::string error;
    try {
      ModelRequest request;
      request.file = "m.yaml";
      load_model(request);
    } catch (const Error& thrown) {
      CHECK(thrown.code() == Errc::config);
      error = thrown.what();
    }
    CHECK(error == message);
  }
}

TEST_CASE("sizes that overflow, missing models and wrong parameters") {
  const TempFolder folder;
  folder.write("m.yaml", "inputs: {image: [1000000, 1000000, 3]}\nbody: []\n");
  ModelRequest request;
  request.file = "m.yaml";
  CHECK_THROWS_WITH(load_model(request),
                    "m.yaml:1:36: the sizes of input 'image' multiply to more than 2^40");
  folder.write("m.yaml", "inputs: {image: [0]}\nbody: [{name: a, use: resnet}]\n");
  CHECK_THROWS_WITH(load_model(request),
                    ContainsSubstring("m.yaml:1:18: a size expects a whole number in [1, 1099511627776]") &&
                        ContainsSubstring("m.yaml:2:23: model 'resnet' not found; tried "));
  request.file = models + "/lenet.yaml";
  request.with = parse_yaml("{clases: 3}", "with");
  CHECK_THROWS_WITH(
      load_model(request),
      ContainsSubstring("with:1:2: model 'lenet' has no argument 'clases'; did you mean 'classes'?"));
  CHECK_THROWS_WITH(find_model("lenett", {models}, {}),
                    ContainsSubstring("did you mean 'lenet'?; tried " + models));
}
