// The parts that all optimizers share: the pass over all parameters, saved state, and making one by name.
#include "optim/optimizer.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "core/check.h"

namespace octavo {

#define OCTAVO_OPTIMIZER(name) OptimizerEntry name##_optimizer();
#include "optim/optimizer_list.inc"
#undef OCTAVO_OPTIMIZER

namespace {

constexpr std::int64_t chunk_elements = 1 << 14;
constexpr std::int64_t block_elements = 1 << 11;  // in the L1 cache yet when they are looked at

const OptimizerEntry& find_entry(const std::string& name) {
  std::string known;
  for (const OptimizerEntry& entry : optimizer_entries()) {
    if (name == entry.name) return entry;
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  fail(Errc::config, "optimizer.type: '", name, "' is unknown; there is ", known);
}

std::string setting_names(const OptimizerEntry& entry) {
  std::string names;
  for (const OptimizerSetting& setting : entry.settings)
    names += (names.empty() ? "" : ", ") + std::string(setting.name);
  return names;
}

}  // namespace

std::span<const Optimizer::RowMaxima> Optimizer::step(std::span<const ParameterUpdate> updates,
                                                      const UpdateStep& step,
                                                      const kernels::Parallel& parallel) {
  require(updates.size() == parameters_.size(), Errc::internal, "optimizer: ", updates.size(),
          " updates for ", parameters_.size(), " parameters");
  begin_step(updates, step, parallel);
  chunks_.clear();
  maxima_.resize(updates.size());
  for (std::size_t i = 0; i < updates.size(); ++i) {
    maxima_[i].clear();
    const Shape& shape = parameters_[i].shape;
    const std::int64_t elements = shape.elements(), rows = shape.rank() > 1 ? shape[0] : 1;
    if (updates[i].gradient == nullptr || elements == 0) continue;
    maxima_[i].assign(static_cast<std::size_t>(rows), 0);
    const std::int64_t row = elements / rows, size = std::max<std::int64_t>(1, chunk_elements / row) * row;
    for (std::int64_t begin = 0; begin < elements; begin += size)
      chunks_.push_back({i, begin, std::min(begin + size, elements), row});
  }
  parallel(std::ssize(chunks_), [&](std::int64_t number) {
    const Chunk& chunk = chunks_[static_cast<std::size_t>(number)];
    update_chunk(chunk, updates[chunk.parameter], step);
  });
  return maxima_;
}

void Optimizer::update_chunk(const Chunk& chunk, const ParameterUpdate& update, const UpdateStep& step) {
  RowMaxima& maxima = maxima_[chunk.parameter];
  for (std::int64_t begin = chunk.begin, end = 0; begin < chunk.end; begin = end) {
    end = std::min(begin + block_elements, chunk.end);
    update_range(chunk.parameter, update, step, begin, end);
    for (std::int64_t at = begin, next = 0; at < end; at = next) {
      const std::int64_t row = at / chunk.row;
      next = std::min(end, (row + 1) * chunk.row);
      std::uint32_t& most = maxima[static_cast<std::size_t>(row)];
      most = std::max(most, kernels::largest_magnitude(update.value + at, next - at));
    }
  }
}

void Optimizer::load_state(const NamedTensors& saved) {
  NamedTensors own = state();
  std::map<std::string, const Tensor*> found;
  for (const NamedTensor& t : saved) found[t.name] = &t.tensor;
  std::string problems;
  for (const NamedTensor& t : own) {
    const auto match = found.find(t.name);
    if (match == found.end()) {
      problems += "\n  missing: " + t.name + " " + t.tensor.shape().str();
    } else if (match->second->type() != t.tensor.type()) {
      problems +=
          "\n  " + t.name + ": saved " + match->second->shape().str() + ", needed " + t.tensor.shape().str();
    }
  }
  for (const NamedTensor& t : own) found.erase(t.name);
  for (const auto& [name, tensor] : found) problems += "\n  surplus: " + name + " " + tensor->shape().str();
  require(problems.empty(), Errc::checkpoint,
          "optimizer state does not fit the model or the optimizer:", problems);
  for (const NamedTensor& t : saved) found[t.name] = &t.tensor;
  for (NamedTensor& t : own) {
    std::memcpy(t.tensor.data(), found.at(t.name)->data(), static_cast<std::size_t>(t.tensor.bytes()));
  }
}

std::span<const OptimizerEntry> optimizer_entries() {
#define OCTAVO_OPTIMIZER(name) name##_optimizer(),
  static const OptimizerEntry entries[] = {
#include "optim/optimizer_list.inc"
  };
#undef OCTAVO_OPTIMIZER
  return entries;
}

std::unique_ptr<Optimizer> make_optimizer(const std::string& name, std::map<std::string, double> settings,
                                          std::vector<OptimizerParameter> parameters) {
  const OptimizerEntry& entry = find_entry(name);
  std::set<std::string> known;
  for (const OptimizerSetting& setting : entry.settings) {
    known.insert(setting.name);
    const double value = settings.try_emplace(setting.name, setting.value).first->second;
    // Written so that NaN fails.
    require(value >= setting.low && value <= setting.high && (!setting.is_switch || value == 0 || value == 1),
            Errc::config, "optimizer.", setting.name, ": ", value, " is outside ", setting.low, " to ",
            setting.high);
  }
  for (const auto& [key, value] : settings) {
    require(known.contains(key), Errc::config, "optimizer.", key, ": is no setting of '", name, "'; it has ",
            setting_names(entry));
  }
  return entry.make(settings, std::move(parameters));
}

}  // namespace octavo
