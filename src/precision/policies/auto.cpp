// auto: octavo's own policy, built on where the error of an INT8 gradient comes from (docs/methods.md).
//   - A scale lies on every axis that its product does not contract, as long as one integer copy serves all
//     readers: W per output channel forward and per input channel backward; X unsigned where it is never
//     negative; G per sample. In the weight gradient, which contracts the samples, they fall into classes of
//     half octaves, and the reduction runs class by class. Each channel of G has a factor beside, which
//     balances the channels' reach: element (n, k) has the scale s_n f_k.
//   - Gradients are rounded stochastically, W and X to nearest.
//   - Width: rounding is a cosine distance of 1 / (12 m), m the mean square of the integers, known after
//     each step without another pass. Above `error_limit` the slot gets the next width that would meet it;
//     it gets a narrower one back when that would stay below half of the limit.
//   - Where no width is left, and only there: samples are capped at the range with the least cosine distance
//     (the rule of Unified INT8, over scales per sample), and what stays lowers the layer's learning rate.
#include <array>
#include <cmath>

#include "core/check.h"
#include "precision/clip_search.h"
#include "precision/histogram.h"
#include "precision/policies/common.h"

namespace octavo {
namespace {

constexpr std::array widths = {2, 3, 4, 5, 6, 7, 8, 16, 24};

/// A slot's numbers between steps, kept as SlotObservation::memory.
struct Memory {
  Memory(std::vector<double>& values, int bits) : values_(values) {
    if (values_.size() != size) values_ = {0, 0, 0, 0, 0, static_cast<double>(bits), 0, 0};
  }
  double& steps_asking() { return values_[0]; }  // in a row, for another width
  double& interval() { return values_[1]; }      // between clip searches; 0: no deviation stays
  double& next_search() { return values_[2]; }
  double& cap() { return values_[3]; }
  double& distance() { return values_[4]; }  // left at the cap
  double& looks() { return values_[6]; }     // at the channels' reach
  double& next_look() { return values_[7]; }
  int first_bits() const { return static_cast<int>(values_[5]); }
  void forget_cap() { interval() = next_search() = cap() = distance() = 0; }

  static bool wants_look(const std::vector<double>& values, std::int64_t step) {
    return values.size() != size || static_cast<double>(step) >= values[7];
  }
  static bool wants_search(const std::vector<double>& values, std::int64_t step) {
    return values.size() == size && values[1] > 0 && static_cast<double>(step) >= values[2];
  }

 private:
  static constexpr std::size_t size = 8;
  std::vector<double>& values_;
};

class Auto final : public Policy {
 public:
  explicit Auto(const PolicyRequest& request)
      : error_limit_(request.number("error_limit")),
        patience_(request.number("patience")),
        min_bits_(static_cast<int>(request.number("min_bits"))),
        max_bits_(static_cast<int>(request.number("max_bits"))),
        search_interval_(request.number("search_interval")),
        longest_interval_(request.number("longest_interval")),
        alpha_(request.number("alpha")),
        beta_(request.number("beta")),
        look_interval_(request.number("look_interval")),
        decay_(static_cast<float>(request.number("range_decay"))),
        saturation_limit_(request.number("saturation_limit")) {
    require(min_bits_ <= max_bits_, Errc::config, "precision.options: min_bits ", min_bits_,
            " is above max_bits ", max_bits_);
    const SlotFormat w{.bits = static_cast<int>(request.bits.weight),
                       .granularity = ScaleGranularity::channel};
    SlotFormat x{.bits = static_cast<int>(request.bits.activation)};
    x.unsigned_ok = x.bits <= 8 && request.number("unsigned_activations") != 0;
    const SlotFormat g{.bits = static_cast<int>(request.bits.gradient),
                       .granularity = ScaleGranularity::sample_class,
                       .rounding = RoundingMode::stochastic,
                       .channel_factors = request.number("channel_factors") != 0};
    formats_ = {{true, x, w}, {true, g, w, g.channel_factors}, {true, x, g}};
  }

  LayerFormats formats(const LayerInfo&) const override { return formats_; }

  StatisticsRequest wants(const SlotState& slot) const override {
    return {.histogram = Memory::wants_search(slot.memory, slot.step),
            .reach = slot.format.channel_factors && Memory::wants_look(slot.memory, slot.step),
            .mean_square = slot.operand == Operand::gradient};
  }

  SlotDecision decide(const SlotObservation& seen) const override {
    if (seen.operand == Operand::weight || !(seen.max_abs > 0)) return {};
    if (seen.operand == Operand::activation)
      return hold(following_range(seen.clip, seen.max_abs, decay_), saturation_limit_);
    Memory memory(seen.memory, seen.format.bits);
    const double error = rounding_error(seen);
    SlotDecision decision;
    decision.deviation = error;
    decision.saturation_limit = saturation_limit_;
    if (!seen.channel_reach.empty()) decision.channel_factor = balanced(seen, memory);
    const int wanted = wanted_width(seen.format.bits, memory.first_bits(), error);
    memory.steps_asking() = wanted != seen.format.bits ? memory.steps_asking() + 1 : 0;
    if (memory.steps_asking() >= patience_) {
      memory.steps_asking() = 0;
      memory.forget_cap();
      decision.bits = wanted;
      return decision;
    }
    // Without a cap the error is what it is; with one it has been lowered by it, so it must fall further.
    const bool stays = wanted == seen.format.bits && error > (memory.interval() > 0 ? 0.5 : 1) * error_limit_;
    if (!stays) memory.forget_cap();
    return stays ? cap(seen, memory, std::move(decision)) : decision;
  }

 private:
  /// The channels' factors, the largest 1, so that all reach as far as each other: times the reach at the
  /// first look, then times its root, since the reach of one batch is not that of the next.
  std::vector<float> balanced(const SlotObservation& seen, Memory& memory) const {
    // A channel that was silent and speaks again raises a sample's scale by up to 1 / least, and with it the
    // noise of all others; at 1/16 a channel already adds 1/256 of the noise it would add at 1.
    constexpr float least = 0x1p-4f;
    std::vector<float> factors(seen.channel_factor.begin(), seen.channel_factor.end());
    for (std::size_t k = 0; k < factors.size(); ++k)
      factors[k] *= memory.looks() == 0 ? seen.channel_reach[k] : std::sqrt(seen.channel_reach[k]);
    const float largest = *std::max_element(factors.begin(), factors.end());
    for (float& factor : factors) factor = largest > 0 ? std::max(factor / largest, least) : 1;
    const double interval = std::clamp(std::exp2(memory.looks() - 2), 1.0, look_interval_);
    memory.next_look() = static_cast<double>(seen.step) + interval;
    ++memory.looks();
    return factors;
  }

  static double rounding_error(const SlotObservation& seen) {
    return seen.mean_square > 0 ? std::min(1.0, 1 / (12 * seen.mean_square)) : 1;
  }

  /// A width above 8 bits that the configuration asked for is not taken back.
  bool allowed(int bits, int first) const {
    return bits >= (first > 8 ? std::max(first, min_bits_) : min_bits_) && bits <= max_bits_;
  }

  /// The narrowest width that meets the limit when the present one does not, the widest there is when none
  /// does; a narrower one when it would stay below half of the limit, so that no slot swings.
  int wanted_width(int bits, int first, double error) const {
    const auto error_at = [&](int width) {
      const double ratio = static_cast<double>(quantized_max(bits)) / quantized_max(width);
      return error * ratio * ratio;
    };
    int wanted = bits;
    for (const int width : widths) {
      if (!allowed(width, first)) continue;
      if (width < bits && error_at(width) < 0.5 * error_limit_) return width;
      if (width <= bits || error <= error_limit_) continue;
      wanted = width;
      if (error_at(width) <= error_limit_) break;
    }
    return wanted;
  }

  /// Searches the cap where a histogram is at hand; the interval doubles while the cap stays where it is.
  SlotDecision cap(const SlotObservation& seen, Memory& memory, SlotDecision decision) const {
    if (memory.interval() == 0) {
      memory.interval() = search_interval_;
      memory.next_search() = static_cast<double>(seen.step) + 1;
      memory.distance() = decision.deviation;
    }
    if (seen.histogram != nullptr) {
      const SampleRanges ranges(seen);
      const auto distance = [&](double cap) {
        return ranges.distance(*seen.histogram, cap, decision.deviation);
      };
      const Clip found = search_clip(distance, seen.max_abs, 16);
      const bool still = std::fabs(found.value - memory.cap()) <= 0.1 * memory.cap();
      memory.interval() = still ? std::min(2 * memory.interval(), longest_interval_) : search_interval_;
      memory.next_search() = static_cast<double>(seen.step) + memory.interval();
      memory.cap() = found.value;
      memory.distance() = found.distance;
    }
    decision.deviation = memory.distance();
    if (decision.deviation > error_limit_)
      decision.learning_rate_factor =
          static_cast<float>(std::max(std::exp(-alpha_ * decision.deviation), beta_));
    if (!(memory.cap() > 0)) return decision;
    decision.mode = ScaleMode::held;
    decision.clip = static_cast<float>(memory.cap());
    decision.saturation_limit = 1;  // what the cap clips is its choice
    return decision;
  }

  /// The ranges of the samples, and what another cap would make of them.
  class SampleRanges {
   public:
    explicit SampleRanges(const SlotObservation& seen) : seen_(seen) {}

    /// Cosine distance at `cap`: what clipping turns, and rounding noise that falls with the ranges. `error`
    /// is the rounding error at the present cap.
    double distance(const MagnitudeHistogram& histogram, double cap, double error) const {
      const ClippedSums sums = clipped_sums(histogram, cap, seen_.max_abs);
      if (!(sums.energy > 0)) return 0;
      const double noise = 2 * error * sums.energy * squares(cap) / squares(seen_.clip);
      return std::max(0.0, 1 - sums.product / std::sqrt(sums.energy * (sums.clipped + noise)));
    }

   private:
    double squares(double cap) const {
      double sum = 0;
      for (const float range : seen_.sample_max)
        sum += std::min<double>(range, cap) * std::min<double>(range, cap);
      return sum > 0 ? sum : std::min<double>(seen_.max_abs, cap) * std::min<double>(seen_.max_abs, cap);
    }
    const SlotObservation& seen_;
  };

  LayerFormats formats_;
  double error_limit_, patience_;
  int min_bits_, max_bits_;
  double search_interval_, longest_interval_, alpha_, beta_, look_interval_;
  float decay_;
  double saturation_limit_;
};

}  // namespace

PolicyDef auto_policy() {
  PolicyDef def;
  def.name = "auto";
  def.help = "octavo's own: scales on every free axis, samples in scale classes, widths from measured error";
  def.options = {
      number_option("error_limit", 1e-6, 1, "0.02", "cosine distance of a gradient that asks for more bits"),
      integer_option("patience", 1, 1e6, "10", "steps in a row before a width changes"),
      integer_option("min_bits", 2, 24, "8", "narrowest gradients; below 8 bits they are stored in 8"),
      integer_option("max_bits", 2, 24, "16", "widest gradients"),
      flag_option("unsigned_activations", true, "256 levels where activations are never negative"),
      integer_option("search_interval", 1, 1e6, "10", "steps between cap searches where no width is left"),
      integer_option("longest_interval", 1, 1e6, "1000", "it doubles up to this while the cap stays"),
      number_option("alpha", 0, 1e4, "20", "decay of the learning-rate factor exp(-alpha d) there"),
      number_option("beta", 0, 1, "0.1", "smallest learning-rate factor"),
      flag_option("channel_factors", true, "a factor per channel of the gradient beside the samples' scales"),
      integer_option("look_interval", 1, 1e6, "100", "steps between looks at the channels' reach, from 1 up"),
      range_decay_option(),
      saturation_limit_option(),
  };
  // 2: samples' ranges leave room for the terms of the channels' means; 3: factors of 1/16 at least
  def.revision = 3;
  def.make = [](const PolicyRequest& request) { return std::make_unique<Auto>(request); };
  return def;
}

}  // namespace octavo
