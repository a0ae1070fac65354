// The one table of configuration keys.
#include <sstream>

#include "config/field.h"
#include "core/check.h"

namespace octavo {
namespace {

// Path of a key and access to its field; both from one name, so that they cannot differ.
#define FIELD(name) \
#name, [](auto& s) -> auto& { return s.name; }

constexpr double most_steps = 1e9;
constexpr Limits at_least_1{1, most_steps};
constexpr Limits unit_interval{0, 1};
constexpr Limits bits{2, 24};

class Table {
 public:
  explicit Table(std::vector<KeySpec>& keys) : keys_(keys) {}

  template <class Access>
  KeySpec& key(const char* path, Access access, const char* help) {
    KeySpec spec;
    spec.path = path;
    spec.help = help;
    Settings defaults;
    spec.type = type_name(access(defaults));
    spec.default_text = write_field(access(defaults));
    spec.read = [access](const YamlNode& node, const KeySpec& self, Settings& s) {
      read_field(node, self, access(s));
    };
    spec.write = [access, is_list = spec.type.starts_with("list"),
                  filled = !spec.default_text.empty()](const Settings& s) {
      const std::string text = write_field(access(s));
      return text.empty() && is_list && filled ? "[]" : text;  // left out, it would come back as the default
    };
    keys_.push_back(std::move(spec));
    return keys_.back();
  }

  template <class Access>
  KeySpec& number(const char* path, Access access, const Limits& limits, const char* help) {
    KeySpec& spec = key(path, access, help);
    spec.limits = limits;
    return spec;
  }

  template <class Access>
  KeySpec& choice(const char* path, Access access, std::vector<std::string> choices, const char* help) {
    KeySpec& spec = key(path, access, help);
    spec.choices = std::move(choices);
    return spec;
  }

 private:
  std::vector<KeySpec>& keys_;
};

void add_model_and_data(Table& t, const Catalog& catalog) {
  t.key(FIELD(model.use), "model by name, looked up in models/ of the config, working and installed folder");
  t.key(FIELD(model.file), "model by file, instead of model.use");
  t.key(FIELD(model.with), "values for the parameters of the model");
  t.choice(FIELD(data.set), catalog.data_sets, "data set");
  t.key(FIELD(data.path), "folder or file of the data set");
  t.number(FIELD(data.batch), {1, 1 << 20}, "samples in a batch");
  t.choice(FIELD(data.augment), catalog.augmentations, "random changes of training samples, in this order");
  t.number(FIELD(data.threads), {0, 256}, "loader threads; 0: chosen by the loader");
  t.number(FIELD(data.normalize.mean), {-1e6, 1e6}, "mean of each channel, pixels in [0, 1]");
  t.number(FIELD(data.normalize.std), {0, 1e6, true}, "standard deviation of each channel, pixels in [0, 1]");
  t.number(FIELD(data.fraction), {0, 1, true}, "leading share of the training set that is used");
  t.number(FIELD(data.classes), {0, 1 << 20},
           "classes of a procedural set or, to be checked, of an image folder; 0: its own number");
  t.number(FIELD(data.size), {0, 1 << 14},
           "image side of a procedural set or an image folder in pixels; 0: its own");
  t.number(FIELD(data.samples), {0, most_steps}, "training samples of a procedural set; 0: its own number");
  t.number(FIELD(data.holdout), {0, 1, false, true},
           "image folder without train and val: share of the images that is evaluated");
  t.number(FIELD(data.center_crop), unit_interval,
           "image folder: central share of the short side that is evaluated; 0: 0.875");
}

void add_optimization(Table& t, const Catalog& catalog) {
  t.choice(FIELD(optimizer.type), catalog.optimizers, "optimizer");
  t.number(FIELD(optimizer.lr), {0, 1000, true}, "learning rate before the schedule");
  t.number(FIELD(optimizer.momentum), {0, 1, false, true}, "momentum");
  t.key(FIELD(optimizer.nesterov), "Nesterov's form of momentum");
  t.number(FIELD(optimizer.weight_decay), unit_interval, "L2 decay added to the gradient");
  t.key(FIELD(optimizer.decay_norm_and_bias), "decay norm parameters and biases too");
  t.number(FIELD(gradient.clip_norm), {0, 1e9}, "largest L2 norm of all gradients together; 0: off");
  t.number(FIELD(gradient.accumulate), {1, 1 << 20}, "batches summed into one step");
  t.choice(FIELD(schedule.type), {"constant", "step", "multistep", "cosine"}, "course of the learning rate");
  t.number(FIELD(schedule.warmup), {0, most_steps}, "linear rise from 0, a duration");
  t.number(FIELD(schedule.at), {0, most_steps, true}, "multistep: durations after which the rate falls");
  t.number(FIELD(schedule.every), {0, most_steps, true}, "step: duration between two falls");
  t.number(FIELD(schedule.gamma), {0, 1, true}, "factor of one fall");
  t.number(FIELD(schedule.final), unit_interval, "cosine: last rate as a share of optimizer.lr");
}

void add_run(Table& t) {
  t.number(FIELD(train.epochs), at_least_1, "length in passes over the training set");
  t.number(FIELD(train.steps), at_least_1, "length in steps, instead of train.epochs");
  t.number(FIELD(train.seed), {0, 9007199254740991.0}, "seed of all random numbers");
  t.choice(FIELD(train.device), {"cpu", "cuda"}, "where steps run");
  t.choice(FIELD(train.device_float), {"own", "fp32", "tf32", "bf16"},
           "with cuda, products in float: own kernels, or in training NVIDIA's libraries in FP32, TF32 or "
           "bfloat16");
  t.number(FIELD(train.threads), {0, 1024}, "compute threads; 0: all cores");
  t.number(FIELD(train.eval_every), {0, most_steps, true}, "duration between two evaluations");
  t.number(FIELD(train.checkpoint_every), {0, most_steps, true}, "duration between two checkpoints");
  t.number(FIELD(train.keep_last), at_least_1, "checkpoints that are kept, beside the best");
  t.key(FIELD(train.recompute),
        "blocks that run again in the backward pass instead of keeping their values in memory: names, globs");
}

void add_precision(Table& t, const Catalog& catalog) {
  std::vector<std::string> policies;
  for (const PolicySpec& policy : catalog.policies) {
    policies.push_back(policy.name);
    policies.insert(policies.end(), policy.aliases.begin(), policy.aliases.end());
  }
  const std::vector<std::string> product{"int8", "int16", "fp32"};
  t.choice(FIELD(precision.policy), policies, "precision policy");
  t.key(FIELD(precision.keep_fp32),
        "layers that stay in FP32: names, globs, @first_conv, @<op>, @policy (the policy's own exemptions)");
  t.choice(FIELD(precision.products.forward), product, "arithmetic of the forward product");
  t.choice(FIELD(precision.products.grad_input), product, "arithmetic of the data gradient");
  t.choice(FIELD(precision.products.grad_weight), product, "arithmetic of the weight gradient");
  t.number(FIELD(precision.bits.weight), bits, "width of weights in bits");
  t.number(FIELD(precision.bits.activation), bits, "width of activations in bits");
  t.number(FIELD(precision.bits.gradient), bits, "width of gradients in bits");
  const std::vector<std::string> edges{"fp32", "bf16"};
  t.choice(FIELD(precision.edges), edges, "floats between integer products and pointwise layers, in memory");
  t.choice(
      FIELD(precision.weight_range), {"current", "held"},
      "range of weights where the policy sets none: their maximum, or that of the step before, so that the "
      "update quantizes them too");
  t.key(FIELD(precision.strict), "any fallback to FP32 is an error");
}

// The options of a policy are checked once the policy is known.
KeySpec options_key() {
  KeySpec spec;
  spec.path = "precision.options";
  spec.type = "map";
  spec.help = "settings of the policy, see its list";
  spec.read = [](const YamlNode& node, const KeySpec& self, Settings&) {
    if (!node.is_map()) fail_expected(node, self);
  };
  spec.write = [](const Settings& s) {
    std::vector<NamedValue> values;
    for (const auto& [name, value] : s.precision.options) values.push_back({name, value.text});
    return write_field(values);
  };
  return spec;
}

// A count below its smallest value, such as train.steps 0, stands for "not set".
void hide_unset(KeySpec& spec) {
  if (!spec.limits || spec.limits->min < 1) return;
  spec.write = [inner = spec.write](const Settings& s) {
    const std::string text = inner(s);
    return text == "0" ? "" : text;
  };
  if (spec.default_text == "0") spec.default_text.clear();
}

}  // namespace

std::vector<KeySpec> config_keys(const Catalog& catalog) {
  std::vector<KeySpec> keys;
  Table table(keys);
  add_model_and_data(table, catalog);
  add_optimization(table, catalog);
  add_run(table);
  add_precision(table, catalog);
  keys.push_back(options_key());
  table.key(FIELD(plan), "file of octavo tune that names the kernel of each integer product");
  table.key(FIELD(output.dir), "run folder, from the working folder; unset: runs/<config name>-<time>");
  for (KeySpec& spec : keys) hide_unset(spec);
  return keys;
}

bool KeySpec::accepts(double value) const {
  if (!limits) return true;
  const bool above = limits->open_min ? value > limits->min : value >= limits->min;
  return above && (limits->open_max ? value < limits->max : value <= limits->max);
}

std::string KeySpec::allowed() const {
  std::string text;
  for (const std::string& choice : choices) text += (text.empty() ? "" : ", ") + choice;
  if (!choices.empty()) return (type == "text" ? "one of " : "a list of ") + text;
  text = type == "true or false" ? type : "a " + type;
  if (type.ends_with("duration")) text += " such as '500 steps' or '1 epoch'";
  if (limits)
    text += concat(" in ", limits->open_min ? "(" : "[", format_number(limits->min), ", ",
                   format_number(limits->max), limits->open_max ? ")" : "]");
  return text;
}

std::string describe_keys(const Catalog& catalog) {
  std::ostringstream out;
  for (const KeySpec& spec : config_keys(catalog)) {
    out << spec.path << ": " << spec.help << "\n    " << spec.allowed();
    if (!spec.default_text.empty()) out << "; default " << spec.default_text;
    out << "\n";
  }
  return out.str();
}

}  // namespace octavo
