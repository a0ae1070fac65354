// octavo list, octavo doctor.
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <thread>

#include "commands.h"
#include "config/schema.h"
#include "data/transform.h"
#include "graph/op_table.h"
#include "kernels.h"
#include "octavo/data.h"
#include "octavo/trainer.h"
#include "optim/optimizer.h"
#include "precision/registry.h"
#include "train/run_folder.h"

namespace octavo::cli {
namespace {

void line(const std::string& name, const std::string& help) {
  std::cout << "  " << std::left << std::setw(24) << name << help << '\n';
}

void list_policies() {
  for (const PolicyDef& policy : policies()) {
    line(policy.name, policy.help);
    for (const OptionSpec& option : policy.options)
      line("  " + option.name, option.help + " (" + option.default_value + ")");
  }
}

int list_command(const std::string& what) {
  const bool all = what == "all";
  const auto title = [&](const char* name) {
    if (all) std::cout << name << '\n';
    return all || what == name;
  };
  if (title("ops"))
    for (const std::string& name : op_names()) line(name, find_op(name).help);
  if (title("policies")) list_policies();
  if (title("data"))
    for (const DatasetListing& set : list_datasets()) line(set.name, set.help);
  if (title("transforms"))
    for (const Transform& transform : transforms()) line(transform.name, transform.help);
  if (title("optimizers"))
    for (const OptimizerEntry& entry : optimizer_entries()) line(entry.name, "");
  if (title("kernels"))
    for (const kernels::ConvS8Candidate& candidate : kernels::conv_s8_candidates())
      line(candidate.name,
           kernels::isa_supported(candidate.isa) ? "runs on this CPU" : "this CPU lacks its instructions");
  if (title("keys")) std::cout << describe_keys(catalog());
  return 0;
}

int doctor_command() {
  std::cout << describe_environment(kernels::isa_name(kernels::active_isa()),
                                    static_cast<int>(std::thread::hardware_concurrency()))
                   .dump(1)
            << '\n';
  for (kernels::Isa isa : {kernels::Isa::ref, kernels::Isa::avx2, kernels::Isa::avx512vnni})
    line(kernels::isa_name(isa), kernels::isa_supported(isa) ? "yes" : "no");
  const auto space = std::filesystem::space(std::filesystem::current_path());
  std::cout << "  free disk space here: " << space.available / (1 << 20) << " MiB\n";
  return 0;
}

}  // namespace

void add_information(CLI::App& app, Action& action) {
  auto what = std::make_shared<std::string>("all");
  CLI::App* list = app.add_subcommand(
      "list", "what may be named: ops, policies, data, transforms, optimizers, kernels, keys");
  list->add_option("what", *what, "one of them")
      ->check(
          CLI::IsMember({"all", "ops", "policies", "data", "transforms", "optimizers", "kernels", "keys"}));
  list->callback([what, &action] { action = [what] { return list_command(*what); }; });
  CLI::App* doctor = app.add_subcommand("doctor", "the machine as octavo sees it, for bug reports");
  doctor->callback([&action] { action = doctor_command; });
}

}  // namespace octavo::cli
