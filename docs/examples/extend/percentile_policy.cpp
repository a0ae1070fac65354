// The policy percentile_int8: gradients are clipped where a set share of them lies above, by a clip that
// moves slowly; weights have a scale per channel, and so has the gradient in the weight product.
#include <octavo/precision.h>

#include <bit>

#include "parts.h"

namespace {

// The lower end of the histogram bin above which at most `share` of the values lie.
float percentile(const octavo::MagnitudeHistogram& histogram, std::int64_t elements, double share) {
  auto left = static_cast<std::uint64_t>(share * static_cast<double>(elements));
  std::size_t bin = histogram.counts.size() - 1;
  while (bin > 0 && histogram.counts[bin] <= left) left -= histogram.counts[bin--];
  return std::bit_cast<float>(static_cast<std::uint32_t>(bin + 1) << 19);
}

class Percentile final : public octavo::Policy {
 public:
  explicit Percentile(const octavo::PolicyRequest& request)
      : bits_(request.bits), share_(request.number("share")), period_(request.number("period")) {}

  // No scale may lie on an axis that the product sums over: channels of X and G in the products with W,
  // samples in the product that makes the gradient of W.
  octavo::LayerFormats formats(const octavo::LayerInfo&) const override {
    using enum octavo::ScaleGranularity;
    using enum octavo::RoundingMode;
    const octavo::SlotFormat w{static_cast<int>(bits_.weight), channel, nearest_even};
    const octavo::SlotFormat x{static_cast<int>(bits_.activation), tensor, nearest_even};
    const octavo::SlotFormat g{static_cast<int>(bits_.gradient), tensor, stochastic};
    const octavo::SlotFormat g_by_channel{static_cast<int>(bits_.gradient), channel, stochastic};
    return {{true, x, w}, {true, g, w}, {true, x, g_by_channel}};
  }

  octavo::StatisticsRequest wants(const octavo::SlotState& slot) const override {
    return {.histogram = slot.operand == octavo::Operand::gradient &&
                         slot.step % static_cast<std::int64_t>(period_) == 0};
  }

  octavo::SlotDecision decide(const octavo::SlotObservation& seen) const override {
    const bool one_scale = seen.format.granularity == octavo::ScaleGranularity::tensor;
    if (seen.operand != octavo::Operand::gradient || !one_scale) return {};
    std::vector<double>& memory = seen.memory;  // the clip; checkpoints hold it
    if (seen.histogram != nullptr) {
      const double found = percentile(*seen.histogram, seen.elements, share_);
      memory = {memory.empty() ? found : 0.5 * memory[0] + 0.5 * found};
    }
    if (memory.empty() || !(memory[0] > 0)) return {};
    return {.mode = octavo::ScaleMode::held,
            .clip = static_cast<float>(memory[0]),
            .saturation_limit = 10 * share_};
  }

 private:
  octavo::BitSettings bits_;
  double share_, period_;
};

}  // namespace

void register_percentile_policy() {
  using Type = octavo::OptionSpec::Type;
  octavo::PolicyDef policy;
  policy.name = "percentile_int8";
  policy.help = "INT8 with gradients clipped at a percentile";
  policy.options = {{"share", Type::number, 0, 0.5, "0.001", "share of the gradients that is clipped"},
                    {"period", Type::integer, 1, 1e6, "10", "steps between histograms"}};
  policy.make = [](const octavo::PolicyRequest& request) { return std::make_unique<Percentile>(request); };
  octavo::register_policy(policy);
}
