#include "train/engine.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "core/check.h"
#include "core/log.h"
#include "core/timed.h"
#include "exec/kernel_plan.h"
#include "graph/build.h"
#include "graph/recompute.h"
#include "train/run_folder.h"
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

// A plan file made for other sizes or layers is no error, but not silent either; empty when all is planned.
std::string unplanned(const Config& config, const KernelChoice& choice, const Graph& graph) {
  int all = 0, missing = 0;
  for (const Node& node : graph.nodes)
    for (std::size_t p = 0; p < node.products.size(); ++p) {
      const ProductPlan& product = node.products[p];
      if (!product.used || !product.integer || node.repeated) continue;
      ++all;
      if (choice(product.shape, static_cast<kernels::Product>(p), {}) == nullptr) ++missing;
    }
  if (missing == 0) return {};
  return concat(
      "plan ", config.settings().plan, ": ", missing, " of ", all,
      " integer products are not in it and take the first kernel of the list; octavo tune makes it again");
}

}  // namespace

Engine::Engine(const Config& config) : Engine(config, open_data_sets(config)) {}

Engine::Engine(const Config& config, const DataSets& data)
    : config_(config), runtime_(thread_count(config), static_cast<std::uint64_t>(config.train().seed)) {
  train_data_ = make_loader(config, data.train, Split::train);
  test_data_ = make_loader(config, data.test, Split::test);
  program_ = std::make_unique<Program>(
      build_graph(load_model(model_request(config, train_info()))), sample_types(), runtime_,
      [](const std::string& line) { logger(LogArea::dispatch).debug("{}", line); });
  program_->bf16_edges = config.precision().edges == "bf16";
  placed(config, [&] { require_blocks(program_->graph(), config.train().recompute); });
  program_->recomputed = config.train().recompute;
  runtime_.micro_steps = config.gradient().accumulate;
  steps_per_epoch_ = std::max<std::int64_t>(1, train_data_->batches_per_epoch() / runtime_.micro_steps);
  controller_ = placed(config, [&] {
    return std::make_unique<Controller>(config.precision(), program_->layers, program_->slots,
                                        steps_per_epoch_);
  });
  total_steps_ = config.train().total_steps(steps_per_epoch_);
  schedule_ = make_schedule(config, steps_per_epoch_, total_steps_);
  optimizer_ = make_program_optimizer(config, *program_);
  if (!config.settings().plan.empty()) use_kernel_plan(config.settings().plan);
  runner_ = placed(config, [&] { return make_step_runner({config_, *program_, *optimizer_}); });
  task_ = make_task(*program_, train_info());
  program_->kept_outputs = task_->outputs();
  const Plan& plan = training_plan();
  if (!config.settings().plan.empty())
    if (std::string note = unplanned(config, program_->kernel_choice, plan.graph); !note.empty())
      notes_.push_back(std::move(note));
  if (config.precision().strict)
    placed(config, [&] { require_asked_precision(plan, *program_, config.precision()); });
}

void Engine::use_kernel_plan(const std::string& path) {
  const auto note = [this](const std::string& line) { notes_.push_back(line); };
  const KernelPlan plan = read_kernel_plan(path);
  const int threads = runtime_.pool.threads();
  const std::string cpu = describe_environment(kernels::isa_name(kernels::active_isa()), threads).at("cpu");
  if (const std::string line = plan.mismatch(cpu, threads); !line.empty()) note(line);
  program_->kernel_choice = plan.choice(note);
}

BatchTypes Engine::sample_types() const { return batch_types(train_info(), config_.data().batch); }

Plan& Engine::training_plan() { return program_->plan(sample_types(), Phase::train); }

Plan& Engine::evaluation_plan() {
  const std::int64_t batch = std::min(config_.data().batch, test_data_->data().info().samples);
  return program_->plan(batch_types(test_data_->data().info(), batch), Phase::eval);
}

const Batch& Engine::next_batch() {
  const Timed timed(runtime_.outside.loader);
  return train_data_->next();
}

StepReport Engine::step(const Controller::EventSink& precision_events) {
  const Clock::time_point start = Clock::now();
  StepReport report;
  report.epoch = train_data_->cursor().epoch;
  report.learning_rate = learning_rate(schedule_, runtime_.step);
  {
    const Timed timed(runtime_.precision_seconds), outside(runtime_.outside.controller);
    controller_->begin_step(runtime_.step);
  }
  bool decided = false;
  const auto decide = [&] {
    const Timed timed(runtime_.precision_seconds), outside(runtime_.outside.controller);
    if (controller_->end_step(runtime_.step, precision_events)) program_->reset_plans();
    decided = true;
  };
  const StepResult result =
      runner_->train({.next_batch = [this]() -> const Batch& { return next_batch(); },
                      .peek_batch = [this] { return train_data_->peek(); },
                      .learning_rate = report.learning_rate,
                      .clip_norm = config_.gradient().clip_norm,
                      .rate_factor = [this](int layer) { return controller_->learning_rate_factor(layer); },
                      .decide = decide});
  if (!decided) decide();
  report.loss = result.loss;
  report.gradient_norm = result.gradient_norm;
  report.step = ++runtime_.step;
  report.samples = config_.data().batch * runtime_.micro_steps;
  report.seconds = seconds_since(start);
  return report;
}

EvalReport Engine::evaluate() {
  const Clock::time_point start = Clock::now();
  const MacCount macs = runtime_.macs;  // the shares count training
  const double precision_seconds = runtime_.precision_seconds;
  const OutsideSeconds outside = runtime_.outside;
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
    loss += runner_->evaluate(plan, batch) * static_cast<double>(batch.size());
    report.samples += batch.size();
    task_->add(*program_, plan, batch);
  }
  runtime_.macs = macs;
  runtime_.precision_seconds = precision_seconds;
  runtime_.outside = outside;
  report.loss = loss / static_cast<double>(report.samples);
  report.metric = task_->metric();
  report.seconds = seconds_since(start);
  return report;
}

}  // namespace octavo
