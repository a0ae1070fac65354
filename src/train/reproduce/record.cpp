#include "train/reproduce/record.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/check.h"
#include "core/numerics.h"
#include "train/crc32c.h"
#include "train/file_io.h"
#include "train/strict_json.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::int64_t most_bytes = 1 << 20, most_values = 100000;
constexpr double integer_result = 0.95;  // share below which a table names the layers in float

Json read_json(const fs::path& path) {
  return parse_strict_json(FileReader(system_files(), path).text(most_bytes), path.string(), most_values);
}

Json finite_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(); }
double null_as_nan(const Json& value) { return value.is_null() ? std::nan("") : value.get<double>(); }

nlohmann::ordered_json to_json(const RunRecord& r) {
  return {{"config", r.config},
          {"config_hash", r.config_hash},
          {"overrides", r.overrides},
          {"settings", r.settings},
          {"policy", r.policy},
          {"model", r.model},
          {"seed", r.seed},
          {"numerics_version", r.numerics_version},
          {"commit", r.commit},
          {"device", r.device},
          {"isa", r.isa},
          {"cpu", r.cpu},
          {"threads", r.threads},
          {"data", r.data},
          {"data_crc32c", r.data_crc32c},
          {"procedural", r.procedural},
          {"steps", r.steps},
          {"diverged", r.diverged},
          {"metric_name", r.metric_name},
          {"metric", finite_or_null(r.metric)},
          {"loss", finite_or_null(r.loss)},
          {"int8_mac_share",
           {{"forward", r.int8_mac_share.forward},
            {"grad_input", r.int8_mac_share.grad_input},
            {"grad_weight", r.int8_mac_share.grad_weight}}},
          {"in_float", r.in_float},
          {"step_ms_median", r.step_ms},
          {"precision_share", r.precision_share},
          {"note", r.note}};
}

Int8MacShare share_from(const Json& json) {
  return {json.at("forward"), json.at("grad_input"), json.at("grad_weight")};
}

RunRecord from_json(const Json& json) {
  RunRecord r;
  json.at("config").get_to(r.config);
  json.at("config_hash").get_to(r.config_hash);
  json.at("overrides").get_to(r.overrides);
  json.at("settings").get_to(r.settings);
  json.at("policy").get_to(r.policy);
  json.at("model").get_to(r.model);
  json.at("seed").get_to(r.seed);
  json.at("numerics_version").get_to(r.numerics_version);
  json.at("commit").get_to(r.commit);
  json.at("device").get_to(r.device);
  json.at("isa").get_to(r.isa);
  json.at("cpu").get_to(r.cpu);
  json.at("threads").get_to(r.threads);
  json.at("data").get_to(r.data);
  json.at("data_crc32c").get_to(r.data_crc32c);
  json.at("procedural").get_to(r.procedural);
  json.at("steps").get_to(r.steps);
  json.at("diverged").get_to(r.diverged);
  json.at("metric_name").get_to(r.metric_name);
  r.metric = null_as_nan(json.at("metric"));
  r.loss = null_as_nan(json.at("loss"));
  r.int8_mac_share = share_from(json.at("int8_mac_share"));
  json.at("in_float").get_to(r.in_float);
  json.at("step_ms_median").get_to(r.step_ms);
  r.precision_share = json.value("precision_share", 0.0);
  json.at("note").get_to(r.note);
  return r;
}

RunRecord read_record(const fs::path& path) {
  try {
    RunRecord record = from_json(read_json(path));
    record.name = path.stem().string();
    require(record.config_hash == settings_hash(record.settings), Errc::checkpoint, path.string(),
            ": its settings do not give its config_hash");
    require(record.name.ends_with(concat("-", record.policy, "-", record.config_hash, "-seed", record.seed)),
            Errc::checkpoint, path.string(), ": holds the run ", record.policy, "-", record.config_hash,
            "-seed", record.seed, ", which is not what its name says");
    return record;
  } catch (const Json::exception& error) {
    fail(Errc::checkpoint, path.string(), ": damaged result: ", error.what());
  }
}

/// Reads the files of a run folder with `work`.
template <class Work>
RunRecord read_run(const fs::path& folder, const Work& work) {
  try {
    return work();
  } catch (const Json::exception& error) {
    fail(Errc::checkpoint, folder.string(), ": its summary.json or env.json is damaged: ", error.what());
  }
}

/// What env.json and the plan say; `folder` may be that of a run that did not end.
RunRecord begun_record(const PlannedRun& run, const fs::path& folder) {
  const Json environment = read_json(folder / "env.json");
  RunRecord record;
  record.name = run.name;
  const fs::path near = fs::path(run.config_path).lexically_proximate(fs::current_path());
  record.config = near.string().starts_with("..") ? run.config_path : near.string();
  record.config_hash = run.hash;
  record.overrides = run.overrides;
  record.settings = run.settings;
  record.policy = run.config.precision().policy;
  record.model = fs::path(run.config.model().file).stem().string();
  record.seed = run.seed();
  record.numerics_version = environment.at("numerics_version");
  record.commit = environment.at("commit");
  record.device = "cpu";
  record.isa = environment.at("isa");
  record.cpu = environment.at("cpu");
  record.threads = environment.at("threads");
  record.data = run.config.data().set;
  return record;
}

}  // namespace

Records::Records(fs::path folder) : folder_(std::move(folder)) {
  std::vector<fs::path> paths;
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator(folder_, missing))
    if (entry.path().extension() == ".json") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::string damaged;
  for (const fs::path& path : paths) {
    try {
      RunRecord record = read_record(path);
      records_.emplace(record.name, std::move(record));
    } catch (const Error& error) {
      damaged += concat(damaged.empty() ? "" : "\n", error.what());
    }
  }
  require(damaged.empty(), Errc::self_check, damaged,
          "\nrepair or remove it; `octavo reproduce --missing` runs it again");
}

const RunRecord* Records::find(const PlannedRun& run) const {
  const auto found = records_.find(run.name);
  if (found == records_.end() || found->second.settings != run.settings) return nullptr;
  return found->second.numerics_version == numerics_version ? &found->second : nullptr;
}

bool Records::outdated(const PlannedRun& run) const {
  const auto found = records_.find(run.name);
  return found != records_.end() && found->second.numerics_version != numerics_version;
}

void Records::add(const RunRecord& record) {
  std::error_code error;
  fs::create_directories(folder_, error);
  require(!error, Errc::resource, folder_.string(),
          ": cannot create the folder of results: ", error.message());
  replace_file(system_files(), folder_ / (record.name + ".json"), to_json(record).dump(1) + "\n");
  records_[record.name] = record;
}

RunRecord record_of_run(const PlannedRun& run, const fs::path& folder) {
  return read_run(folder, [&] {
    RunRecord record = begun_record(run, folder);
    const Json summary = read_json(folder / "summary.json");
    record.device = summary.at("device");
    record.data_crc32c = summary.at("data_crc32c");
    record.procedural = summary.at("procedural");
    record.steps = summary.at("steps");
    record.metric_name = summary.at("metric_name");
    record.metric = null_as_nan(summary.at("metric"));
    record.loss = null_as_nan(summary.at("loss"));
    record.int8_mac_share = share_from(summary.at("int8_mac_share"));
    record.step_ms = summary.at("step_ms_median");
    record.precision_share = summary.value("precision_share", 0.0);
    const Int8MacShare& share = record.int8_mac_share;
    if (std::min({share.forward, share.grad_input, share.grad_weight}) < integer_result)
      for (const Json& product : summary.at("fp32_products"))
        record.in_float.push_back(concat(product.at("layer").get<std::string>(), " ",
                                         product.at("product").get<std::string>(), ": ",
                                         product.at("why").get<std::string>()));
    return record;
  });
}

RunRecord record_of_divergence(const PlannedRun& run, const fs::path& folder, std::int64_t steps,
                               const std::string& message) {
  return read_run(folder, [&] {
    RunRecord record = begun_record(run, folder);
    record.steps = steps;
    record.diverged = message;
    record.metric = record.loss = std::nan("");
    return record;
  });
}

}  // namespace octavo
