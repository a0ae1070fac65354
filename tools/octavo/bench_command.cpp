// octavo bench: times whole training steps, and every node of the plan; octavo bench kernels: the integer
// kernels; octavo bench data: the loader.
#include <algorithm>
#include <chrono>
#include <ctime>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "bench_kernels.h"
#include "commands.h"
#include "train/engine.h"
#include "train/engine_parts.h"
#include "train/summary.h"

namespace octavo::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct BenchArguments {
  ConfigArguments config;
  bool json = false;
  int steps = 30, warmup = 5;
};

struct DataArguments {
  ConfigArguments config;
  bool json = false;
  double seconds = 5;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

// Times of one node over the steps, in order of execution.
struct NodeTimes {
  std::string name, op, kernel;
  std::int64_t macs = 0;
  std::vector<double> seconds;
};

std::string kernels_of(const Node& node) {
  std::string text;
  for (const ProductPlan& product : node.products)
    if (product.used) text += (text.empty() ? "" : ", ") + product.kernel;
  return text;
}

std::vector<NodeTimes> time_nodes(Engine& engine, int steps) {
  std::vector<NodeTimes> times;
  for (const Node& node : engine.training_plan().graph.nodes) {
    std::int64_t macs = 0;
    for (const ProductPlan& product : node.products)
      if (product.used) macs += product.shape.macs();
    times.push_back({node.name, node.op->type, kernels_of(node), macs, {}});
  }
  std::size_t next = 0;
  Clock::time_point before = Clock::now();
  engine.program().before_pass = [&] { before = Clock::now(); };
  engine.program().after_node = [&](const Plan&, const Node&) {
    const Clock::time_point now = Clock::now();
    times[next].seconds.push_back(std::chrono::duration<double>(now - before).count());
    next = (next + 1) % times.size();
    before = Clock::now();
  };
  for (int i = 0; i < steps; ++i) engine.step();
  engine.program().before_pass = {};
  engine.program().after_node = {};
  return times;
}

// What a change of a width costs: the training plan from the graph on.
double plan_milliseconds(Engine& engine) {
  std::vector<double> times;
  for (int i = 0; i < 5; ++i) {
    engine.program().reset_plans();
    const Clock::time_point start = Clock::now();
    engine.training_plan();
    times.push_back(1000 * std::chrono::duration<double>(Clock::now() - start).count());
  }
  return median(times);
}

nlohmann::ordered_json to_json(const std::vector<NodeTimes>& nodes) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const NodeTimes& node : nodes) {
    const double ms = 1000 * median(node.seconds);
    nlohmann::ordered_json row{{"node", node.name}, {"op", node.op}, {"ms", ms}};
    if (node.macs > 0) {
      row["kernel"] = node.kernel;
      row["gops"] = 2e-6 * static_cast<double>(node.macs) / ms;
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

void print(const nlohmann::ordered_json& result) {
  std::cout << std::fixed << std::setprecision(3);
  for (const auto& row : result.at("nodes")) {
    std::cout << std::setw(10) << row.at("ms").get<double>() << " ms  " << std::left << std::setw(12)
              << row.at("op").get<std::string>() << std::right;
    if (row.contains("gops"))
      std::cout << std::setw(9) << std::setprecision(0) << row.at("gops").get<double>()
                << std::setprecision(3) << " GOP/s  " << row.at("kernel").get<std::string>() << "  ";
    std::cout << row.at("node").get<std::string>() << '\n';
  }
  std::cout << "step: median " << result.at("step_ms_median").get<double>() << " ms, minimum "
            << result.at("step_ms_min").get<double>() << " ms, mean "
            << result.at("step_ms_mean").get<double>()
            << " ms\nprecision: " << result.at("precision_ms").get<double>() << " ms of a step on average ("
            << std::setprecision(2) << 100 * result.at("precision_share").get<double>()
            << "%): passes that only look at values, searches, decisions; a new plan takes "
            << std::setprecision(3) << result.at("plan_ms").get<double>() << " ms\n";
}

int bench_command(const BenchArguments& arguments) {
  Engine engine(arguments.config.load());
  for (int i = 0; i < arguments.warmup; ++i) engine.step();
  std::vector<double> steps;
  steps.reserve(static_cast<std::size_t>(arguments.steps));
  double& precision_seconds = engine.program().runtime().precision_seconds;
  precision_seconds = 0;
  for (int i = 0; i < arguments.steps; ++i) steps.push_back(1000 * engine.step().seconds);
  const double mean = std::accumulate(steps.begin(), steps.end(), 0.0) / arguments.steps;
  const double precision_ms = 1000 * precision_seconds / arguments.steps;
  const Int8MacShare macs = mac_share(engine.macs());
  const nlohmann::ordered_json result{
      {"config", arguments.config.path},
      {"policy", engine.config().precision().policy},
      {"isa", kernels::isa_name(kernels::active_isa())},
      {"threads", engine.program().runtime().pool.threads()},
      {"batch", engine.config().data().batch},
      {"step_ms_median", median(steps)},
      {"step_ms_mean", mean},
      {"precision_ms", precision_ms},
      {"precision_share", precision_ms / mean},
      {"step_ms_min", *std::min_element(steps.begin(), steps.end())},
      {"int8_mac_share",
       {{"forward", macs.forward}, {"grad_input", macs.grad_input}, {"grad_weight", macs.grad_weight}}},
      {"arena_bytes", engine.training_plan().arena_bytes},
      {"plan_ms", plan_milliseconds(engine)},
      {"nodes", to_json(time_nodes(engine, std::max(3, arguments.steps / 2)))}};
  if (arguments.json)
    std::cout << result.dump(1) << '\n';
  else
    print(result);
  return 0;
}

/// Training batches alone, as fast as the loader gives them.
int data_command(const DataArguments& arguments) {
  const Config config = arguments.config.load();
  const std::unique_ptr<Loader> loader =
      make_loader(config, open_dataset(data_request(config, Split::train)), Split::train);
  loader->next();  // what is prepared ahead before the clock runs
  const Clock::time_point start = Clock::now();
  const std::clock_t cpu_start = std::clock();
  std::int64_t samples = 0;
  double seconds = 0;
  while (seconds < arguments.seconds) {
    samples += loader->next().size();
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
  }
  const double cpu = static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC;
  const double count = static_cast<double>(samples);
  if (arguments.json)
    std::cout << nlohmann::ordered_json{{"data", config.data().set},
                                        {"threads", loader->workers()},
                                        {"samples_per_second", count / seconds},
                                        {"samples_per_cpu_second", count / cpu}}
                     .dump(1)
              << '\n';
  else
    std::cout << std::fixed << std::setprecision(0) << config.data().set << ", " << loader->workers()
              << " loader threads: " << count / seconds << " samples/s, " << count / cpu
              << " per second of CPU time\n";
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
  CLI::App* sub = app.add_subcommand("bench", "time training steps and every node of the plan");
  arguments->config.add_to(*sub);
  sub->get_option("config")->required(false);
  sub->add_flag("--json", arguments->json, "machine-readable result");
  sub->add_option("--steps", arguments->steps, "timed steps")->check(CLI::Range(1, 100000));
  sub->add_option("--warmup", arguments->warmup, "steps before")->check(CLI::Range(0, 100000));
  CLI::App* kernels =
      sub->add_subcommand("kernels", "time the integer kernels at training shapes; see --help");
  kernels->set_help_flag();  // its options are its own
  kernels->prefix_command();
  auto data_arguments = std::make_shared<DataArguments>();
  CLI::App* data = sub->add_subcommand("data", "time the loader alone: reading, decoding, augmenting");
  data_arguments->config.add_to(*data);
  data->add_flag("--json", data_arguments->json, "machine-readable result");
  data->add_option("--seconds", data_arguments->seconds, "timed seconds")->check(CLI::Range(0.01, 3600.0));
  sub->callback([arguments, data_arguments, kernels, data, &action] {
    if (data->parsed()) {
      action = [data_arguments] { return data_command(*data_arguments); };
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
