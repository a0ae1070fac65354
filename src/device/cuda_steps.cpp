#include "device/cuda_steps.h"

#include <cmath>

#include "core/check.h"
#include "core/timed.h"
#include "cuda/check.h"
#include "cuda/slots.h"
#include "device/products.h"
#include "device/statistics.h"
#include "device/step_settings.h"

namespace octavo::device {
namespace {

/// What one run of a plan's nodes does beside them.
struct Segment {
  bool training = true;
  bool weights = true;  // quantizes the parameters first
  bool update = true;   // ends with the update
};

class CudaSteps final : public StepRunner, private ValueMemory {
 public:
  explicit CudaSteps(const StepRunnerParts& parts)
      : program_(parts.program),
        runtime_(parts.program.runtime()),
        properties_(find_device()),
        choice_{.processors = properties_.multiProcessorCount, .library_f32 = asked_math(parts.config)},
        parameters_(memory_, parts.config, parts.program, parts.optimizer),
        scratch_(memory_) {
    require(parts.config.settings().plan.empty(), Errc::config,
            "plan: a kernel plan is for the CPU; leave it out with train.device=cuda");
    require(parts.config.precision().weight_range == "current", Errc::config,
            "precision.weight_range: held is for the CPU; leave it out with train.device=cuda");
    check(cudaStreamCreate(&stream_), "a stream");
    program_.kernel_choice = kernel_choice();
    program_.value_memory = this;
  }
  CudaSteps(const CudaSteps&) = delete;
  CudaSteps& operator=(const CudaSteps&) = delete;
  ~CudaSteps() override {
    program_.reset_plans();
    program_.value_memory = nullptr;
    static_cast<void>(cudaStreamDestroy(stream_));
  }

  std::string device() const override { return "cuda"; }
  std::string device_name() const override { return properties_.name; }
  std::int64_t device_peak_bytes() const override { return memory_.peak_bytes(); }
  void fetch() override { parameters_.fetch(); }
  void store() override {
    parameters_.store();
    ++weights_version_;
    maxima_known_ = false;
  }

  StepResult train(const StepOrder& order) override {
    StepResult result;
    for (runtime_.micro_step = 0; runtime_.micro_step < runtime_.micro_steps; ++runtime_.micro_step) {
      const bool last = runtime_.micro_step + 1 == runtime_.micro_steps;
      result.loss += micro_step(order, last, result) / static_cast<double>(runtime_.micro_steps);
    }
    runtime_.micro_step = 0;
    ++weights_version_;
    maxima_known_ = true;
    return result;
  }

  double evaluate(Plan& plan, const Batch& batch) override {
    PlanMemory& of = memory_of(plan);
    write_settings(program_, of, Phase::eval, nullptr, maxima_known_);
    const Segment segment{false, of.weights_version != weights_version_, false};
    run(plan, of, batch, segment, nullptr, {});
    require_labels(plan.graph, of, batch);
    for (const bool gradients : {false, true}) require_finite(program_, of, gradients);
    return loss_of(of);
  }

 private:
  static cudaDeviceProp find_device() {
    int device = 0;
    cudaDeviceProp properties{};
    check(cudaGetDevice(&device), "train.device: cuda");
    check(cudaGetDeviceProperties(&properties, device), "train.device: cuda");
    return properties;
  }

  static std::optional<kernels::cuda::LibraryMath> asked_math(const Config& config) {
    const std::string& asked = config.train().device_float;
    if (asked == "own") return std::nullopt;
    require(kernels::cuda::has_cublaslt() || kernels::cuda::has_cudnn(), Errc::config,
            "train.device_float: this build has neither cuBLASLt nor cuDNN; use own");
    return kernels::cuda::float_math(asked);
  }

  void place(Plan& plan) override {
    require_ops(plan.graph);
    if (arena_.bytes() < plan.arena_bytes) {
      arena_ = Block();
      arena_ = Block(memory_, "activations and gradients", plan.arena_bytes);
    }
    plan.device = std::make_unique<PlanMemory>(memory_, program_, plan, parameters_, choice_);
  }
  void* arena() const override { return arena_.data(); }

  void read(void* to, const void* from, std::int64_t bytes) const override {
    check(cudaMemcpy(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToHost),
          "a value of the device");
  }

  static PlanMemory& memory_of(Plan& plan) { return static_cast<PlanMemory&>(*plan.device); }

  double micro_step(const StepOrder& order, bool last, StepResult& result) {
    const Batch& batch = order.next_batch();
    Plan& plan = program_.plan(batch_types(batch), Phase::train);
    PlanMemory& of = memory_of(plan);
    write_settings(program_, of, Phase::train, &order, maxima_known_);
    const std::unique_ptr<Statistics> statistics = Statistics::make(memory_, program_, of);
    const Segment segment{true, of.weights_version != weights_version_, last};
    if (last) begin_update(of);
    run(plan, of, batch, segment, statistics.get(), order.peek_batch);
    require_labels(plan.graph, of, batch);
    require_finite(program_, of, false);
    const double loss = loss_of(of);
    if (!std::isfinite(loss)) refuse_loss(runtime_.step, loss, first_bad_node(plan, of));
    require_finite(program_, of, true);
    if (last) result.gradient_norm = of.report.host(of.step_result)->gradient_norm;
    if (last && !std::isfinite(result.gradient_norm)) {
      parameters_.fetch_gradients();
      refuse_gradients(runtime_.step, result.gradient_norm, program_.parameters);
    }
    merge_report(program_, of, segment.weights);
    if (statistics) statistics->finish(program_);
    for (std::size_t p = 0; p < 3; ++p) {
      runtime_.macs.integer[p] += of.macs.integer[p];
      runtime_.macs.all[p] += of.macs.all[p];
    }
    return loss;
  }

  /// Until the step is known to have been taken, nothing is known of the new weights.
  void begin_update(const PlanMemory& of) {
    note_row_factors(program_, of);
    maxima_known_ = false;
  }

  /// One launch of a graph where these passes ran before; kernel by kernel the first time and where the host
  /// takes part.
  void run(Plan& plan, PlanMemory& of, const Batch& batch, const Segment& segment, Statistics* statistics,
           const std::function<const Batch*()>& peek) {
    Run now{program_, plan, of, parameters_, scratch_, statistics, stream_};
    const std::string passes = concat(describe_passes(program_, of), segment.training, segment.weights,
                                      segment.update, runtime_.micro_step > 0, arena_.data());
    of.feed.put(batch, copies_, stream_);
    if (statistics != nullptr)
      enqueue(now, segment);
    else
      of.steps.run(passes, stream_, [&] { enqueue(now, segment); });
    if (segment.weights) of.weights_version = weights_version_;
    prefetch(of, peek);
    check(cudaStreamSynchronize(stream_), "a step on the device");
  }

  void prefetch(PlanMemory& of, const std::function<const Batch*()>& peek) {
    const Batch* next = nullptr;
    if (peek) {
      const Timed timed(runtime_.outside.loader);
      next = peek();
    }
    if (next != nullptr) of.feed.prefetch(*next, copies_);
  }

  void enqueue(Run& now, const Segment& segment) {
    PlanMemory& of = now.memory;
    const Graph& graph = now.plan.graph;
    of.settings.to_device(stream_);
    of.report.clear(stream_);
    of.clear_maxima(stream_);
    check(cudaMemsetAsync(of.bad_samples, 0xFF, of.losses.size() * sizeof(unsigned), stream_), "clearing");
    if (of.draw_count > 0)
      kernels::cuda::set_draws(of.counter, of.draw_streams, of.draw_count, of.all_draws, stream_);
    if (segment.weights) of.all_weights.quantize(now);
    for (std::size_t i = 0; i < graph.first_backward; ++i) run_node(now, i);
    for (const LossMemory& loss : of.losses) copy_float(loss.result, now.address(loss.value));
    if (segment.training) {
      for (const LossMemory& loss : of.losses)
        if (loss.seed_value != no_value) copy_float(now.address(loss.seed_value), loss.seed);
      for (std::size_t i = graph.first_backward; i < graph.nodes.size(); ++i) run_node(now, i);
    }
    if (segment.update) update(of);
    of.report.to_host(stream_);
  }

  void update(PlanMemory& of) {
    parameters_.launch_squeeze(scratch_, stream_);
    parameters_.launch_norm(of.step, stream_);
    kernels::cuda::guard_step({.counts = of.counts,
                               .slots = static_cast<int>(of.slots.size()),
                               .bad_samples = of.bad_samples,
                               .results = of.losses.empty() ? nullptr : of.losses[0].result,
                               .losses = static_cast<int>(of.losses.size()),
                               .step = of.step},
                              stream_);
    parameters_.launch_update(of.updates, of.step, stream_);
    check(cudaMemcpyAsync(of.step_result, of.step, sizeof(*of.step), cudaMemcpyDeviceToDevice, stream_),
          "scalars of a step");
  }

  void copy_float(void* to, const void* from) const {
    check(cudaMemcpyAsync(to, from, sizeof(float), cudaMemcpyDeviceToDevice, stream_), "a loss");
  }

  // Runs the forward pass once more, node by node, as the CPU's first_bad_node() does.
  std::string first_bad_node(Plan& plan, PlanMemory& of) {
    Run now{program_, plan, of, parameters_, scratch_, nullptr, stream_};
    for (std::size_t i = 0; i < plan.graph.first_backward; ++i) {
      run_node(now, i);
      check(cudaStreamSynchronize(stream_), "a node on the device");
      if (!writes_finite(program_, plan, plan.graph.nodes[i])) return plan.graph.nodes[i].name;
    }
    return "the loss";
  }

  Program& program_;
  Runtime& runtime_;
  Memory memory_;
  cudaDeviceProp properties_;
  ProductChoice choice_;
  Parameters parameters_;
  Scratch scratch_;
  Block arena_;
  CopyStream copies_;
  cudaStream_t stream_ = nullptr;
  std::int64_t weights_version_ = 0;  // of the parameters
  bool maxima_known_ = false;         // of the parameters, from their last update
};

}  // namespace

std::unique_ptr<StepRunner> make_cuda_steps(const StepRunnerParts& parts) {
  return std::make_unique<CudaSteps>(parts);
}

}  // namespace octavo::device
