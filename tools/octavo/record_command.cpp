// octavo record: statistics of an FP32 training. octavo replay: what policies would have chosen on them.
#include <filesystem>
#include <fstream>
#include <iostream>

#include "commands.h"
#include "core/check.h"
#include "lab/recording.h"
#include "lab/replay.h"
#include "train/report/replay_page.h"

namespace octavo::cli {
namespace fs = std::filesystem;
namespace {

struct RecordArguments {
  ConfigArguments config;
  std::string out;
  std::int64_t every = 100, steps = 0;
  bool tensors = false;
};

int record_command(const RecordArguments& arguments) {
  ConfigArguments config = arguments.config;
  config.overrides.emplace_back("precision=fp32");
  Engine engine(config.load());
  RecordOptions options{arguments.out, arguments.every};
  options.steps = arguments.steps > 0 ? arguments.steps : engine.total_steps();
  options.tensors = arguments.tensors;
  options.on_sample = [&](std::int64_t step) {
    std::cerr << "recorded step " << step << " of " << options.steps << '\n';
  };
  record(engine, options);
  std::cout << fs::absolute(arguments.out).string() << '\n';
  return 0;
}

void save(const fs::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  require(bool(file), Errc::resource, "cannot write ", fs::absolute(path).string());
}

struct ReplayArguments {
  std::string recording, json, html;
  PolicyArguments policies;
};

int replay_command(const ReplayArguments& arguments) {
  const fs::path folder = arguments.recording;
  const Recording recording = read_recording(folder);
  std::map<std::string, std::vector<ReplayRow>> rows;
  for (const auto& [name, settings] : arguments.policies.load((folder / "config.yaml").string(), {}))
    rows[name] = replay(recording, settings);
  std::cout << replay_table(rows);
  if (!arguments.json.empty()) save(arguments.json, replay_json(rows).dump(1) + '\n');
  if (!arguments.html.empty())
    save(arguments.html, report::replay_page(fs::weakly_canonical(folder).filename().string(), rows));
  return 0;
}

void add_replay(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<ReplayArguments>();
  CLI::App* sub = app.add_subcommand("replay", "what policies would have chosen on a recording, in seconds");
  sub->add_option("recording", arguments->recording, "folder that `octavo record` made")->required();
  arguments->policies.add_to(*sub);
  sub->add_option("--json", arguments->json, "file for every decision");
  sub->add_option("--html", arguments->html, "page with the choices and errors over the recorded steps");
  sub->callback([arguments, &action] { action = [arguments] { return replay_command(*arguments); }; });
}

}  // namespace

void add_record(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<RecordArguments>();
  CLI::App* sub =
      app.add_subcommand("record", "train in FP32 and keep statistics of weights, activations and gradients");
  arguments->config.add_to(*sub);
  sub->add_option("--out", arguments->out, "new folder for the recording")->required();
  sub->add_option("--every", arguments->every, "steps between records (100)")->check(CLI::Range(1, 1000000));
  sub->add_option("--steps", arguments->steps, "steps to train (all)")->check(CLI::Range(1, 1000000000));
  sub->add_flag("--tensors", arguments->tensors, "keep the tensors themselves, too");
  sub->callback([arguments, &action] { action = [arguments] { return record_command(*arguments); }; });
  add_replay(app, action);
}

}  // namespace octavo::cli
