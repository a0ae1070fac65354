// Configuration: every kind of bad input with its message, merge order, overrides, dump and load.
#include "octavo/config.h"

#include <sys/stat.h>

#include <chrono>
#include <clocale>

#include "config/schema.h"
#include "config/yaml.h"
#include "support/catch.h"
#include "support/temp_folder.h"

using namespace octavo;

namespace {

const std::string head = "model: {file: m.yaml}\ndata: {set: shapes}\ntrain: {epochs: 1}\n";
const std::string model = "inputs: {image: [8, 8, 3]}\nbody: [{name: a, op: relu}]\n";

Catalog catalog_with_options() {
  Catalog catalog;
  using Type = OptionSpec::Type;
  catalog.policies[2].options = {{"period", Type::integer, 1, 1000, "10", "steps between two searches", {}},
                                 {"alpha", Type::number, 0, 1, "0.5", "share", {}},
                                 {"search", Type::choice, 0, 0, "grid", "method", {"grid", "golden"}},
                                 {"per_channel", Type::flag, 0, 1, "false", "scales per channel", {}}};
  return catalog;
}

// Text of the error that loading gives, or "" when it succeeds.
std::string error_of(const std::string& path, const std::vector<std::string>& overrides = {}) {
  try {
    Config::load(path, overrides, catalog_with_options());
  } catch (const Error& error) {
    CHECK(error.code() == Errc::config);
    return error.what();
  }
  return "";
}

struct Bad {
  std::string text;     // the whole file, or what follows `head` when it starts with '+'
  std::string message;  // the whole error
};

std::string nested(const std::string& open, int depth) {
  std::string text;
  for (int i = 0; i < depth; ++i) text += open;
  return text;
}

}  // namespace

TEST_CASE("bad files are refused with their place, the value and the remedy") {
  const TempFolder folder;
  folder.write("m.yaml", model);
  const std::string lr_range = "'optimizer.lr' expects a number in (0, 1000], found ";
  const std::vector<Bad> table = {
      {"+optimizer: {learning_rat: 0.1}",
       "a.yaml:4:13: unknown key 'learning_rat' under 'optimizer'; valid: type, lr, "
       "momentum, nesterov, weight_decay, decay_norm_and_bias"},
      {"+optimizer: {momentun: 0.1}",
       "a.yaml:4:13: unknown key 'momentun' under 'optimizer'; did you mean 'momentum'?"},
      {"+optimiser: {lr: 1}", "a.yaml:4:1: unknown key 'optimiser'; did you mean 'optimizer'?"},
      {"+precision: {products: {grad_inputs: fp32}}",
       "a.yaml:4:24: unknown key 'grad_inputs' under 'precision.products'; did you mean 'grad_input'?"},
      {"+output: {seed: 1}", "a.yaml:4:10: unknown key 'seed' under 'output'; did you mean 'train.seed'?"},
      {"+optimizer: {lr: fast}", "a.yaml:4:17: " + lr_range + "'fast'"},
      {"+optimizer: {lr: 0}", "a.yaml:4:17: " + lr_range + "'0'"},
      {"+optimizer: {lr: .nan}", "a.yaml:4:17: " + lr_range + "'.nan'"},
      {"+optimizer: {lr: .inf}", "a.yaml:4:17: " + lr_range + "'.inf'"},
      {"+optimizer: {lr: 1e400}", "a.yaml:4:17: " + lr_range + "'1e400'"},
      {"+optimizer: {lr: 0,1}",
       "a.yaml:4:17: " + lr_range +
           "'0'\na.yaml:4:19: unknown key '1' under 'optimizer'; valid: type, lr, momentum, nesterov, "
           "weight_decay, decay_norm_and_bias"},
      {"+optimizer: {lr: '0.1'}", "a.yaml:4:17: " + lr_range + "the text '0.1'"},
      {"+optimizer: {lr: [0.1]}", "a.yaml:4:17: " + lr_range + "a list"},
      {"+optimizer: {lr: 0x10}", "a.yaml:4:17: " + lr_range + "'0x10'"},
      {"+optimizer: {nesterov: yes}", "a.yaml:4:23: 'optimizer.nesterov' expects true or false, found 'yes'"},
      {"+optimizer: {type: sdg}",
       "a.yaml:4:19: 'optimizer.type' expects one of sgd, found 'sdg'; did you mean 'sgd'?"},
      {"+optimizer: 3",
       "a.yaml:4:12: 'optimizer' expects the keys type, lr, momentum, nesterov, weight_decay, "
       "decay_norm_and_bias, found '3'"},
      {"+optimizer: {momentum: 1}",
       "a.yaml:4:23: 'optimizer.momentum' expects a number in [0, 1), found '1'"},
      {"+gradient: {accumulate: 010}",
       "a.yaml:4:24: 'gradient.accumulate' expects a whole number in [1, 1048576], found '010'"},
      {"+gradient: {accumulate: 1.5}",
       "a.yaml:4:24: 'gradient.accumulate' expects a whole number in [1, 1048576], found '1.5'"},
      {"+gradient: {accumulate: 0}",
       "a.yaml:4:24: 'gradient.accumulate' expects a whole number in [1, 1048576], found '0'"},
      {"+schedule: {warmup: 5}", "a.yaml:4:20: 'schedule.warmup' has no unit; write '5 epochs' or '5 steps'"},
      {"+schedule: {warmup: 5 days}",
       "a.yaml:4:20: 'schedule.warmup' expects a duration such as '500 steps' or '1 "
       "epoch' in [0, 1e+09], found '5 days'"},
      {"+schedule: {warmup: 1.5 steps}",
       "a.yaml:4:20: 'schedule.warmup' expects a duration such as '500 steps' or '1 "
       "epoch' in [0, 1e+09], found '1.5 steps'; steps are whole"},
      {"+schedule: {type: step}", "a.yaml:4:18: 'schedule.type' step needs 'schedule.every'"},
      {"+schedule: {type: multistep, at: [2 epochs, 1 epoch]}",
       "a.yaml:4:33: 'schedule.at' must ascend, all in epochs or all in steps"},
      {"+precision: {policy: int8_minmx}",
       "a.yaml:4:21: 'precision.policy' expects one of fp32, int8_minmax, "
       "unified_int8, ui8, found 'int8_minmx'; did you mean 'int8_minmax'?"},
      {"+precision: {weight_range: hold}",
       "a.yaml:4:27: 'precision.weight_range' expects one of current, held, found 'hold'; did you mean "
       "'held'?"},
      {"+precision: {bits: {weight: 25}}",
       "a.yaml:4:28: 'precision.bits.weight' expects a whole number in [2, 24], found '25'"},
      {"+precision: {policy: ui8, options: {perid: 3}}",
       "a.yaml:4:36: unknown option 'perid' of policy 'unified_int8'; did you mean 'period'?"},
      {"+precision: {policy: ui8, options: {alpha: 1.5}}",
       "a.yaml:4:43: 'precision.options.alpha' expects a number in [0, 1], found '1.5'"},
      {"+optimizer: {lr: 1}\noptimizer: {lr: 2}",
       "a.yaml:5:1: key 'optimizer' appears twice, first in line 4"},
      {"+optimizer: {lr: 1, lr: 2}", "a.yaml:4:20: key 'lr' appears twice, first in line 4"},
      {"+optimizer: &A [*A]", "a.yaml:4:16: this alias refers to a value that contains it"},
      {"+---\noptimizer: {lr: 1}",
       "a.yaml:4:1: a second document or stray text starts here; a file holds one document"},
      {"+base: &b {lr: 1}\noptimizer: {<<: *b}",
       "a.yaml:5:13: merge key '<<' is not supported; use 'include: other.yaml' or repeat the values"},
      {"+optimizer: !!map {lr: 1}",
       "a.yaml:4:12: tag 'tag:yaml.org,2002:map' is not supported; write the plain value"},
      {"+? [a, b]\n: 1", "a.yaml:4:3: a key must be a plain name, found a list"},
      {"+optimizer: {lr: 1", "a.yaml:4:1: not YAML: end of map flow not found\n  optimizer: {lr: 1\n  ^"},
      {"+data: \xff", "a.yaml:4:7: byte 255 is not UTF-8; save the file as UTF-8"},
      {"+a: \x01", "a.yaml:4:4: control character 1; a configuration is plain text"},
      {"", "a.yaml:1:1: expected keys and values, found nothing"},
      {"[1, 2]", "a.yaml:1:1: expected keys and values, found a list"},
      {"just text", "a.yaml:1:1: expected keys and values, found 'just text'"},
      {",", "a.yaml:1:1: a second document or stray text starts here; a file holds one document"},
      {"x: " + nested("[", 40), "a.yaml:1:36: brackets nest deeper than 32 levels"},
      {nested("- ", 40) + "a", "a.yaml:1:65: values nest deeper than 32 levels"},
      {"x: " + nested("[", 100000), "a.yaml:1:36: brackets nest deeper than 32 levels"},
      {"data: {set: shapes, batch: 0}\nmodel: {file: m.yaml}\nschedul: 1",
       "a.yaml:1:28: 'data.batch' expects a whole number in [1, 1048576], found '0'\n"
       "a.yaml:3:1: unknown key 'schedul'; did you mean 'schedule'?\n"
       "a.yaml:1:1: one of 'train.epochs' and 'train.steps' is required"},
  };
  for (const Bad& bad : table) {
    const bool appended = !bad.text.empty() && bad.text[0] == '+';
    folder.write("a.yaml", appended ? head + bad.text.substr(1) : bad.text);
    INFO(bad.text.substr(0, 100));
    const auto start = std::chrono::steady_clock::now();
    const std::string error = error_of("a.yaml");
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(2));
    CHECK(error == bad.message);
  }
}

TEST_CASE("a syntax error shows the line") {
  const TempFolder folder;
  folder.write("a.yaml", "model: {file: m.yaml}\n\tdata: 1\n");
  CHECK_THAT(error_of("a.yaml"),
             ContainsSubstring("a.yaml:2:2: not YAML") && ContainsSubstring("\n   data: 1\n   ^"));
}

TEST_CASE("an alias bomb stops at the node budget") {
  const TempFolder folder;
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int k = 1; k < 10; ++k) bomb += ", " + before;
    bomb += "]\n";
  }
  folder.write("a.yaml", bomb);
  CHECK_THAT(error_of("a.yaml"), ContainsSubstring("the document expands to more than 100000 values"));
}

TEST_CASE("paths that are no plain files are refused without waiting") {
  const TempFolder folder;
  REQUIRE(::mkfifo("pipe", 0600) == 0);
  folder.write("big.yaml", "a: 1\n");
  std::filesystem::resize_file("big.yaml", std::uintmax_t{10} << 30);  // sparse
  CHECK(error_of("pipe") == "pipe: is a pipe; expected a YAML file");
  CHECK(error_of(".") == ".: is a folder; expected a YAML file");
  CHECK(error_of("/dev/zero") == "/dev/zero: is a device; expected a YAML file");
  CHECK(error_of("big.yaml") == "big.yaml: has 10737418240 bytes; a configuration may have at most 1048576");
  CHECK(error_of("none.yaml") == "none.yaml: cannot open: No such file or directory");
}

TEST_CASE("overrides are checked like the file") {
  const TempFolder folder;
  folder.write("m.yaml", model);
  folder.write("a.yaml", head);
  const std::vector<Bad> table = {
      {"optimizer.lr=0",
       "override 1: optimizer.lr=0: 'optimizer.lr' expects a number in (0, 1000], found '0'"},
      {"optimizer.lrr=1",
       "override 1: optimizer.lrr=1: unknown key 'lrr' under 'optimizer'; did you mean 'lr'?"},
      {"optimizer.lr==1",
       "override 1: optimizer.lr==1: 'optimizer.lr' expects a number in (0, 1000], found '=1'"},
      {"optimizer.lr=", "override 1: optimizer.lr=: the value is empty; write null for the default"},
      {"optimizer.lr", "override 1: optimizer.lr: expected dotted.key=value"},
      {"", "override 1: : expected dotted.key=value"},
      {"=1", "override 1: =1: '' is not a key; expected names joined by dots"},
      {"optimizer..lr=1",
       "override 1: optimizer..lr=1: 'optimizer..lr' is not a key; expected names joined by dots"},
      {"--lr=1", "override 1: --lr=1: '--lr' is not a key; expected names joined by dots"},
      {"optimizer.lr.x=1",
       "override 1: optimizer.lr.x=1: 'optimizer.lr' expects a number in (0, 1000], found a map"},
      {"data.batch=[1", "override 1: data.batch=[1: not YAML: end of sequence flow not found"},
  };
  for (const Bad& bad : table) {
    INFO(bad.text);
    CHECK(error_of("a.yaml", {bad.text}) == bad.message);
  }
  CHECK(error_of("a.yaml", {"train.seed=2", "optimizer.lr=x"}) ==
        "override 2: optimizer.lr=x: 'optimizer.lr' expects a number in (0, 1000], found 'x'");
}

TEST_CASE("files, includes and overrides merge in order") {
  const TempFolder folder;
  folder.write("m.yaml", model);
  folder.write("base/base.yaml",
               "data: {set: mnist, path: digits, batch: 32}\noptimizer: {lr: 0.5, momentum: 0.8}\n"
               "train: {steps: 7, seed: 3}\nprecision: {policy: ui8, options: {period: 4}}\n");
  folder.write("base/digits", "");
  folder.write("a.yaml",
               "include: base/base.yaml\nmodel: {file: m.yaml, with: {a: 1}}\noptimizer: {lr: 0.25}\n"
               "train: {epochs: 2}\n");
  const Catalog catalog = catalog_with_options();
  Config config = Config::load("a.yaml", {"train.seed=9", "data.batch=64"}, catalog);
  CHECK(config.optimizer().lr == 0.25);
  CHECK(config.optimizer().momentum == 0.8);
  CHECK(config.data().batch == 64);
  CHECK(config.data().path == folder.path() + "/base/digits");
  CHECK(config.train().seed == 9);
  CHECK(config.train().epochs == 2);
  CHECK(config.train().steps == 0);
  CHECK(config.precision().policy == "unified_int8");
  CHECK(config.precision().options.at("period").number == 4);
  CHECK(config.precision().options.at("search").text == "grid");
  CHECK(config.name() == "a");

  config.set("precision", "fp32").set("train.steps", "5");
  CHECK(config.precision().policy == "fp32");
  CHECK(config.precision().options.empty());
  CHECK(config.train().epochs == 0);
  CHECK(config.train().total_steps(100) == 5);
  CHECK_THROWS_AS(config.set("train.steps", "-1"), Error);
  CHECK(config.train().steps == 5);

  folder.write("loop.yaml", "include: loop.yaml\n");
  CHECK(error_of("loop.yaml") ==
        "loop.yaml:1:10: 'loop.yaml' includes itself, directly or through other files");
  folder.write("gone.yaml", "include: gone/x.yaml\n");
  CHECK(error_of("gone.yaml") ==
        "gone.yaml:1:10: included file 'gone/x.yaml' not found; tried " + folder.path() + "/gone/x.yaml");
}

TEST_CASE("dump reads back to the same settings") {
  const TempFolder folder;
  folder.write("m.yaml", model);
  folder.write(
      "a.yaml",
      head +
          "optimizer: {lr: 3e-4, nesterov: true}\nschedule: {type: multistep, at: [10 epochs, 15.5 epochs]}\n"
          "precision: {policy: ui8, keep_fp32: ['@first_conv', \"a: b\"], products: {forward: fp32}, "
          "options: {alpha: 0.125}}\noutput: {dir: 'x #y'}\n");
  const Catalog catalog = catalog_with_options();
  const Config first =
      Config::load("a.yaml", {"model.with={list: [1, '2', x], t: '010'}", "data.augment=[flip]"}, catalog);
  const std::string text = first.dump();
  folder.write("sub/b.yaml", text);
  const Config second = Config::load("sub/b.yaml", {}, catalog);
  CHECK(second.dump() == text);
  CHECK(second.optimizer().lr == 3e-4);
  CHECK(second.schedule().at == std::vector<Duration>{{10, true}, {15.5, true}});
  CHECK(second.precision().keep_fp32 == std::vector<std::string>{"@first_conv", "a: b"});
  CHECK(second.precision().products.forward == "fp32");
  CHECK(second.precision().options.at("alpha").number == 0.125);
  CHECK(second.output().dir == "x #y");
  CHECK(second.model().with == std::vector<NamedValue>{{"list", "[1, \"2\", x]"}, {"t", "\"010\""}});
  CHECK(second.model().file == folder.path() + "/m.yaml");
}

TEST_CASE("a list emptied on purpose stays empty through dump and load") {
  const TempFolder folder;
  folder.write("m.yaml", model);
  folder.write("a.yaml", head + "precision: {keep_fp32: []}\n");
  folder.write("b.yaml", Config::load("a.yaml").dump());
  CHECK(Config::load("b.yaml").precision().keep_fp32.empty());
  folder.write("c.yaml", head);
  CHECK(Config::load("c.yaml").precision().keep_fp32 == std::vector<std::string>{"@policy"});
}

TEST_CASE("numbers do not depend on the locale") {
  CHECK(parse_number("0.5") == 0.5);
  const char* former = std::setlocale(LC_ALL, nullptr);
  const std::string saved = former;
  for (const char* name : {"de_DE.UTF-8", "de_DE.utf8", "C.UTF-8"})
    if (std::setlocale(LC_ALL, name) != nullptr) break;
  CHECK(parse_number("0.5") == 0.5);
  CHECK_FALSE(parse_number("0,5"));
  CHECK(format_number(0.1) == "0.1");
  std::setlocale(LC_ALL, saved.c_str());
}

TEST_CASE("every key has help, and every spelling with one letter less is refused") {
  const TempFolder folder;
  folder.write("m.yaml", model);
  folder.write("a.yaml", head);
  const std::string keys = describe_keys({});
  for (const KeySpec& spec : config_keys({})) {
    INFO(spec.path);
    CHECK_FALSE(spec.help.empty());
    CHECK_THAT(keys, ContainsSubstring(spec.path + ": "));
    const std::string wrong = spec.path.substr(0, spec.path.size() - 1);
    if (wrong.back() != '.') CHECK_THAT(error_of("a.yaml", {wrong + "=1"}), ContainsSubstring("unknown key"));
  }
}

TEST_CASE("durations count steps") {
  CHECK(Duration{2.5, true}.steps(100) == 250);
  CHECK(Duration{7, false}.steps(100) == 7);
  CHECK(Duration{1, true}.str() == "1 epoch");
  CHECK(Duration{500, false}.str() == "500 steps");
}

TEST_CASE("the configurations of the project load") {
  for (const char* name :
       {"shapes_resnet8", "mnist_lenet", "cifar10_resnet20", "cifar10_mobilenetv2", "cifar10_inception_v3"}) {
    INFO(name);
    const Config config = Config::load(std::string(OCTAVO_SOURCE_DIR "/configs/") + name + ".yaml");
    CHECK(config.precision().policy == "unified_int8");
  }
  CHECK(Config::load(OCTAVO_SOURCE_DIR "/configs/cifar10_mobilenetv2.yaml").optimizer().lr == 0.05);
}

TEST_CASE("attribute readers check names, types and ranges") {
  const AttrReader reader =
      AttrReader::from_text("{out: 8, kernel: [3, 5], paddin: 1, mode: a}", "conv2d", "x.conv");
  CHECK(reader.integer("out") == 8);
  CHECK(reader.pair("kernel", {}, 1) == std::array<std::int64_t, 2>{3, 5});
  CHECK(reader.integer("stride", 1) == 1);
  CHECK(reader.pair("padding", 0) == std::array<std::int64_t, 2>{0, 0});
  CHECK_THROWS_WITH(
      reader.finish(),
      ContainsSubstring("attributes of x.conv:1:26: [conv2d 'x.conv'] unknown attribute 'paddin'; did you "
                        "mean 'padding'?") &&
          ContainsSubstring("unknown attribute 'mode'"));
  CHECK_THROWS_WITH(reader.integer("groups"), ContainsSubstring("attribute 'groups' is required"));
  CHECK_THROWS_WITH(reader.integer("out", 1, 1, 4),
                    "attributes of x.conv:1:7: [conv2d 'x.conv'] attribute 'out' expects a whole number in "
                    "[1, 4], found '8'");
  constexpr std::array<std::string_view, 2> modes{"b", "c"};
  CHECK_THROWS_WITH(reader.choice("mode", modes), ContainsSubstring("expects one of b, c, found 'a'"));
}
