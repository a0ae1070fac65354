// octavo check, octavo summary, octavo print-graph.
#include <iostream>

#include "commands.h"
#include "estimate.h"
#include "exec/print.h"
#include "train/check.h"
#include "train/summary.h"

namespace octavo::cli {
namespace {

struct CheckArguments {
  ConfigArguments config;
  bool dot = false;
};

int check_command(const CheckArguments& arguments) {
  const CheckedConfig checked = check_configuration(arguments.config.path, arguments.config.all_overrides());
  Engine& engine = *checked.engine;
  const bool complete = checked.missing_data.empty();
  std::cout << (complete ? "ok: " : "configuration and model are ok: ")
            << engine.program().graph().nodes.size() << " nodes\n"
            << (complete ? data_line(engine) : "") << memory_line(engine);
  if (!complete) throw Error(Errc::data, checked.missing_data);
  return 0;
}

int summary_command(const CheckArguments& arguments) {
  Engine engine(arguments.config.load());
  const Plan& plan = engine.training_plan();
  std::cout << layer_table(engine.program()) << '\n'
            << precision_plan(plan, engine.program()) << '\n'
            << data_line(engine) << memory_line(engine);
  return 0;
}

int print_graph_command(const CheckArguments& arguments) {
  Engine engine(arguments.config.load());
  const Plan& plan = engine.training_plan();
  std::cout << (arguments.dot ? print_dot(plan, engine.program().slots)
                              : print_text(plan, engine.program().slots));
  return 0;
}

}  // namespace

void add_check(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<CheckArguments>();
  const auto add = [&](const char* name, const char* help, int (*command)(const CheckArguments&)) {
    CLI::App* sub = app.add_subcommand(name, help);
    arguments->config.add_to(*sub);
    sub->callback(
        [arguments, &action, command] { action = [arguments, command] { return command(*arguments); }; });
    return sub;
  };
  add("check", "check a configuration with its model and data, every error at once", check_command);
  add("summary", "layers, shapes, parameters, MACs, precision plan, memory", summary_command);
  add("print-graph", "the planned graph: shapes, formats, views, kernels, bytes of each node",
      print_graph_command)
      ->add_flag("--dot", arguments->dot, "for Graphviz");
}

}  // namespace octavo::cli
