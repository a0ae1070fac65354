// The commands of the octavo program. Each adds itself to the command line and returns its exit code when
// chosen.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "octavo/config.h"

namespace octavo::cli {

using Action = std::function<int()>;

/// A configuration file and its overrides, as most commands take them.
struct ConfigArguments {
  std::string path;
  std::vector<std::string> overrides;
  std::string device;  // empty: what the configuration says
  bool strict = false;
  void add_to(CLI::App& command);
  Config load() const;                             // with everything that is registered
  std::vector<std::string> all_overrides() const;  // with what the options stand for
};

/// Policies as the laboratory's commands name them: "unified_int8,bits.gradient=6,options.clip=false", keys
/// below `precision` of the configuration at `config` behind commas. Without any: all but fp32.
struct PolicyArguments {
  std::vector<std::string> specs;
  void add_to(CLI::App& command);
  std::map<std::string, PrecisionSettings> load(const std::string& config,
                                                const std::vector<std::string>& overrides) const;
};

/// octavo bench data.
struct BenchDataArguments {
  ConfigArguments config;
  bool json = false;
  double seconds = 5;
};
int bench_data_command(const BenchDataArguments& arguments);

/// `last` stands for the newest run in ./runs; anything else is a folder. Errc::checkpoint when there is
/// none.
std::string resolve_run(const std::string& run);

void add_train(CLI::App& app, Action& action);        // train, resume
void add_check(CLI::App& app, Action& action);        // check, summary, print-graph
void add_eval(CLI::App& app, Action& action);         // eval
void add_bench(CLI::App& app, Action& action);        // bench
void add_fidelity(CLI::App& app, Action& action);     // fidelity
void add_record(CLI::App& app, Action& action);       // record, replay
void add_inspect(CLI::App& app, Action& action);      // inspect
void add_compare(CLI::App& app, Action& action);      // compare
void add_report(CLI::App& app, Action& action);       // report
void add_reproduce(CLI::App& app, Action& action);    // reproduce
void add_tune(CLI::App& app, Action& action);         // tune
void add_information(CLI::App& app, Action& action);  // list, doctor

}  // namespace octavo::cli
