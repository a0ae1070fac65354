// Arguments that several commands share.
#include <filesystem>
#include <sstream>

#include "commands.h"
#include "octavo/trainer.h"
#include "precision/registry.h"

namespace octavo::cli {
namespace fs = std::filesystem;

void ConfigArguments::add_to(CLI::App& command) {
  command.add_option("config", path, "YAML file of the experiment")->required();
  command.add_option("overrides", overrides, "key=value, for example optimizer.lr=0.05 or precision=fp32");
  command.add_option("--device", device, "cpu or cuda")->check(CLI::IsMember({"cpu", "cuda"}));
  command.add_flag("--strict-precision", strict, "a product that falls back to FP32 unasked is an error");
}

std::vector<std::string> ConfigArguments::all_overrides() const {
  std::vector<std::string> all = overrides;
  if (!device.empty()) all.push_back("train.device=" + device);
  if (strict) all.emplace_back("precision.strict=true");
  return all;
}

Config ConfigArguments::load() const { return Config::load(path, all_overrides(), catalog()); }

void PolicyArguments::add_to(CLI::App& command) {
  command.add_option(
      "--policy", specs,
      "policy, with keys of `precision` behind commas: unified_int8,options.clip=false; may be "
      "repeated (all policies)");
}

std::map<std::string, PrecisionSettings> PolicyArguments::load(
    const std::string& config, const std::vector<std::string>& overrides) const {
  std::vector<std::string> names = specs;
  if (names.empty())
    for (const PolicyDef& policy : policies())
      if (policy.name != "fp32") names.push_back(policy.name);
  std::map<std::string, PrecisionSettings> settings;
  for (const std::string& name : names) {
    std::vector<std::string> all = overrides;
    std::stringstream parts(name);
    bool first = true;
    for (std::string part; std::getline(parts, part, ','); first = false)
      all.push_back((first ? "precision=" : "precision.") + part);
    settings[name] = Config::load(config, all, catalog()).precision();
  }
  return settings;
}

std::string resolve_run(const std::string& run) {
  if (run != "last") return run;
  fs::path newest;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("runs", ignored))
    if (fs::exists(entry.path() / "config.yaml") &&
        (newest.empty() || fs::last_write_time(entry.path()) > fs::last_write_time(newest)))
      newest = entry.path();
  if (newest.empty()) throw Error(Errc::checkpoint, "no run in " + fs::absolute("runs").string());
  return newest.string();
}

}  // namespace octavo::cli
