// octavo bench: times whole training steps, by layer and pass, beside what the machine can do; octavo bench
// kernels: the integer kernels; octavo bench data: the loader.
#include <algorithm>
#include <iostream>

#include "bench_kernels.h"
#include "commands.h"
#include "core/memory.h"
#include "core/timed.h"
#include "step_table.h"
#include "train/summary.h"

namespace octavo::cli {
namespace {

using Json = nlohmann::ordered_json;

struct BenchArguments {
  ConfigArguments config;
  bool json = false, fp32 = false;
  int steps = 30, warmup = 5;
};

/// One training and the times of its steps.
struct Measured {
  Engine engine;
  StepTimes times;
  std::vector<double> round_ms;  // medians

  explicit Measured(const Config& config) : engine(config), times(engine) {}
  void warm_up(int steps) {
    for (int i = 0; i < steps; ++i) engine.step();
    engine.program().runtime().precision_seconds = 0;
  }
  void round(int steps) { round_ms.push_back(median(times.run(steps))); }
};

// What a change of a width costs: the training plan from the graph on.
double plan_milliseconds(Engine& engine) {
  std::vector<double> times;
  for (int i = 0; i < 5; ++i) {
    engine.program().reset_plans();
    double seconds = 0;
    {
      const Timed timed(seconds);
      engine.training_plan();
    }
    times.push_back(1000 * seconds);
  }
  return median(times);
}

Json memory_json(Engine& engine) {
  std::int64_t parameters = 0, gradients = 0, optimizer = 0;
  for (const ParameterData& data : engine.program().parameters) {
    parameters += data.value.bytes();
    if (!data.frozen) gradients += data.gradient.bytes();
  }
  for (const NamedTensor& state : engine.state().optimizer) optimizer += state.tensor.bytes();
  return {{"arena_bytes", engine.training_plan().arena_bytes},
          {"parameter_bytes", parameters},
          {"gradient_bytes", gradients},
          {"optimizer_bytes", optimizer}};
}

void add_speedup(Json& result, const Measured& ours, const Measured& fp32) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < ours.round_ms.size(); ++i)
    ratios.push_back(fp32.round_ms[i] / ours.round_ms[i]);
  std::sort(ratios.begin(), ratios.end());
  result["speedup"] = median(ratios);
  result["speedup_low"] = ratios[ratios.size() / 4];
  result["speedup_high"] = ratios[ratios.size() * 3 / 4];
}

Json describe(Measured& measured, const BenchArguments& arguments) {
  Engine& engine = measured.engine;
  const std::vector<double>& steps = measured.times.step_ms();
  const double precision_ms = 1000 * engine.program().runtime().precision_seconds / arguments.steps;
  const Int8MacShare macs = mac_share(engine.macs());
  return {{"config", arguments.config.path},
          {"policy", engine.config().precision().policy},
          {"isa", kernels::isa_name(kernels::active_isa())},
          {"threads", engine.program().runtime().pool.threads()},
          {"batch", engine.config().data().batch},
          {"step_ms_median", median(steps)},
          {"step_ms_mean", mean(steps)},
          {"step_ms_min", *std::min_element(steps.begin(), steps.end())},
          {"precision_ms", precision_ms},
          {"precision_share", precision_ms / mean(steps)},
          {"int8_mac_share",
           {{"forward", macs.forward}, {"grad_input", macs.grad_input}, {"grad_weight", macs.grad_weight}}},
          {"step", step_json(measured.times)}};
}

Json measure(const BenchArguments& arguments) {
  const Config loaded = arguments.config.load();
  if (const std::string& device = loaded.train().device; device != "cpu")
    throw Error(Errc::config,
                "octavo bench takes steps of the CPU apart; what a step takes on a device stands in the "
                "summary.json of octavo train --device " +
                    device + " --steps N");
  Measured ours(loaded);
  std::unique_ptr<Measured> fp32;
  ThreadPool& pool = ours.engine.program().runtime().pool;
  Peaks peaks;
  ours.warm_up(arguments.warmup);
  const std::int64_t peak = peak_resident_bytes();  // before anything else takes memory
  if (arguments.fp32) {
    ConfigArguments config = arguments.config;
    config.overrides.emplace_back("precision=fp32");
    fp32 = std::make_unique<Measured>(config.load());
    fp32->warm_up(arguments.warmup);
  }
  const int rounds = std::min(arguments.steps, 6);
  for (int i = 0; i < rounds; ++i) {  // in turn, so that drift of the machine meets both
    const auto steps = static_cast<int>(chunk_begin(arguments.steps, rounds, i + 1) -
                                        chunk_begin(arguments.steps, rounds, i));
    peaks.measure_arithmetic(pool);
    ours.round(steps);
    if (fp32) fp32->round(steps);
  }
  peaks.measure_arithmetic(pool);
  Json result = describe(ours, arguments);
  result["memory"] = memory_json(ours.engine);
  result["memory"]["peak_bytes"] = arguments.fp32 ? peak : peak_resident_bytes();
  peaks.measure_copies(pool);
  result["peaks"] = peaks_json(peaks);
  if (fp32) {
    add_speedup(result, ours, *fp32);
    result["fp32"] = describe(*fp32, arguments);
    result["fp32"]["memory"] = memory_json(fp32->engine);
  }
  result["rows"] = rows_json(ours.times, fp32 ? &fp32->times : nullptr, peaks);
  result["passes"] = passes_json(result["rows"]);
  result["nodes"] = nodes_json(ours.times);
  result["plan_ms"] = plan_milliseconds(ours.engine);
  return result;
}

int bench_command(const BenchArguments& arguments) {
  const Json result = measure(arguments);
  if (arguments.json)
    std::cout << result.dump(1) << '\n';
  else
    print_step(std::cout, result);
  return 0;
}

int kernels_command(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "octavo bench kernels");
  std::vector<char*> pointers;
  pointers.reserve(arguments.size());
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  return bench_kernels(static_cast<int>(pointers.size()), pointers.data()) == 0
             ? 0
             : static_cast<int>(Errc::config);
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<BenchArguments>();
  CLI::App* sub =
      app.add_subcommand("bench", "time training steps by layer and pass, against the peaks of the machine");
  arguments->config.add_to(*sub);
  sub->get_option("config")->required(false);
  sub->add_flag("--json", arguments->json, "machine-readable result");
  sub->add_flag("--fp32", arguments->fp32, "the same in FP32, in alternating rounds, and the ratios");
  sub->add_option("--steps", arguments->steps, "timed steps")->check(CLI::Range(1, 100000));
  sub->add_option("--warmup", arguments->warmup, "steps before")->check(CLI::Range(0, 100000));
  CLI::App* kernels =
      sub->add_subcommand("kernels", "time the integer kernels at training shapes; see --help");
  kernels->set_help_flag();  // its options are its own
  kernels->prefix_command();
  auto data_arguments = std::make_shared<BenchDataArguments>();
  CLI::App* data = sub->add_subcommand("data", "time the loader alone: reading, decoding, augmenting");
  data_arguments->config.add_to(*data);
  data->add_flag("--json", data_arguments->json, "machine-readable result");
  data->add_option("--seconds", data_arguments->seconds, "timed seconds")->check(CLI::Range(0.01, 3600.0));
  sub->callback([arguments, data_arguments, kernels, data, &action] {
    if (data->parsed()) {
      action = [data_arguments] { return bench_data_command(*data_arguments); };
      return;
    }
    if (kernels->parsed()) {
      action = [kernels] { return kernels_command(kernels->remaining()); };
      return;
    }
    if (arguments->config.path.empty()) throw CLI::RequiredError("config, data or kernels");
    action = [arguments] { return bench_command(*arguments); };
  });
}

}  // namespace octavo::cli
