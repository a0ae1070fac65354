// Slots: the state of every quantized operand. The graph's edges refer to slots; kernels read their scales;
// the controller sets them between steps.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "kernels.h"
#include "octavo/precision.h"
#include "range_scale.h"

namespace octavo {

struct Slot {
  // Identity.
  std::string key;    // source edge, operand and format: stable over plans and runs
  std::string layer;  // first layer that reads it
  Operand operand = Operand::weight;
  SlotFormat format;                 // its width is state: a policy may change it between steps
  bool per_output_channel = false;   // weights of channel granularity: scales by k, else by input channel
  std::vector<std::string> members;  // "stage1.0.conv1.forward", ...: who shares these integers

  // Set by the controller between steps.
  ScaleMode mode = ScaleMode::current_max;
  float clip = 0;                     // held: per tensor; the most that scales per sample cover
  std::vector<float> channel_clip;    // held: channel granularity
  std::vector<float> channel_factor;  // channel_factors: empty until a policy sets them, all are 1 then
  double saturation_limit = 1;
  bool look_again = false;  // maxima known from before the last step clipped too much: take them by a pass
  StatisticsRequest wanted;
  bool wants_maxima = false;  // weights with several scales: channel_max too
  float learning_rate_factor = 1;
  std::vector<double> memory;      // the policy's own numbers
  std::vector<float> frozen_clip;  // activations: the range evaluation uses, per tensor or channel

  // Scales of the step in progress (1, channel or sample values), written by the quantize pass.
  std::vector<float> scale, inverse_scale;
  std::vector<std::uint32_t> max_bits;     // current_max and channels: one per scale
  std::vector<std::uint8_t> sample_class;  // sample_class: half octaves above the smallest scale
  float class_scale = 1;                   // and that scale
  std::vector<float> inverse_factor;       // channel_factors
  std::vector<float> channel_scale;        // channel_factors: class_scale times the factor

  // Seen in the step in progress, all micro-steps together; reset by the controller.
  kernels::QuantizeStats stats;
  std::vector<float> channel_max, sample_max, channel_reach;
  MagnitudeHistogram histogram;
  std::vector<ChannelSummary> channels;
  int channel_passes = 0;
  float step_clip = 0;  // largest clip used
  std::int64_t elements = 0;
};

/// Slots by key, in order of creation; references stay valid.
class SlotTable {
 public:
  /// The slot of this source edge and format; created on first use, else `member` joins it.
  int find_or_add(Operand operand, const std::string& source, const SlotFormat& format,
                  const std::string& layer, const std::string& member);
  Slot& operator[](int index) { return slots_[static_cast<std::size_t>(index)]; }
  const Slot& operator[](int index) const { return slots_[static_cast<std::size_t>(index)]; }
  int size() const { return static_cast<int>(slots_.size()); }
  Slot* find(const std::string& key);

 private:
  std::deque<Slot> slots_;
};

const char* operand_name(Operand operand);
const char* granularity_name(ScaleGranularity granularity);
std::string format_name(const SlotFormat& format);  // "s8 tensor nearest_even"

constexpr bool has_sample_scales(ScaleGranularity granularity) {
  return granularity == ScaleGranularity::sample || granularity == ScaleGranularity::sample_class;
}
/// Largest integer of a format, once `unsigned_ok` says what the edge got.
inline std::int32_t largest_integer(const SlotFormat& format) {
  if (format.grid == IntegerGrid::flagged) return 127 * 128;
  return format.unsigned_ok ? (1 << format.bits) - 1 : quantized_max(format.bits);
}
/// Scale of a range above 0 and its inverse, the same on all machines.
using kernels::RangeScale;
RangeScale scale_of_range(const SlotFormat& format, float range);

/// A layer with products and what was decided for it.
struct Layer {
  LayerInfo info;
  LayerFormats formats;
  bool kept_fp32 = false;  // by the configuration or the policy's own exemptions
  std::string kept_by;     // the pattern that matched
};

}  // namespace octavo
