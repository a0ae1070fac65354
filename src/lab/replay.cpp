#include "lab/replay.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iomanip>
#include <map>
#include <numbers>
#include <sstream>

#include "precision/controller.h"
#include "precision/histogram.h"

namespace octavo {
namespace {

/// One layer of the recording, with the policy's slots for it.
class LayerReplay {
 public:
  LayerReplay(const OperandRecord& first, const PrecisionSettings& settings, std::int64_t steps_per_epoch)
      : layers_{{first.layer}} {
    PrecisionSettings whole = settings;
    whole.keep_fp32 = {};  // exemptions are for training
    controller_ = std::make_unique<Controller>(whole, layers_, slots_, steps_per_epoch);
  }

  /// The three operands of one step.
  void step(const std::map<Operand, const OperandRecord*>& records, std::vector<ReplayRow>& rows) {
    if (slots_.size() == 0) add_slots(records);
    const std::int64_t step = records.begin()->second->step;
    controller_->begin_step(step);
    const std::size_t first = rows.size();
    for (int i = 0; i < slots_.size(); ++i) rows.push_back(show(slots_[i], *records.at(slots_[i].operand)));
    controller_->end_step(step, {});
    for (int i = 0; i < slots_.size(); ++i) note_choice(slots_[i], rows[first + static_cast<std::size_t>(i)]);
  }

 private:
  void add_slots(const std::map<Operand, const OperandRecord*>& records) {
    const LayerFormats& f = layers_[0].formats;
    const bool unsigned_x = records.at(Operand::activation)->non_negative;
    const auto add = [&](const ProductFormat& product, Operand data, Operand other, const char* name) {
      if (!product.integer) return;
      for (const auto& [operand, format] : {std::pair(data, product.data), std::pair(other, product.other)}) {
        SlotFormat granted = format;
        granted.unsigned_ok &= operand == Operand::activation && unsigned_x;
        slots_.find_or_add(operand, layers_[0].info.name, granted, layers_[0].info.name,
                           layers_[0].info.name + "." + name);
      }
    };
    add(f.forward, Operand::activation, Operand::weight, "forward");
    add(f.grad_input, Operand::gradient, Operand::weight, "grad_input");
    add(f.grad_weight, Operand::activation, Operand::gradient, "grad_weight");
  }

  /// Fills the slot as a quantize pass over the recorded values would.
  static ReplayRow show(Slot& slot, const OperandRecord& record) {
    const double qmax = largest_integer(slot.format), maximum = record.max_abs;
    const bool held = slot.mode == ScaleMode::held && slot.clip > 0;
    double clip = held ? slot.clip : maximum;
    if (slot.format.fixed_clip > 0) clip = slot.format.fixed_clip;
    if (clip > 0) clip = qmax * scale_of_range(slot.format, static_cast<float>(clip)).scale;
    slot.stats = {};
    slot.stats.max_bits = std::bit_cast<std::uint32_t>(record.max_abs);
    slot.stats.saturated = count_above(record.histogram, clip);
    slot.elements = record.elements;
    slot.step_clip = static_cast<float>(clip);
    if (clip > 0) {
      const double rms =
          summarize(record.histogram, record.max_abs).sigma / (mean_range(slot, record, clip) / qmax);
      slot.stats.sum_square = static_cast<std::int64_t>(rms * rms * static_cast<double>(record.elements));
    }
    if (slot.wanted.histogram) slot.histogram = record.histogram;
    if (slot.wanted.histogram && has_sample_scales(slot.format.granularity))
      slot.sample_max = record.sample_max;
    const bool channels = slot.format.granularity == ScaleGranularity::channel;
    if (channels) {
      slot.channel_max.clear();
      slot.channel_max.reserve(record.channels.size());
      for (const ChannelSummary& channel : record.channels) slot.channel_max.push_back(channel.max_abs);
    }
    if (slot.wanted.channels)
      slot.channels = channels ? record.channels : std::vector{summarize(record.histogram, record.max_abs)};

    ReplayRow row{record.step, record.layer.name, slot.key, slot.operand, slot.format.bits, maximum, clip};
    row.saturated_share = static_cast<double>(slot.stats.saturated) / static_cast<double>(record.elements);
    // The measures below take a rounding step for one integer.
    if (slot.format.granularity == ScaleGranularity::tensor && slot.format.grid == IntegerGrid::every &&
        clip > 0) {
      row.cosine_distance = cosine_distance(record.histogram, clip, qmax, maximum);
      row.mean_shift = mean_shift(record.histogram, clip / qmax, qmax, maximum);
    }
    return row;
  }

  /// Root of the mean squared range. Samples are taken to differ in scale, not in shape, so that their
  /// integers have the mean square of one shape at its own range; classes lie a quarter of an octave higher
  /// on average.
  static double mean_range(const Slot& slot, const OperandRecord& record, double clip) {
    if (!has_sample_scales(slot.format.granularity) || record.sample_max.empty()) return clip;
    double squares = 0;
    for (const float range : record.sample_max)
      squares += std::min<double>(range, clip) * std::min<double>(range, clip);
    const double rounded =
        slot.format.granularity == ScaleGranularity::sample_class ? 1 / std::numbers::ln2 : 1;
    return std::sqrt(rounded * squares / static_cast<double>(record.sample_max.size()));
  }

  static std::int64_t count_above(const MagnitudeHistogram& histogram, double clip) {
    std::uint64_t above = 0;
    for (int bin = 0; bin < MagnitudeHistogram::bins; ++bin)
      if (bin_edges(bin).low > clip) above += histogram.counts[static_cast<std::size_t>(bin)];
    return static_cast<std::int64_t>(above);
  }

  static void note_choice(const Slot& slot, ReplayRow& row) {
    row.bits = slot.format.bits;
    row.learning_rate_factor = slot.learning_rate_factor;
  }

  std::vector<Layer> layers_;
  SlotTable slots_;
  std::unique_ptr<Controller> controller_;
};

struct Mean {
  double sum = 0, worst = 0;
  std::int64_t count = 0;
  void add(double value) {
    sum += value;
    worst = std::max(worst, value);
    ++count;
  }
  std::string text(int digits) const {
    std::ostringstream out;
    out << std::fixed << std::setprecision(digits);
    if (count == 0) return "-";
    out << sum / static_cast<double>(count) << " / " << worst;
    return out.str();
  }
};

}  // namespace

std::vector<ReplayRow> replay(const Recording& recording, const PrecisionSettings& settings) {
  const auto steps_per_epoch = recording.facts.at("steps_per_epoch").get<std::int64_t>();
  std::map<std::string, LayerReplay> layers;
  std::map<std::string, std::map<Operand, const OperandRecord*>> seen;  // of the step that is being read
  std::vector<ReplayRow> rows;
  for (const OperandRecord& record : recording.records) {
    auto& operands = seen[record.layer.name];
    operands[record.operand] = &record;
    if (operands.size() < 3) continue;
    auto found = layers.find(record.layer.name);
    if (found == layers.end())
      found = layers.try_emplace(record.layer.name, record, settings, steps_per_epoch).first;
    found->second.step(operands, rows);
    operands.clear();
  }
  return rows;
}

std::string replay_table(const std::map<std::string, std::vector<ReplayRow>>& by_policy) {
  std::ostringstream out;
  out << "Means over layers and steps / largest value\n\n"
      << "| policy | operand | bits | clip / max | cosine distance | shift of the mean | saturated % | "
         "learning-rate factor |\n|---|---|---|---|---|---|---|---|\n";
  for (const auto& [policy, rows] : by_policy)
    for (const Operand operand : {Operand::weight, Operand::activation, Operand::gradient}) {
      Mean bits, clip, distance, shift, saturated, factor;
      for (const ReplayRow& row : rows) {
        if (row.operand != operand) continue;
        bits.add(row.bits);
        if (row.max_abs > 0) clip.add(row.clip / row.max_abs);
        if (row.cosine_distance >= 0) distance.add(row.cosine_distance);
        if (row.mean_shift >= 0) shift.add(row.mean_shift);
        saturated.add(100 * row.saturated_share);
        factor.add(row.learning_rate_factor);
      }
      if (bits.count == 0) continue;
      out << "| " << policy << " | " << operand_name(operand) << " | " << bits.text(1) << " | "
          << clip.text(3) << " | " << distance.text(5) << " | " << shift.text(5) << " | " << saturated.text(3)
          << " | " << factor.text(3) << " |\n";
    }
  return out.str();
}

nlohmann::ordered_json replay_json(const std::map<std::string, std::vector<ReplayRow>>& by_policy) {
  nlohmann::ordered_json all = nlohmann::ordered_json::object();
  for (const auto& [policy, rows] : by_policy) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const ReplayRow& row : rows) {
      nlohmann::ordered_json item{{"step", row.step},
                                  {"layer", row.layer},
                                  {"slot", row.slot},
                                  {"operand", operand_name(row.operand)},
                                  {"bits", row.bits},
                                  {"max_abs", row.max_abs},
                                  {"clip", row.clip},
                                  {"saturated_share", row.saturated_share},
                                  {"learning_rate_factor", row.learning_rate_factor}};
      if (row.cosine_distance >= 0) item["cosine_distance"] = row.cosine_distance;
      if (row.mean_shift >= 0) item["mean_shift"] = row.mean_shift;
      list.push_back(std::move(item));
    }
    all[policy] = std::move(list);
  }
  return all;
}

}  // namespace octavo
