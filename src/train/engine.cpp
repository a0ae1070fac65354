#include "train/engine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "config/model_language.h"
#include "core/check.h"
#include "core/log.h"
#include "graph/build.h"
#include "optim/gradient_norm.h"
#include "train/strict_precision.h"

namespace octavo {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

int thread_count(const Config& config) {
  const std::int64_t asked = config.train().threads;
  return asked > 0 ? static_cast<int>(asked)
                   : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::unique_ptr<Loader> open_loader(const Config& config, Split split) {
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
  LoaderOptions options;
  options.batch = data.batch;
  options.shuffle = options.drop_last = split == Split::train;
  options.workers = data.threads > 0 ? static_cast<int>(data.threads) : 1;
  options.seed = static_cast<std::uint64_t>(config.train().seed);
  if (split == Split::train) options.augment = data.augment;
  return std::make_unique<Loader>(open_dataset(request), options);
}

// What the data set fixes of a model: sizes of its inputs, number of classes.
ModelDescription describe_model(const Config& config, const DatasetInfo& data) {
  std::map<std::string, std::int64_t> symbols, facts;
  for (const Field& field : data.fields)
    if (field.name == "image" && field.type.shape.rank() == 3)
      symbols = {{"H", field.type.shape[0]}, {"W", field.type.shape[1]}, {"C", field.type.shape[2]}};
  if (data.classes > 0) facts["classes"] = data.classes;
  return load_model(config, symbols, facts);
}

Schedule make_schedule(const Config& config, std::int64_t per_epoch, std::int64_t total) {
  const ScheduleSettings& from = config.schedule();
  Schedule schedule;
  schedule.type = schedule_type(from.type);
  schedule.base = config.optimizer().lr;
  schedule.warmup_steps = from.warmup.steps(per_epoch);
  schedule.total_steps = total;
  schedule.minimum = from.final * schedule.base;
  schedule.step_size = from.every.steps(per_epoch);
  for (const Duration& at : from.at) schedule.milestones.push_back(at.steps(per_epoch));
  schedule.gamma = from.gamma;
  check_schedule(schedule);
  return schedule;
}

std::unique_ptr<Optimizer> make_program_optimizer(const Config& config, const Program& program) {
  const OptimizerSettings& from = config.optimizer();
  std::vector<OptimizerParameter> parameters;
  for (const ParameterData& data : program.parameters)
    parameters.push_back({data.name, data.value.shape(), from.decay_norm_and_bias || !data.is_norm_or_bias});
  return make_optimizer(
      from.type,
      {{"momentum", from.momentum}, {"nesterov", from.nesterov ? 1 : 0}, {"weight_decay", from.weight_decay}},
      std::move(parameters));
}

}  // namespace

BatchTypes batch_types(const Batch& batch) {
  BatchTypes types;
  for (std::size_t i = 0; i < batch.names.size(); ++i) types[batch.names[i]] = batch.values[i].type();
  return types;
}

BatchPointers batch_pointers(const Batch& batch) {
  BatchPointers pointers;
  for (std::size_t i = 0; i < batch.names.size(); ++i) pointers[batch.names[i]] = batch.values[i].data();
  return pointers;
}

Engine::Engine(const Config& config)
    : config_(config), runtime_(thread_count(config), static_cast<std::uint64_t>(config.train().seed)) {
  train_data_ = open_loader(config, Split::train);
  test_data_ = open_loader(config, Split::test);
  program_ =
      std::make_unique<Program>(build_graph(describe_model(config, train_info())), sample_types(), runtime_,
                                [](const std::string& line) { logger(LogArea::dispatch).debug("{}", line); });
  runtime_.micro_steps = config.gradient().accumulate;
  steps_per_epoch_ = std::max<std::int64_t>(1, train_data_->batches_per_epoch() / runtime_.micro_steps);
  controller_ =
      std::make_unique<Controller>(config.precision(), program_->layers, program_->slots, steps_per_epoch_);
  total_steps_ = config.train().total_steps(steps_per_epoch_);
  schedule_ = make_schedule(config, steps_per_epoch_, total_steps_);
  optimizer_ = make_program_optimizer(config, *program_);
  task_ = make_task(*program_, train_info());
  const Plan& plan = training_plan();
  if (config.precision().strict) require_asked_precision(plan, *program_, config.precision());
}

// Fields of a full batch; u8 images arrive as f32.
BatchTypes Engine::sample_types() const {
  BatchTypes types;
  for (const Field& field : train_info().fields) {
    std::vector<std::int64_t> sizes = field.type.shape.sizes();
    sizes.insert(sizes.begin(), config_.data().batch);
    const bool image = field.name == "image" && field.type.dtype == DType::u8;
    types[field.name] = {image ? DType::f32 : field.type.dtype, Shape(sizes)};
  }
  return types;
}

Plan& Engine::training_plan() { return program_->plan(sample_types(), Phase::train); }

// Runs the forward pass once more and names the first node that writes Inf or NaN; the loss itself at the
// latest.
std::string Engine::first_bad_node(Plan& plan, const BatchPointers& inputs) {
  std::string name;
  program_->after_node = [&](const Plan& of, const Node& node) {
    for (ValueId id : writes(node)) {
      const Value& value = of.graph.value(id);
      if (!name.empty() || value.kind == ValueKind::view || value.type.dtype != DType::f32) continue;
      const auto* values = static_cast<const float*>(program_->value(of, id));
      const bool finite =
          std::all_of(values, values + value.type.shape.elements(), [](float v) { return std::isfinite(v); });
      if (!finite) name = node.name;
    }
  };
  try {
    program_->forward(plan, inputs);
  } catch (...) {  // an integer edge met it first and says so itself
    program_->after_node = {};
    throw;
  }
  program_->after_node = {};
  return name;
}

double Engine::forward_backward() {
  const Batch& batch = train_data_->next();
  Plan& plan = program_->plan(batch_types(batch), Phase::train);
  program_->forward(plan, batch_pointers(batch));
  const double loss = program_->loss(plan);
  if (!std::isfinite(loss))
    fail(Errc::numeric, "step ", runtime_.step, ": the loss is ", loss, ", Inf or NaN comes first from '",
         first_bad_node(plan, batch_pointers(batch)),
         "'; weights are those before this step. Lower optimizer.lr or add gradient.clip_norm");
  program_->backward(plan, 1.0f / static_cast<float>(runtime_.micro_steps));
  return loss;
}

StepReport Engine::step(const Controller::EventSink& precision_events) {
  const Clock::time_point start = Clock::now();
  StepReport report;
  report.epoch = train_data_->cursor().epoch;
  report.learning_rate = learning_rate(schedule_, runtime_.step);
  controller_->begin_step(runtime_.step);
  for (runtime_.micro_step = 0; runtime_.micro_step < runtime_.micro_steps; ++runtime_.micro_step)
    report.loss += forward_backward() / static_cast<double>(runtime_.micro_steps);
  runtime_.micro_step = 0;

  std::vector<std::span<const float>> gradients;
  for (const ParameterData& data : program_->parameters)
    if (!data.frozen) gradients.push_back(data.gradient.as<float>());
  report.gradient_norm = global_gradient_norm(gradients, runtime_.parallel);
  update(report.learning_rate, report.gradient_norm);
  if (controller_->end_step(runtime_.step, precision_events)) program_->reset_plans();
  report.step = ++runtime_.step;
  report.samples = config_.data().batch * runtime_.micro_steps;
  report.seconds = seconds_since(start);
  return report;
}

void Engine::update(double rate, double norm) {
  if (!std::isfinite(norm))
    for (const ParameterData& data : program_->parameters)
      for (float g : data.frozen ? std::span<const float>{} : data.gradient.as<float>())
        require(std::isfinite(g), Errc::numeric, "step ", runtime_.step, ": the gradient of '", data.name,
                "' holds ", g,
                "; weights are those before this step. Lower optimizer.lr or add gradient.clip_norm");
  const double clip = config_.gradient().clip_norm;
  const double scale = clip > 0 ? clip_factor(norm, clip) : 1;
  std::vector<ParameterUpdate> updates;
  for (ParameterData& data : program_->parameters)
    updates.push_back({data.value.as<float>().data(),
                       data.frozen ? nullptr : data.gradient.as<float>().data(),
                       controller_->learning_rate_factor(data.layer)});
  optimizer_->step(updates, rate, scale, runtime_.parallel);
  program_->weights_changed();
}

EvalReport Engine::evaluate() {
  const Clock::time_point start = Clock::now();
  const MacCount macs = runtime_.macs;  // the share counts training
  EvalReport report;
  report.step = runtime_.step;
  report.metric_name = task_->metric_name();
  task_->reset();
  test_data_->seek({});
  double loss = 0;
  for (bool last = false; !last;) {
    const Batch& batch = test_data_->next();
    last = batch.last;
    Plan& plan = program_->plan(batch_types(batch), Phase::eval);
    program_->forward(plan, batch_pointers(batch));
    loss += program_->loss(plan) * static_cast<double>(batch.size());
    report.samples += batch.size();
    task_->add(*program_, plan, batch);
  }
  runtime_.macs = macs;
  report.loss = loss / static_cast<double>(report.samples);
  report.metric = task_->metric();
  report.seconds = seconds_since(start);
  return report;
}

}  // namespace octavo
