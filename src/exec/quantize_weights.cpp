// Weights to integers: each copy's scales, then one pass for the copies of a layer.
#include <algorithm>
#include <array>
#include <bit>

#include "core/timed.h"
#include "exec/quantize_slot.h"
#include "exec/weight_transform.h"

namespace octavo {
namespace {

/// What a copy is made of: values times factors, and what is known of them.
struct Source {
  const float *values, *factor;
  std::span<const std::uint32_t> row_max, column_max;
};

// Rows of output channels are what the chain calls samples, and so does the slot while this lives. In
// depthwise layers they are the input channels.
class RowsAsSamples {
 public:
  RowsAsSamples(Slot& slot, const Weights& weights) : slot_(slot), granularity_(slot.format.granularity) {
    const bool depthwise = weights.shape.back() == 1 && weights.shape[0] == weights.groups;
    if (slot.per_output_channel || (depthwise && granularity_ == ScaleGranularity::channel))
      slot.format.granularity = ScaleGranularity::sample;
  }
  RowsAsSamples(const RowsAsSamples&) = delete;
  RowsAsSamples& operator=(const RowsAsSamples&) = delete;
  ~RowsAsSamples() { slot_.format.granularity = granularity_; }

 private:
  Slot& slot_;
  ScaleGranularity granularity_;
};

Source source_of(Runtime& runtime, const Weights& weights, const WeightCopy& copy) {
  if (weights.writer != nullptr) return {.values = weights.values, .factor = copy.factor};
  const Slot& slot = *copy.slot;
  Source source{weights.values, copy.factor, weights.row_max, copy.column_max};
  const std::int64_t elements = weights.shape.elements(), row = elements / weights.shape[0];
  if (slot.format.tanh) {
    float* squeezed = runtime.statistics_buffer(elements);
    squeeze_weights(source.values, elements, squeezed);
    source = {.values = squeezed, .factor = source.factor};
  }
  // Statistics are those of the products with the factors; maxima of rows that nobody knows take a pass too.
  const bool by_channel = slot.format.granularity == ScaleGranularity::channel;
  if (source.factor != nullptr &&
      (slot.wanted.histogram || slot.wanted.channels || (!by_channel && source.row_max.empty()))) {
    float* folded = runtime.statistics_buffer(elements);
    for (std::int64_t i = 0; i < elements; ++i) folded[i] = source.values[i] * source.factor[i / row];
    source = {.values = folded, .factor = nullptr};
  }
  return source;
}

// Rounding keeps the order of products: the largest of a filter times its factor is the largest.
void merge_row_maxima(Slot& slot, std::span<const std::uint32_t> row_max, const float* factor) {
  const bool each = slot.format.granularity != ScaleGranularity::tensor;
  for (std::size_t k = 0; k < row_max.size(); ++k) {
    std::uint32_t bits = row_max[k];
    if (factor != nullptr && bits < infinity_bits)
      bits = std::bit_cast<std::uint32_t>(std::bit_cast<float>(bits) * factor[k]);
    std::uint32_t& most = slot.max_bits[each ? k : 0];
    most = std::max(most, bits);
  }
}

void take_channel_maxima(Slot& slot, Runtime& runtime, const kernels::Chain& filters, const float* factor) {
  const Timed timed(runtime.precision_seconds);
  const kernels::WeightShape shape{filters.n, filters.w, filters.c, 1};
  const std::span<std::uint32_t> scratch =
      runtime.memory.take<std::uint32_t>(static_cast<std::size_t>(kernels::weight_maxima_words(shape)));
  kernels::weight_maxima(shape, filters.x.as<float>(), factor, slot.max_bits.data(), scratch.data(),
                         runtime.parallel);
}

// slot.max_bits of filters [k, taps, c] that share scales: from what is known, or by a pass.
void find_maxima(Slot& slot, Runtime& runtime, const kernels::Chain& chain, const Source& filters) {
  const std::size_t count = slot.scale.size();
  const bool by_channel = slot.format.granularity == ScaleGranularity::channel;
  if (filters.factor == nullptr && (by_channel || filters.row_max.empty()))
    return look_for_maximum(slot, runtime, chain, count);
  slot.max_bits.assign(count, 0);
  if (!by_channel)
    merge_row_maxima(slot, filters.row_max, filters.factor);
  else if (filters.column_max.empty())
    take_channel_maxima(slot, runtime, chain, filters.factor);
  else
    slot.max_bits.assign(filters.column_max.begin(), filters.column_max.end());
}

// The scales of the filters; the slot then holds these alone. `counted`: their maxima are statistics too.
void choose_filter_scale(Slot& slot, Runtime& runtime, const kernels::Chain& chain, const Source& filters,
                         bool counted) {
  const std::size_t count = scale_count(slot.format.granularity, chain);
  slot.scale.resize(count);
  slot.inverse_scale.resize(count);
  const std::span<float> ranges = runtime.memory.take<float>(count);
  const bool given = given_ranges(slot, Phase::train, ranges);
  for (std::size_t i = 0; given && i < count; ++i) set_scale(slot, i, ranges[i]);
  if (!given || counted) find_maxima(slot, runtime, chain, filters);
  if (!given) scales_from_maxima(slot, runtime);
  if (counted) merge_channel_maxima(slot);
}

kernels::WeightShape shape_of(const Weights& weights) {
  const Shape& shape = weights.shape;
  return {shape[0], shape.elements() / (shape[0] * shape.back()), shape.back(), weights.groups};
}

/// One copy as it is made.
class CopyPass {
 public:
  CopyPass(Runtime& runtime, const Weights& weights, const WeightCopy& copy)
      : runtime_(runtime),
        slot_(*copy.slot),
        rows_(*copy.slot, weights),
        source_(source_of(runtime, weights, copy)),
        shape_(shape_of(weights)),
        writer_(weights.writer),
        ahead_(copy.ahead),
        in_place_(source_.values == weights.values),
        pass_(shape_, plane_count(copy.slot->format.bits), copy.targets, source_.factor),
        scale_(runtime.memory),
        inverse_scale_(runtime.memory) {}
  kernels::WeightPass& pass() { return pass_; }
  const kernels::WeightWriter* writer() const { return writer_; }
  /// Scales by input channel: each group of filters reads input channels of its own.
  std::int64_t parts() const {
    return slot_.format.granularity == ScaleGranularity::channel ? shape_.groups : 1;
  }
  bool joins(const CopyPass& other) const {
    return in_place_ && other.in_place_ && parts() == 1 && other.parts() == 1 &&
           plane_count(slot_.format.bits) == plane_count(other.slot_.format.bits);
  }

  /// Chooses the scales of the filters from `first` on and calls `quantize` with their chain.
  void run_part(std::int64_t first, FunctionRef<void(kernels::Chain&)> quantize) {
    const std::int64_t rows = shape_.k / parts();
    const kernels::Chain chain{
        .n = rows, .w = shape_.taps, .c = shape_.c, .x = source_.values + first * shape_.row()};
    Source filters = source_;
    if (filters.factor != nullptr) filters.factor += first;
    if (!filters.row_max.empty())
      filters.row_max =
          filters.row_max.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows));
    choose_filter_scale(slot_, runtime_, chain, filters, counts_maxima());
    run_tail(chain, describe(slot_, runtime_, static_cast<std::uint64_t>(first * shape_.row())), quantize);
    for (std::size_t i = 0; i < slot_.scale.size(); ++i)
      scale_.push_back(slot_.scale[i]), inverse_scale_.push_back(slot_.inverse_scale[i]);
  }

  void finish() {
    pass_.finish(runtime_.parallel);
    slot_.scale.assign(scale_.values().begin(), scale_.values().end());
    slot_.inverse_scale.assign(inverse_scale_.values().begin(), inverse_scale_.values().end());
  }

  /// Adds to the step in progress what was seen before it.
  void count() {
    const kernels::Chain chain{.n = shape_.k, .w = shape_.taps, .c = shape_.c, .x = source_.values};
    refuse_non_finite(slot_, runtime_, ahead_->max_bits);
    count_tail(slot_, *ahead_, shape_.k * shape_.row());
    if (!counts_maxima()) return;
    find_maxima(slot_, runtime_, chain, source_);
    merge_channel_maxima(slot_);
  }

 private:
  bool counts_maxima() const { return slot_.wants_maxima && writer_ == nullptr && parts() == 1; }

  void run_tail(kernels::Chain chain, const kernels::Quantize& quantize,
                FunctionRef<void(kernels::Chain&)> pass) {
    if (writer_ == nullptr) return octavo::run_tail(runtime_, slot_, chain, quantize, true, pass);
    *ahead_ = {};
    chain.quantize = &quantize;
    chain.stats = ahead_;
    pass(chain);
  }

  Runtime& runtime_;
  Slot& slot_;
  RowsAsSamples rows_;
  Source source_;
  kernels::WeightShape shape_;
  const kernels::WeightWriter* writer_;
  kernels::QuantizeStats* ahead_;
  bool in_place_;
  kernels::WeightPass pass_;
  NodeList<float> scale_, inverse_scale_;  // of all parts
};

void run_alone(Runtime& runtime, CopyPass& copy, std::int64_t filters) {
  copy.pass().begin(runtime.integers(copy.pass().plain_bytes()));
  for (std::int64_t first = 0; first < filters; first += filters / copy.parts())
    copy.run_part(first, [&](kernels::Chain& chain) {
      chain.scratch = runtime.scratch(kernels::chain_scratch_bytes(chain));
      const kernels::WeightRun run{copy.pass(), chain};
      kernels::WeightPass::run({&run, 1}, first, runtime.parallel, copy.writer());
    });
  copy.finish();
}

void run_together(Runtime& runtime, CopyPass& one, CopyPass& two) {
  const std::int64_t plain = one.pass().plain_bytes();
  std::int8_t* const integers = runtime.integers(plain + two.pass().plain_bytes());
  one.pass().begin(integers);
  two.pass().begin(integers + plain);
  one.run_part(0, [&](kernels::Chain& first) {
    two.run_part(0, [&](kernels::Chain& second) {
      const std::int64_t bytes = (kernels::chain_scratch_bytes(first) + 63) / 64 * 64;
      first.scratch = runtime.scratch(bytes + kernels::chain_scratch_bytes(second));
      second.scratch = static_cast<std::byte*>(first.scratch) + bytes;
      const std::array<kernels::WeightRun, 2> runs{{{one.pass(), first}, {two.pass(), second}}};
      kernels::WeightPass::run(runs, 0, runtime.parallel, one.writer());
    });
  });
  one.finish();
  two.finish();
}

}  // namespace

void quantize_weights(Runtime& runtime, const Weights& weights, std::span<const WeightCopy> copies) {
  const std::int64_t filters = weights.shape[0];
  if (copies.size() == 2) {
    CopyPass one(runtime, weights, copies[0]), two(runtime, weights, copies[1]);
    if (one.joins(two)) return run_together(runtime, one, two);
  }
  for (const WeightCopy& copy : copies) {
    CopyPass alone(runtime, weights, copy);
    run_alone(runtime, alone, filters);
  }
}

bool quantizes_ahead(Runtime& runtime, const Weights& weights, std::span<const WeightCopy> copies,
                     std::int64_t unit) {
  const kernels::WeightShape shape = shape_of(weights);
  const int planes = plane_count(copies[0].slot->format.bits);
  if (copies.size() > kernels::most_weight_runs) return false;
  for (const WeightCopy& copy : copies) {
    Slot& slot = *copy.slot;
    if (slot.format.tanh || slot.format.rounding != RoundingMode::nearest_even ||
        plane_count(slot.format.bits) != planes || slot.wanted.histogram || slot.wanted.channels)
      return false;
    const RowsAsSamples rows(slot, weights);
    const bool by_channel = slot.format.granularity == ScaleGranularity::channel;
    if (by_channel && shape.groups > 1) return false;
    const kernels::Chain chain{.n = shape.k, .w = shape.taps, .c = shape.c};
    if (!given_ranges(slot, Phase::train,
                      runtime.memory.take<float>(scale_count(slot.format.granularity, chain))))
      return false;
  }
  return kernels::WeightBlocks(shape, 0, shape.k, planes).whole(unit);
}

void count_weights(Runtime& runtime, const Weights& weights, std::span<const WeightCopy> copies) {
  // The last first: so passes that have nested tails meet Inf and NaN.
  for (auto copy = copies.rbegin(); copy != copies.rend(); ++copy) CopyPass(runtime, weights, *copy).count();
}

}  // namespace octavo
