// The parts that all optimizers share: the pass over all parameters, saved state, and making one by name.
#include "optim/optimizer.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <set>

#include "core/check.h"
#include "optim/gradient_norm.h"
#include "weight_pass.h"

namespace octavo {

#define OCTAVO_OPTIMIZER(name) OptimizerEntry name##_optimizer();
#include "optim/optimizer_list.inc"
#undef OCTAVO_OPTIMIZER

namespace {

constexpr std::int64_t chunk_elements = 1 << 14;
constexpr std::int64_t block_elements = 1 << 11;  // in the L1 cache yet when they are looked at
static_assert(square_chunk % block_elements == 0);
constexpr std::int64_t most_column_chunks = 32;
constexpr std::int64_t most_square_elements = 1 << 20;

/// A parameter as rows, one for each index of the first dimension; a vector is one.
struct Rows {
  std::int64_t elements, count, size, columns;
  explicit Rows(const Shape& shape)
      : elements(shape.elements()),
        count(shape.rank() > 1 ? shape[0] : 1),
        size(elements > 0 ? elements / count : 1),
        columns(shape.rank() > 0 ? shape.back() : 1) {}
};

/// Of so many elements each: as many as begin a chunk of squares anew.
std::int64_t rows_of_square_chunks(std::int64_t row) { return square_chunk / std::gcd(square_chunk, row); }

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

bool Optimizer::tells_squares(const Shape& shape) {
  const Rows rows(shape);
  return rows.elements > 0 &&
         std::min(rows.count, rows_of_square_chunks(rows.size)) * rows.size <= most_square_elements;
}

void Optimizer::step(std::span<const ParameterUpdate> updates, const UpdateStep& step,
                     const kernels::Parallel& parallel) {
  require(updates.size() == parameters_.size(), Errc::internal, "optimizer: ", updates.size(),
          " updates for ", parameters_.size(), " parameters");
  begin_step(updates, step, parallel);
  update_all(updates, step, parallel);
}

void Optimizer::update_all(std::span<const ParameterUpdate> updates, const UpdateStep& step,
                           const kernels::Parallel& parallel) {
  chunks_.clear();
  columns_.clear();
  for (std::size_t i = 0; i < updates.size(); ++i)
    if (!updates[i].by_segments) add_chunks(i, updates[i]);
  parallel(std::ssize(chunks_), [&](std::int64_t number) {
    const Chunk& chunk = chunks_[static_cast<std::size_t>(number)];
    update_chunk(chunk, updates[chunk.parameter], step);
  });
  join_columns(updates);
}

void Optimizer::add_chunks(std::size_t parameter, const ParameterUpdate& update) {
  const Rows rows(parameters_[parameter].shape);
  const bool columns = update.maxima != nullptr && update.row_factor != nullptr;
  if (update.maxima != nullptr) {
    const bool known = update.gradient != nullptr && rows.elements > 0;
    update.maxima->rows.assign(static_cast<std::size_t>(known ? rows.count : 0), 0);
    update.maxima->columns.assign(static_cast<std::size_t>(known && columns ? rows.columns : 0), 0);
  }
  if (update.gradient == nullptr || rows.elements == 0) return;
  // Each chunk has maxima of columns of its own: few chunks then.
  std::int64_t in_chunk = columns ? (rows.count + most_column_chunks - 1) / most_column_chunks
                                  : std::max<std::int64_t>(1, chunk_elements / rows.size);
  if (update.squares != nullptr) {
    const std::int64_t unit = rows_of_square_chunks(rows.size);
    in_chunk = (in_chunk + unit - 1) / unit * unit;
  }
  for (std::int64_t row = 0; row < rows.count; row += in_chunk) {
    const std::int64_t end = std::min(row + in_chunk, rows.count);
    chunks_.push_back({parameter, row * rows.size, end * rows.size, columns ? std::ssize(columns_) : -1});
    if (columns) columns_.resize(columns_.size() + static_cast<std::size_t>(rows.columns), 0);
  }
}

void Optimizer::update_chunk(const Chunk& chunk, const ParameterUpdate& update, const UpdateStep& step) {
  for (std::int64_t begin = chunk.begin, end = 0; begin < chunk.end; begin = end) {
    end = std::min(begin + block_elements, chunk.end);
    if (update.squares != nullptr) {
      double& sum = update.squares[begin / square_chunk];
      sum = add_squares(begin % square_chunk == 0 ? 0 : sum, update.gradient + begin, end - begin, false);
    }
    update_range(chunk.parameter, update, step, begin, end);
    if (update.maxima != nullptr) note_maxima(chunk, update, begin, end);
  }
}

void Optimizer::note_maxima(const Chunk& chunk, const ParameterUpdate& update, std::int64_t begin,
                            std::int64_t end) {
  const Rows rows(parameters_[chunk.parameter].shape);
  for (std::int64_t at = begin, next = 0; at < end; at = next) {
    const std::int64_t row = at / rows.size;
    next = std::min(end, (row + 1) * rows.size);
    std::uint32_t& most = update.maxima->rows[static_cast<std::size_t>(row)];
    most = std::max(most, kernels::largest_magnitude(update.value + at, next - at));
    if (chunk.columns_at < 0) continue;
    std::uint32_t* const columns = columns_.data() + chunk.columns_at;
    for (std::int64_t i = at, column = at % rows.columns, count = 0; i < next; i += count, column = 0) {
      count = std::min(rows.columns - column, next - i);
      kernels::raise_maxima(update.value + i, update.row_factor[row], count, columns + column);
    }
  }
}

void Optimizer::join_columns(std::span<const ParameterUpdate> updates) const {
  for (const Chunk& chunk : chunks_) {
    if (chunk.columns_at < 0) continue;
    std::vector<std::uint32_t>& all = updates[chunk.parameter].maxima->columns;
    const std::uint32_t* const of_chunk = columns_.data() + chunk.columns_at;
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = std::max(all[i], of_chunk[i]);
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
