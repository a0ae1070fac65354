// octavo fidelity: INT8 products against FP32 ones, per layer and policy, at chosen steps of an FP32 training
// or at the checkpoints of a run.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "commands.h"
#include "core/check.h"
#include "lab/fidelity.h"
#include "train/checkpoint.h"

namespace octavo::cli {
namespace fs = std::filesystem;
namespace {

struct FidelityArguments {
  ConfigArguments config;
  PolicyArguments policies;
  std::vector<std::int64_t> at{100};
  std::string json;
};

bool is_run(const std::string& path) { return path == "last" || fs::is_directory(path); }

// Any run's weights will do: what its policy kept is of no use to FP32.
void load_weights(Engine& engine, const fs::path& checkpoint) {
  CheckpointContent content = load_checkpoint(checkpoint);
  content.state["policy"] = "fp32";
  engine.load_state(content);
}

int fidelity_command(const FidelityArguments& arguments) {
  const bool of_run = is_run(arguments.config.path);
  const fs::path run = of_run ? resolve_run(arguments.config.path) : "";
  ConfigArguments config = arguments.config;
  if (of_run) config.path = (run / "config.yaml").string();
  const auto policies = arguments.policies.load(config.path, config.overrides);
  config.overrides.emplace_back("precision=fp32");
  Engine engine(config.load());
  std::vector<FidelityRow> rows;
  const auto measure = [&] {
    const std::vector<FidelityRow> more = measure_fidelity(engine, policies);
    rows.insert(rows.end(), more.begin(), more.end());
  };
  if (of_run) {
    const std::vector<std::int64_t> steps = checkpoint_steps(run);
    require(!steps.empty(), Errc::checkpoint, "no checkpoint in ", fs::absolute(run).string());
    for (std::int64_t step : steps) {
      load_weights(engine, find_checkpoint(run, std::to_string(step)));
      measure();
    }
  } else {
    std::vector<std::int64_t> at = arguments.at;
    std::sort(at.begin(), at.end());
    for (std::int64_t step : at) {
      while (engine.steps_done() < step) engine.step();
      measure();
    }
  }
  std::cout << fidelity_table(rows);
  if (!arguments.json.empty()) {
    std::ofstream file(arguments.json);
    file << fidelity_json(rows).dump(1) << '\n';
    file.close();
    require(bool(file), Errc::resource, "cannot write ", fs::absolute(arguments.json).string());
  }
  return 0;
}

}  // namespace

void add_fidelity(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<FidelityArguments>();
  CLI::App* sub = app.add_subcommand(
      "fidelity", "error of every policy's INT8 products against FP32, on the same weights and batch");
  arguments->config.add_to(*sub);
  sub->get_option("config")->description(
      "YAML file, or a run folder (`last`): then at each of its checkpoints");
  arguments->policies.add_to(*sub);
  sub->add_option("--at", arguments->at, "steps of an FP32 training at which to measure (100)")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 40));
  sub->add_option("--json", arguments->json, "file for the errors of every layer");
  sub->callback([arguments, &action] { action = [arguments] { return fidelity_command(*arguments); }; });
}

}  // namespace octavo::cli
