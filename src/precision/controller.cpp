#include "precision/controller.h"

#include <fnmatch.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "config/problems.h"
#include "core/check.h"
#include "precision/registry.h"
#include "sample_classes.h"

namespace octavo {
namespace {

// precision.weight_range: held. A larger clipped share of a weight takes its maximum in the next step.
constexpr double weight_saturation_limit = 0.01;

constexpr std::int64_t log_period = 100;  // steps between routine lines of one slot in precision.jsonl

bool matches(const std::string& pattern, const LayerInfo& layer) {
  if (pattern == "@first_conv") return layer.op == "conv2d" && layer.first_of_its_op;
  if (pattern.starts_with("@")) return pattern.substr(1) == layer.op;
  return fnmatch(pattern.c_str(), layer.name.c_str(), 0) == 0;
}

void require_free_axis(const LayerInfo& layer, const char* product, const SlotFormat& format,
                       ScaleGranularity contracted) {
  require(format.granularity != contracted, Errc::config, "layer '", layer.name, "': the ", product,
          " product contracts the ", granularity_name(contracted), " axis, so no scale can lie on it");
  require(format.bits >= 2 && format.bits <= 24, Errc::config, "layer '", layer.name, "': ", format.bits,
          " bits; integer operands have 2 to 24");
  require(!format.unsigned_ok || format.bits <= 8, Errc::config, "layer '", layer.name,
          "': unsigned integers have at most 8 bits, not ", format.bits);
}

void require_grid(const LayerInfo& layer, const SlotFormat& format) {
  require(format.grid != IntegerGrid::odd || (format.bits > 8 && !format.power_of_two), Errc::config,
          "layer '", layer.name, "': odd integers have more than 8 bits and free scales, not ", format.bits,
          format.power_of_two ? " bits and powers of two" : " bits");
  require(format.grid != IntegerGrid::flagged || format.bits == 15, Errc::config, "layer '", layer.name,
          "': 8 bits and a flag take 15 bits, not ", format.bits);
}

void require_factors_fit(const LayerInfo& layer, const LayerFormats& f) {
  for (const ProductFormat* product : {&f.forward, &f.grad_input, &f.grad_weight})
    for (const SlotFormat* format : {&product->data, &product->other})
      require(!format->channel_factors || (format->granularity == ScaleGranularity::sample_class &&
                                           (format == &f.grad_input.data || format == &f.grad_weight.other)),
              Errc::config, "layer '", layer.name,
              "': factors per channel are for gradients with classes of samples");
  require(!f.grad_input.integer || f.grad_input.fold_channels || !f.grad_input.data.channel_factors,
          Errc::config, "layer '", layer.name,
          "': factors per channel of G have to be folded into the weights of grad_input");
}

void require_weights_fit(const LayerInfo& layer, const char* product, const SlotFormat& format) {
  require_free_axis(layer, product, format, ScaleGranularity::sample);
  require_free_axis(layer, product, format, ScaleGranularity::sample_class);
  require(!format.unsigned_ok, Errc::config, "layer '", layer.name, "': weights are signed");
}

void check_formats(const Layer& layer) {
  const LayerFormats& f = layer.formats;
  using enum ScaleGranularity;
  require(!f.forward.fold_channels && !f.grad_weight.fold_channels, Errc::config, "layer '", layer.info.name,
          "': scales fold into the weights of grad_input alone");
  if (f.forward.integer) {
    require_free_axis(layer.info, "forward", f.forward.data, channel);
    require_weights_fit(layer.info, "forward", f.forward.other);
  }
  if (f.grad_input.integer) {
    if (!f.grad_input.fold_channels) require_free_axis(layer.info, "grad_input", f.grad_input.data, channel);
    require(!f.grad_input.fold_channels || f.grad_input.data.granularity == channel ||
                f.grad_input.data.channel_factors,
            Errc::config, "layer '", layer.info.name,
            "': only scales or factors per channel can be folded into the weights");
    require_weights_fit(layer.info, "grad_input", f.grad_input.other);
  }
  require_factors_fit(layer.info, f);
  const auto squeezes = [](const ProductFormat& product) { return product.integer && product.other.tanh; };
  require(squeezes(f.forward) == squeezes(f.grad_input), Errc::config, "layer '", layer.info.name,
          "': the forward and grad_input products share weights that this policy squeezes by tanh: both in "
          "integers, "
          "or both in fp32 (precision.products)");
  for (const ProductFormat* product : {&f.forward, &f.grad_input, &f.grad_weight})
    for (const SlotFormat* format : {&product->data, &product->other})
      if (product->integer) require_grid(layer.info, *format);
  if (f.grad_weight.integer) {
    require_free_axis(layer.info, "grad_weight", f.grad_weight.data, sample);
    require(f.grad_weight.data.granularity != sample_class, Errc::config, "layer '", layer.info.name,
            "': classes of samples are for gradients alone, not for the activations of grad_weight");
    require_free_axis(layer.info, "grad_weight", f.grad_weight.other, sample);
  }
}

std::vector<float> maxima(const Slot& slot) {
  if (slot.max_bits.size() <= 1 || slot.format.granularity != ScaleGranularity::channel)
    return {std::bit_cast<float>(slot.stats.max_bits)};
  std::vector<float> values;
  for (std::uint32_t bits : slot.max_bits) values.push_back(std::bit_cast<float>(bits));
  return values;
}

// Evaluation's range: a running mean of the training maxima.
void follow_range(Slot& slot) {
  constexpr float keep = 0.9f;
  const std::vector<float> seen = maxima(slot);
  if (slot.frozen_clip.size() != seen.size()) slot.frozen_clip = seen;
  for (std::size_t i = 0; i < seen.size(); ++i)
    slot.frozen_clip[i] = keep * slot.frozen_clip[i] + (1 - keep) * seen[i];
}

// "int16" widens both operands of one product, as SwitchBack does for its weight gradient.
void switch_product(ProductFormat& product, const std::string& setting) {
  if (setting == "fp32") product.integer = false;
  if (setting != "int16") return;
  for (SlotFormat* format : {&product.data, &product.other}) {
    format->bits = 16;
    format->unsigned_ok = false;
    format->grid = IntegerGrid::every;
  }
}

double saturated_share(const Slot& slot) {
  return static_cast<double>(slot.stats.saturated) / static_cast<double>(slot.elements);
}

// The maxima of this step where the policy sets no range. Scales without one take the smallest, as they do
// where maxima of the step itself decide.
void hold_range(const Slot& slot, SlotDecision& decision) {
  if (decision.clip > 0 || !decision.channel_clip.empty()) return;
  if (slot.format.granularity == ScaleGranularity::tensor) {
    decision.clip = std::bit_cast<float>(slot.stats.max_bits);
  } else {
    float least = std::numeric_limits<float>::infinity();
    for (const float most : slot.channel_max)
      if (kernels::usable_range(most)) least = std::min(least, most);
    if (!std::isfinite(least)) return;
    for (const float most : slot.channel_max)
      decision.channel_clip.push_back(kernels::usable_range(most) ? most : least);
  }
  decision.mode = ScaleMode::held;
  decision.saturation_limit = weight_saturation_limit;
}

const char* mode_name(ScaleMode mode) { return mode == ScaleMode::held ? "held" : "current_max"; }

void set_width(Slot& slot, int bits) {
  require(bits >= 2 && bits <= 24, Errc::internal, "slot '", slot.key, "': a policy chose ", bits, " bits");
  slot.format.bits = bits;
}

// Counts of |v| by octave, [2^e, 2^(e + 1)); zeros and denormals apart.
nlohmann::ordered_json octaves(const MagnitudeHistogram& histogram) {
  std::vector<std::uint64_t> counts;
  std::uint64_t zeros = 0;
  int first = 0;
  for (std::size_t exponent = 0; exponent < 255; ++exponent) {
    std::uint64_t count = 0;
    for (std::size_t i = 0; i < 16; ++i) count += histogram.counts[16 * exponent + i];
    if (exponent == 0) {
      zeros = count;
      continue;
    }
    if (counts.empty() && count == 0) continue;
    if (counts.empty()) first = static_cast<int>(exponent) - 127;
    counts.push_back(count);
  }
  while (!counts.empty() && counts.back() == 0) counts.pop_back();
  return {{"first_exponent", first}, {"counts", counts}, {"zeros", zeros}};
}

nlohmann::ordered_json describe_decision(const Slot& slot, const SlotFormat& format, std::int64_t step,
                                         double saturated, const SlotDecision& decision, bool overrun) {
  nlohmann::ordered_json event{{"step", step},
                               {"slot", slot.key},
                               {"layer", slot.layer},
                               {"operand", operand_name(slot.operand)},
                               {"format", format_name(format)},
                               {"bits", format.bits},
                               {"max_abs", std::bit_cast<float>(slot.stats.max_bits)},
                               {"clip", slot.step_clip},
                               {"saturated_share", saturated},
                               {"next_mode", mode_name(slot.mode)},
                               {"next_clip", slot.clip},
                               {"next_bits", slot.format.bits}};
  if (decision.deviation >= 0) event["cosine_distance"] = decision.deviation;
  if (decision.mean_shift >= 0) event["mean_shift"] = decision.mean_shift;
  if (slot.operand == Operand::gradient) event["learning_rate_factor"] = slot.learning_rate_factor;
  if (slot.wanted.histogram) event["histogram"] = octaves(slot.histogram);
  if (overrun) event["reason"] = "saturated share above the limit";
  return event;
}

}  // namespace

Controller::Controller(const PrecisionSettings& settings, std::vector<Layer>& layers, SlotTable& slots,
                       std::int64_t steps_per_epoch)
    : layers_(layers), slots_(slots), holds_weights_(settings.weight_range == "held") {
  const PolicyDef& def = find_policy(settings.policy);
  policy_ = def.make({settings.options, settings.bits, steps_per_epoch});
  resolve(settings);
  std::string unmatched;
  for (const std::string& pattern : settings.keep_fp32) {
    if (pattern == "@policy")  // its own exemptions may name kinds of layers that this model does not have
      for (const std::string& own : def.keep_fp32) keep_fp32(own);
    else if (!keep_fp32(pattern))
      unmatched +=
          (unmatched.empty() ? "precision.keep_fp32: " : "\nprecision.keep_fp32: ") + no_such_layer(pattern);
  }
  require(unmatched.empty(), Errc::config, unmatched);
}

void Controller::resolve(const PrecisionSettings& settings) {
  for (Layer& layer : layers_) {
    layer.formats = policy_->formats(layer.info);
    switch_product(layer.formats.forward, settings.products.forward);
    switch_product(layer.formats.grad_input, settings.products.grad_input);
    switch_product(layer.formats.grad_weight, settings.products.grad_weight);
    check_formats(layer);
  }
}

bool Controller::keep_fp32(const std::string& pattern) {
  bool any = false;
  for (Layer& layer : layers_) {
    if (!matches(pattern, layer.info)) continue;
    any = true;
    layer.kept_fp32 = true;
    layer.kept_by = pattern;
  }
  return any;
}

std::string Controller::no_such_layer(const std::string& pattern) const {
  std::vector<std::string> names;
  for (const Layer& layer : layers_) names.push_back(layer.info.name);
  return "'" + pattern + "' matches no layer of the model" + suggestion(pattern, names);
}

void Controller::begin_step(std::int64_t step) {
  for (int i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    slot.stats = {};
    slot.elements = 0;
    slot.step_clip = 0;
    slot.channel_max.clear();
    slot.sample_max.clear();
    slot.channel_reach.clear();
    slot.channels.clear();
    slot.channel_passes = 0;
    slot.wanted = wanted(slot, step);
    slot.wants_maxima = may_hold(slot) && slot.format.granularity != ScaleGranularity::tensor;
    if (slot.wanted.histogram) {
      slot.histogram.counts.assign(MagnitudeHistogram::bins, 0);
      slot.histogram.sums.assign(MagnitudeHistogram::bins, 0);
    }
  }
}

StatisticsRequest Controller::wanted(const Slot& slot, std::int64_t step) const {
  return policy_->wants({slot.layer, slot.operand, slot.format, step, slot.memory});
}

bool Controller::may_hold(const Slot& slot) const {
  return holds_weights_ && slot.operand == Operand::weight && !slot.format.tanh &&
         !(slot.format.fixed_clip > 0);
}

bool Controller::end_step(std::int64_t step, const EventSink& sink) {
  std::vector<SlotDecision> decisions(static_cast<std::size_t>(slots_.size()));
  for (int i = 0; i < slots_.size(); ++i)
    if (slots_[i].elements > 0) decisions[static_cast<std::size_t>(i)] = ask(slots_[i], step);
  for (int i = 0; i < slots_.size(); ++i)
    if (slots_[i].elements > 0 && may_hold(slots_[i]) && !folds_new_factors(slots_[i], decisions))
      hold_range(slots_[i], decisions[static_cast<std::size_t>(i)]);
  bool widths_changed = false;
  for (int i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    if (slot.elements > 0)
      widths_changed |= apply(slot, std::move(decisions[static_cast<std::size_t>(i)]), step, sink);
    // The update may quantize them for the next step.
    if (slot.operand == Operand::weight) slot.wanted = wanted(slot, step + 1);
  }
  return widths_changed;
}

bool Controller::folds_new_factors(const Slot& weights, const std::vector<SlotDecision>& decisions) const {
  for (int i = 0; i < slots_.size(); ++i) {
    if (decisions[static_cast<std::size_t>(i)].channel_factor.empty()) continue;
    for (const std::string& member : slots_[i].members)
      if (member.ends_with(".grad_input") && std::ranges::count(weights.members, member) > 0) return true;
  }
  return false;
}

SlotDecision Controller::ask(Slot& slot, std::int64_t step) const {
  if (slot.operand == Operand::activation) follow_range(slot);
  const auto elements = static_cast<double>(slot.elements);
  const double mean_square =
      slot.wanted.mean_square ? static_cast<double>(slot.stats.sum_square) / elements : 0;
  return policy_->decide({slot.layer, slot.operand, slot.format, step, slot.elements,
                          std::bit_cast<float>(slot.stats.max_bits), slot.step_clip, saturated_share(slot),
                          mean_square, slot.wanted.histogram ? &slot.histogram : nullptr, slot.memory,
                          slot.channel_max, slot.channel_clip, slot.channels, slot.sample_max,
                          slot.channel_factor, slot.channel_reach});
}

bool Controller::apply(Slot& slot, SlotDecision decision, std::int64_t step, const EventSink& sink) {
  const double saturated = saturated_share(slot);
  const ScaleMode mode_before = slot.mode;
  const SlotFormat before = slot.format;
  const bool overrun = slot.mode == ScaleMode::held && saturated > slot.saturation_limit;
  const bool has_clip = decision.clip > 0 || !decision.channel_clip.empty();
  slot.mode = overrun || !has_clip ? ScaleMode::current_max : decision.mode;
  slot.clip = decision.clip;
  slot.channel_clip = std::move(decision.channel_clip);
  if (!decision.channel_factor.empty()) slot.channel_factor = std::move(decision.channel_factor);
  slot.look_again = slot.mode == ScaleMode::current_max && saturated > decision.saturation_limit;
  slot.saturation_limit = decision.saturation_limit;
  slot.learning_rate_factor = decision.learning_rate_factor;
  if (decision.eval_clip > 0) slot.frozen_clip = {decision.eval_clip};
  if (decision.bits != 0) set_width(slot, decision.bits);
  const bool width_changed = slot.format != before;
  if (!sink || !(slot.mode != mode_before || width_changed || slot.wanted.histogram || slot.wanted.channels ||
                 step % log_period == 0))
    return width_changed;
  sink(describe_decision(slot, before, step, saturated, decision, overrun));
  return width_changed;
}

float Controller::learning_rate_factor(int layer) const {
  if (layer < 0) return 1;
  const std::string& name = layers_[static_cast<std::size_t>(layer)].info.name;
  float factor = 1;
  for (int i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    const bool reads = std::any_of(slot.members.begin(), slot.members.end(), [&](std::string_view member) {
      if (!member.starts_with(name)) return false;
      member.remove_prefix(name.size());
      return member == ".grad_input" || member == ".grad_weight";
    });
    if (slot.operand == Operand::gradient && reads) factor = std::min(factor, slot.learning_rate_factor);
  }
  return factor;
}

nlohmann::json Controller::state() const {
  nlohmann::json state = nlohmann::json::object();
  for (int i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    state[slot.key] = {{"mode", static_cast<int>(slot.mode)},
                       {"clip", slot.clip},
                       {"channel_clip", slot.channel_clip},
                       {"channel_factor", slot.channel_factor},
                       {"bits", slot.format.bits},
                       {"saturation_limit", slot.saturation_limit},
                       {"look_again", slot.look_again},
                       {"learning_rate_factor", slot.learning_rate_factor},
                       {"memory", slot.memory},
                       {"frozen_clip", slot.frozen_clip}};
  }
  return state;
}

void Controller::load_state(const nlohmann::json& state) {
  try {
    for (int i = 0; i < slots_.size(); ++i) {
      Slot& slot = slots_[i];
      require(state.contains(slot.key), Errc::checkpoint, "the checkpoint has no precision state for '",
              slot.key, "': it was saved with other precision settings");
      const nlohmann::json& from = state.at(slot.key);
      const int mode = from.at("mode").get<int>();
      require(mode == 0 || mode == 1, Errc::checkpoint, "precision state of '", slot.key, "': unknown mode ",
              mode);
      slot.mode = static_cast<ScaleMode>(mode);
      slot.clip = from.at("clip").get<float>();
      slot.channel_clip = from.at("channel_clip").get<std::vector<float>>();
      slot.channel_factor = from.value("channel_factor", std::vector<float>{});
      const int bits = from.at("bits").get<int>();
      require(bits >= 2 && bits <= 24, Errc::checkpoint, "precision state of '", slot.key, "': ", bits,
              " bits");
      slot.format.bits = bits;
      slot.saturation_limit = from.at("saturation_limit").get<double>();
      slot.look_again = from.value("look_again", false);
      slot.learning_rate_factor = from.at("learning_rate_factor").get<float>();
      slot.memory = from.at("memory").get<std::vector<double>>();
      slot.frozen_clip = from.at("frozen_clip").get<std::vector<float>>();
    }
  } catch (const nlohmann::json::exception& error) {
    fail(Errc::checkpoint, "precision state of the checkpoint: ", error.what());
  }
}

}  // namespace octavo
