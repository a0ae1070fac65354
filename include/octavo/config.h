// One experiment as typed settings, read from strict YAML, and the reader of a model node's attributes.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/error.h"

namespace octavo {

/// A length of training: "500 steps", "1 epoch", "2.5 epochs". A text without a unit is an error.
struct OCTAVO_API Duration {
  double count = 0;
  bool in_epochs = false;
  std::int64_t steps(std::int64_t steps_per_epoch) const;  ///< rounded to whole steps
  std::string str() const;
  bool operator==(const Duration&) const = default;
};

/// A named setting whose value is YAML text.
struct NamedValue {
  std::string name;
  std::string value;
  bool operator==(const NamedValue&) const = default;
};

struct ModelSettings {
  std::string use;               ///< model name as written; empty when `file` was given
  std::string file;              ///< absolute path of the model file that was found
  std::vector<NamedValue> with;  ///< values for the model's parameters
};

struct NormalizeSettings {
  std::vector<double> mean, std;  ///< per channel, of pixels in [0, 1]; empty: the data set's own
};

struct DataSettings {
  std::string set;
  std::string path;  ///< absolute; the first place that exists, else the first place tried
  std::int64_t batch = 128;
  std::vector<std::string> augment;
  std::int64_t threads = 0;  ///< loader threads; 0: chosen by the loader
  NormalizeSettings normalize;
  double fraction = 1;       ///< leading share of the training set that is used
  std::int64_t classes = 0;  ///< of procedural sets and image folders; 0: the set's own
  std::int64_t size = 0;     ///< image side of procedural sets and image folders; 0: the set's own
  std::int64_t samples = 0;  ///< training samples of procedural sets; 0: the set's own
  double holdout = 0;        ///< image folders: share of the images that is evaluated; 0: there is a folder
  double center_crop = 0;    ///< image folders: share of the short side that is evaluated; 0: the set's own
};

struct OptimizerSettings {
  std::string type = "sgd";
  double lr = 0.1;
  double momentum = 0.9;
  bool nesterov = false;
  double weight_decay = 0;
  bool decay_norm_and_bias = true;  ///< as in PyTorch; false: weight decay leaves them out
};

struct GradientSettings {
  double clip_norm = 0;  ///< largest global L2 norm; 0: off
  std::int64_t accumulate = 1;
};

struct ScheduleSettings {
  std::string type = "constant";
  Duration warmup;           ///< linear from 0
  std::vector<Duration> at;  ///< multistep: ascending
  Duration every;            ///< step
  double gamma = 0.1;        ///< factor of step and multistep
  double final = 0;          ///< cosine: the last rate as a share of `optimizer.lr`
};

struct TrainSettings {
  std::int64_t epochs = 0;  ///< exactly one of epochs and steps is above 0
  std::int64_t steps = 0;
  std::int64_t seed = 1;
  std::string device = "cpu";  ///< cpu | cuda
  /// With cuda, products in float: own kernels, or in training NVIDIA's libraries in own | fp32 | tf32 |
  /// bf16.
  std::string device_float = "own";
  std::int64_t threads = 0;  ///< 0: all cores
  Duration eval_every{1, true};
  Duration checkpoint_every{1, true};
  std::int64_t keep_last = 3;
  /// Blocks of the model, names or globs, that run again in the backward pass instead of keeping their
  /// values.
  std::vector<std::string> recompute;
  std::int64_t total_steps(std::int64_t steps_per_epoch) const {
    return steps > 0 ? steps : epochs * steps_per_epoch;
  }
};

struct ProductSettings {
  std::string forward = "int8", grad_input = "int8", grad_weight = "int8";  ///< int8 | int16 | fp32
};

struct BitSettings {
  std::int64_t weight = 8, activation = 8, gradient = 8;
};

/// Value of one policy option; a flag is 0 or 1.
struct OptionValue {
  std::string text;
  double number = 0;
};

struct PrecisionSettings {
  std::string policy = "fp32";
  /// Layer names or globs, "@first_conv", "@<op>" for all layers of an op, "@policy" for the policy's own
  /// exemptions.
  std::vector<std::string> keep_fp32{"@policy"};
  ProductSettings products;
  BitSettings bits;
  /// "fp32" or "bf16": how floats between integer products and pointwise layers lie in memory.
  std::string edges = "fp32";
  /// "current" or "held": the range of a weight, where the policy leaves it open, is its maximum, or that of
  /// the step before (docs/numerics.md).
  std::string weight_range = "current";
  bool strict = false;
  std::map<std::string, OptionValue> options;  ///< every option of the policy, defaults filled in
};

struct OutputSettings {
  std::string dir;  ///< empty: runs/<config name>-<time>
};

struct Settings {
  ModelSettings model;
  DataSettings data;
  OptimizerSettings optimizer;
  GradientSettings gradient;
  ScheduleSettings schedule;
  TrainSettings train;
  PrecisionSettings precision;
  OutputSettings output;
  std::string plan;  ///< absolute path of a file that `octavo tune` wrote; empty: none
};

/// One option of a precision policy, checked like any key of the configuration.
struct OptionSpec {
  enum class Type { flag, integer, number, choice };
  std::string name;
  Type type = Type::number;
  double min = std::numeric_limits<double>::lowest();
  double max = std::numeric_limits<double>::max();
  std::string default_value;
  std::string help;
  std::vector<std::string> choices;
};

struct PolicySpec {
  std::string name;
  std::vector<std::string> aliases;
  std::vector<OptionSpec> options;
};

/// What a configuration may name. Parts registered at run time are appended by their caller.
struct OCTAVO_API Catalog {
  std::vector<std::string> data_sets{"shapes", "mnist", "cifar10", "cifar100", "image_folder"};
  std::vector<std::string> augmentations{"pad_crop", "flip", "random_resized_crop"};
  std::vector<std::string> optimizers{"sgd"};
  std::vector<PolicySpec> policies{{"fp32", {}, {}}, {"int8_minmax", {}, {}}, {"unified_int8", {"ui8"}, {}}};
  std::string share_folder;  ///< last place where models are looked up; may be empty
};

/// A checked configuration. Errors are Errc::config and list every problem, one per line:
/// "a.yaml:4:3: unknown key 'learning_rat' under 'optimizer'; did you mean 'lr'?".
class OCTAVO_API Config {
 public:
  /// Reads a file, its includes, then applies overrides "dotted.key=value" in order.
  static Config load(const std::string& path, const std::vector<std::string>& overrides = {},
                     const Catalog& catalog = {});

  /// Same as a further override; on an error the configuration keeps its state.
  Config& set(std::string_view key, std::string_view value);

  /// The resolved configuration as YAML that `load` reads back to the same settings.
  std::string dump() const;

  const Settings& settings() const;
  const ModelSettings& model() const { return settings().model; }
  const DataSettings& data() const { return settings().data; }
  const OptimizerSettings& optimizer() const { return settings().optimizer; }
  const GradientSettings& gradient() const { return settings().gradient; }
  const ScheduleSettings& schedule() const { return settings().schedule; }
  const TrainSettings& train() const { return settings().train; }
  const PrecisionSettings& precision() const { return settings().precision; }
  const OutputSettings& output() const { return settings().output; }

  std::string name() const;  ///< file name without folder and ending
  /// Absolute places where a relative path is looked up, first choice first.
  std::vector<std::string> places(const std::string& path) const;

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  explicit Config(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

/// Reads the attributes of one model node. Each getter notes the name, so that `finish` can report what
/// nobody asked for. Errors are Errc::config: "models/a.yaml:14:5: [conv2d 'stage2.conv1'] ...".
class OCTAVO_API AttrReader {
 public:
  static constexpr std::int64_t largest_size = std::int64_t{1} << 40;

  /// Attributes from YAML text such as "{out: 8, kernel: 3}", for programs and tests.
  static AttrReader from_text(const std::string& yaml, std::string op, std::string path);

  bool has(std::string_view name) const;     ///< present and not null; does not count as read
  bool is_map(std::string_view name) const;  ///< `init: {constant: 0}`

  /// Whole number in [min, max]; without a default the attribute is required.
  std::int64_t integer(std::string_view name, std::optional<std::int64_t> fallback = {}, std::int64_t min = 0,
                       std::int64_t max = largest_size) const;
  double number(std::string_view name, std::optional<double> fallback = {},
                double min = std::numeric_limits<double>::lowest(),
                double max = std::numeric_limits<double>::max()) const;
  bool flag(std::string_view name, std::optional<bool> fallback = {}) const;
  std::string text(std::string_view name, std::optional<std::string> fallback = {}) const;
  std::string choice(std::string_view name, std::span<const std::string_view> choices,
                     std::optional<std::string> fallback = {}) const;
  /// `3` or `[3, 5]` as (height, width).
  std::array<std::int64_t, 2> pair(std::string_view name, std::optional<std::int64_t> fallback = {},
                                   std::int64_t min = 0, std::int64_t max = largest_size) const;
  /// Lists; a missing list is empty, one value counts as a list of one.
  std::vector<std::int64_t> integers(std::string_view name, std::int64_t min = 0,
                                     std::int64_t max = largest_size) const;
  std::vector<double> numbers(std::string_view name) const;
  std::vector<std::string> texts(std::string_view name) const;
  AttrReader map(std::string_view name) const;  ///< reader of a map attribute; required

  void finish() const;  ///< Errc::config naming every attribute that no getter asked for
  [[noreturn]] void fail(std::string_view name, const std::string& message) const;
  std::string where() const;  ///< "models/a.yaml:14:5: [conv2d 'stage2.conv1']"

  struct Impl;
  explicit AttrReader(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace octavo
