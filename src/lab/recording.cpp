#include "lab/recording.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>

#include "core/check.h"
#include "lab/fidelity.h"
#include "precision/statistics.h"
#include "train/safetensors.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

constexpr const char* operand_keys[] = {"weight", "activation", "gradient"};

nlohmann::json sparse(const MagnitudeHistogram& histogram) {
  nlohmann::json bins = nlohmann::json::array(), counts = bins, sums = bins;
  for (std::size_t i = 0; i < histogram.counts.size(); ++i) {
    if (histogram.counts[i] == 0) continue;
    bins.push_back(i);
    counts.push_back(histogram.counts[i]);
    sums.push_back(histogram.sums[i]);
  }
  return {{"bins", bins}, {"counts", counts}, {"sums", sums}};
}

MagnitudeHistogram dense(const nlohmann::json& json) {
  MagnitudeHistogram histogram;
  histogram.counts.resize(MagnitudeHistogram::bins);
  histogram.sums.resize(MagnitudeHistogram::bins);
  const auto& bins = json.at("bins");
  for (std::size_t i = 0; i < bins.size(); ++i) {
    const auto bin = bins.at(i).get<std::size_t>();
    require(bin < MagnitudeHistogram::bins, Errc::data, "bin ", bin, " is outside the histogram");
    histogram.counts[bin] = json.at("counts").at(i).get<std::uint64_t>();
    histogram.sums[bin] = json.at("sums").at(i).get<std::uint64_t>();
  }
  return histogram;
}

nlohmann::json to_json(const OperandRecord& record) {
  nlohmann::json channels = nlohmann::json::array();
  for (const ChannelSummary& channel : record.channels)
    channels.push_back({channel.max_abs, channel.sigma, channel.above_sigma});
  return {{"step", record.step},
          {"layer", record.layer.name},
          {"op", record.layer.op},
          {"first_of_its_op", record.layer.first_of_its_op},
          {"depthwise", record.layer.depthwise},
          {"operand", operand_keys[static_cast<int>(record.operand)]},
          {"non_negative", record.non_negative},
          {"elements", record.elements},
          {"max_abs", record.max_abs},
          {"histogram", sparse(record.histogram)},
          {"channels", channels},
          {"sample_max", record.sample_max}};
}

OperandRecord from_json(const nlohmann::json& json) {
  OperandRecord record;
  record.step = json.at("step").get<std::int64_t>();
  record.layer = {json.at("layer").get<std::string>(), json.at("op").get<std::string>(),
                  json.at("first_of_its_op").get<bool>(), json.at("depthwise").get<bool>()};
  const auto operand = json.at("operand").get<std::string>();
  const auto* found = std::find(std::begin(operand_keys), std::end(operand_keys), operand);
  require(found != std::end(operand_keys), Errc::data, "unknown operand '", operand, "'");
  record.operand = static_cast<Operand>(found - operand_keys);
  record.non_negative = json.value("non_negative", false);
  record.elements = json.at("elements").get<std::int64_t>();
  record.max_abs = json.at("max_abs").get<float>();
  record.histogram = dense(json.at("histogram"));
  record.channels.reserve(json.at("channels").size());
  for (const auto& channel : json.at("channels"))
    record.channels.push_back(
        {channel.at(0).get<float>(), channel.at(1).get<double>(), channel.at(2).get<double>()});
  record.sample_max = json.at("sample_max").get<std::vector<float>>();
  return record;
}

std::vector<float> sample_maxima(const float* values, std::int64_t samples, std::int64_t elements) {
  std::vector<float> maxima(static_cast<std::size_t>(samples));
  const std::int64_t size = elements / samples;
  for (std::int64_t n = 0; n < samples; ++n)
    for (std::int64_t i = n * size; i < (n + 1) * size; ++i)
      maxima[static_cast<std::size_t>(n)] =
          std::max(maxima[static_cast<std::size_t>(n)], std::fabs(values[i]));
  return maxima;
}

struct OperandValues {
  Operand operand;
  const char* name;
  const float* values;
  Shape shape;
};

std::array<OperandValues, 3> operands(const LayerTensors& layer) {
  const ProductShape& p = layer.shape;
  return {{{Operand::weight, "w", layer.w, {p.k, p.r, p.s, p.c / p.groups}},
           {Operand::activation, "x", layer.x, {p.n, p.h, p.w, p.c}},
           {Operand::gradient, "g", layer.g, {p.n, p.ho, p.wo, p.k}}}};
}

OperandRecord summarize(Runtime& runtime, std::int64_t step, const LayerTensors& layer,
                        const OperandValues& values) {
  OperandRecord record{step, layer.info, values.operand};
  record.non_negative = values.operand == Operand::activation && layer.x_non_negative;
  record.elements = values.shape.elements();
  const std::int64_t channels = values.shape.back();
  count_magnitudes(values.values, record.elements, record.histogram, runtime.parallel);
  record.channels = summarize_channels(values.values, record.elements / channels, channels, runtime.parallel);
  for (const ChannelSummary& channel : record.channels)
    record.max_abs = std::max(record.max_abs, channel.max_abs);
  if (values.operand != Operand::weight)
    record.sample_max = sample_maxima(values.values, values.shape[0], record.elements);
  return record;
}

NamedTensor copy(const LayerTensors& layer, const OperandValues& values) {
  Tensor tensor = Tensor::empty(values.shape);
  std::copy_n(values.values, values.shape.elements(), tensor.as<float>().data());
  return {layer.info.name + "." + values.name, tensor};
}

void write_line(std::ofstream& file, const fs::path& path, const nlohmann::json& line) {
  file << line.dump() << '\n';
  file.flush();
  require(bool(file), Errc::resource, "cannot write ", path.string());
}

}  // namespace

void record(Engine& engine, const RecordOptions& options) {
  require(!fs::exists(options.folder), Errc::resource, fs::absolute(options.folder).string(),
          " exists already: name another folder");
  std::error_code failed;
  fs::create_directories(options.tensors ? options.folder / "tensors" : options.folder, failed);
  require(!failed, Errc::resource, "cannot make ", fs::absolute(options.folder).string(), ": ",
          failed.message());
  std::ofstream(options.folder / "config.yaml") << engine.config().dump();
  const fs::path path = options.folder / "recording.jsonl";
  std::ofstream file(path);
  write_line(file, path,
             {{"config", engine.config().name()},
              {"seed", engine.config().train().seed},
              {"batch", engine.config().data().batch},
              {"data", engine.config().data().set},
              {"procedural", engine.train_info().procedural},
              {"steps_per_epoch", engine.steps_per_epoch()}});
  Runtime& runtime = engine.program().runtime();
  while (engine.steps_done() < options.steps) {
    const std::int64_t step = engine.steps_done();
    if (step % options.every != 0) {
      engine.step();
      continue;
    }
    NamedTensors tensors;
    visit_layers(engine, [&](const LayerTensors& layer) {
      for (const OperandValues& values : operands(layer)) {
        write_line(file, path, to_json(summarize(runtime, step, layer, values)));
        if (options.tensors) tensors.push_back(copy(layer, values));
      }
    });
    if (options.tensors)
      write_safetensors((options.folder / "tensors" / concat("step-", step, ".safetensors")).string(),
                        tensors);
    if (options.on_sample) options.on_sample(step);
  }
}

Recording read_recording(const fs::path& folder) {
  const fs::path path = folder / "recording.jsonl";
  std::ifstream file(path);
  require(bool(file), Errc::data, fs::absolute(path).string(),
          " cannot be read: a recording is a folder that `octavo record` made");
  Recording recording;
  std::string text;
  for (std::int64_t line = 1; std::getline(file, text); ++line) {
    try {
      const nlohmann::json json = nlohmann::json::parse(text);
      if (line == 1)
        recording.facts = json;
      else
        recording.records.push_back(from_json(json));
    } catch (const std::exception& error) {
      fail(Errc::data, fs::absolute(path).string(), ":", line, ": ", error.what());
    }
  }
  require(!recording.records.empty() && recording.facts.contains("steps_per_epoch"), Errc::data,
          fs::absolute(path).string(), " holds no step");
  return recording;
}

}  // namespace octavo
