#include "train/engine_parts.h"

#include <algorithm>
#include <thread>

#include "core/check.h"
#include "exec/fits.h"

namespace octavo {

DataRequest data_request(const Config& config, Split split) {
  const DataSettings& data = config.data();
  DataRequest request;
  request.set = data.set;
  request.path = data.path;
  request.split = split;
  request.fraction = split == Split::train ? data.fraction : 1;
  request.seed = static_cast<std::uint64_t>(config.train().seed);
  if (data.classes > 0) request.options["classes"] = std::to_string(data.classes);
  if (data.size > 0) request.options["size"] = std::to_string(data.size);
  if (data.samples > 0) {  // the test split keeps its share: a fifth of the training samples
    request.options["train_samples"] = std::to_string(data.samples);
    request.options["test_samples"] = std::to_string(std::max<std::int64_t>(1, data.samples / 5));
  }
  if (data.holdout > 0) request.options["holdout"] = concat(data.holdout);
  if (data.center_crop > 0) request.options["center_crop"] = concat(data.center_crop);
  return request;
}

DataSets open_data_sets(const Config& config) {
  try {
    return placed(config, [&] {
      return DataSets{open_dataset(data_request(config, Split::train)),
                      open_dataset(data_request(config, Split::test))};
    });
  } catch (const Error& error) {
    const std::vector<std::string>& places = config.impl().missing_data_places;
    if (error.code() != Errc::data || places.size() < 2) throw;
    std::string text = error.what();
    text += "\ndata.path was looked up in the folder of the configuration and the working folder:";
    for (const std::string& place : places) text += "\n  " + place;
    throw Error(Errc::data, text);
  }
}

/// Decoding takes about as long as a small network's step: as many threads as cores then.
std::int64_t default_workers(const DatasetInfo& data) {
  return data.crops ? std::clamp<std::int64_t>(std::thread::hardware_concurrency(), 1, 16) : 1;
}

std::unique_ptr<Loader> make_loader(const Config& config, std::shared_ptr<const Dataset> data, Split split) {
  const DataSettings& from = config.data();
  LoaderOptions options;
  options.batch = from.batch;
  options.shuffle = options.drop_last = split == Split::train;
  options.workers = static_cast<int>(from.threads > 0 ? from.threads : default_workers(data->info()));
  options.seed = static_cast<std::uint64_t>(config.train().seed);
  options.mean.assign(from.normalize.mean.begin(), from.normalize.mean.end());
  options.std.assign(from.normalize.std.begin(), from.normalize.std.end());
  options.raw_images = config.train().device != "cpu";  // a quarter of the bytes on their way to the device
  if (split == Split::train) options.augment = from.augment;
  return placed(config, [&] { return std::make_unique<Loader>(std::move(data), options); });
}

ModelRequest model_request(const Config& config, const DatasetInfo& data) {
  std::map<std::string, std::int64_t> symbols, facts;
  for (const Field& field : data.fields)
    if (field.name == "image" && field.type.shape.rank() == 3)
      symbols = {{"H", field.type.shape[0]}, {"W", field.type.shape[1]}, {"C", field.type.shape[2]}};
  if (data.classes > 0) facts["classes"] = data.classes;
  return model_request(config, symbols, facts);
}

BatchTypes batch_types(const DatasetInfo& data, std::int64_t batch) {
  BatchTypes types;
  for (const Field& field : data.fields) {
    std::vector<std::int64_t> sizes = field.type.shape.sizes();
    sizes.insert(sizes.begin(), batch);
    const bool image = field.name == "image" && field.type.dtype == DType::u8;
    types[field.name] = {image ? DType::f32 : field.type.dtype, Shape(sizes)};
  }
  return types;
}

Schedule make_schedule(const Config& config, std::int64_t steps_per_epoch, std::int64_t total_steps) {
  const ScheduleSettings& from = config.schedule();
  Schedule schedule;
  schedule.type = schedule_type(from.type);
  schedule.base = config.optimizer().lr;
  schedule.warmup_steps = from.warmup.steps(steps_per_epoch);
  schedule.total_steps = total_steps;
  schedule.minimum = from.final * schedule.base;
  schedule.step_size = from.every.steps(steps_per_epoch);
  for (const Duration& at : from.at) schedule.milestones.push_back(at.steps(steps_per_epoch));
  schedule.gamma = from.gamma;
  placed(config, [&] { check_schedule(schedule); });
  return schedule;
}

std::unique_ptr<Optimizer> make_program_optimizer(const Config& config, const Program& program) {
  const OptimizerSettings& from = config.optimizer();
  require_sizes_fit(program.graph(), from.momentum > 0 ? 3 : 2);
  std::vector<OptimizerParameter> parameters;
  for (const ParameterData& data : program.parameters)
    parameters.push_back({.name = data.name,
                          .shape = data.value.shape(),
                          .decay = from.decay_norm_and_bias || !data.is_norm_or_bias,
                          .is_norm_or_bias = data.is_norm_or_bias});
  for (const Node& node : program.graph().nodes)
    for (int index : node.parameters)
      if (node.layer >= 0 && program.layers[static_cast<std::size_t>(node.layer)].kept_fp32)
        parameters[static_cast<std::size_t>(index)].in_float = true;
  std::map<std::string, double> settings{{"momentum", from.momentum}, {"weight_decay", from.weight_decay}};
  if (from.nesterov) settings["nesterov"] = 1;
  return placed(config, [&] {
    for (const OptimizerEntry& entry : optimizer_entries())
      require(from.type != entry.name || (from.lr >= entry.smallest_rate && from.lr <= entry.largest_rate),
              Errc::config, "optimizer.lr: ", from.lr, " has no place in '", from.type, "', which takes ",
              entry.smallest_rate, " to ", entry.largest_rate);
    return make_optimizer(from.type, settings, std::move(parameters));
  });
}

}  // namespace octavo
