#include "precision/slots.h"

#include <algorithm>
#include <sstream>

namespace octavo {

const char* operand_name(Operand operand) {
  static constexpr const char* names[] = {"weight", "activation", "gradient"};
  return names[static_cast<int>(operand)];
}

const char* granularity_name(ScaleGranularity granularity) {
  static constexpr const char* names[] = {"tensor", "channel", "sample", "sample class"};
  return names[static_cast<int>(granularity)];
}

namespace {

std::string within(float fixed_clip) {
  std::ostringstream text;
  if (fixed_clip > 0) text << " within " << fixed_clip;
  return text.str();
}

}  // namespace

std::string format_name(const SlotFormat& format) {
  static constexpr const char* grids[] = {"", " odd", " flagged"};
  return (format.unsigned_ok ? "u" : "s") + std::to_string(format.bits) + " " +
         granularity_name(format.granularity) +
         (format.rounding == RoundingMode::stochastic ? " stochastic" : " nearest") +
         (format.power_of_two ? " 2^n" : "") + grids[static_cast<int>(format.grid)] +
         (format.channel_factors ? " by channel" : "") + (format.tanh ? " tanh" : "") +
         within(format.fixed_clip);
}

RangeScale scale_of_range(const SlotFormat& format, float range) {
  return kernels::scale_of_range(range, static_cast<float>(largest_integer(format)), format.power_of_two,
                                 static_cast<kernels::Grid>(format.grid));
}

int SlotTable::find_or_add(Operand operand, const std::string& source, const SlotFormat& format,
                           const std::string& layer, const std::string& member) {
  const std::string key = source + " " + operand_name(operand) + " " + format_name(format);
  int index = 0;
  while (index < size() && slots_[static_cast<std::size_t>(index)].key != key) ++index;
  if (index == size()) {
    Slot& slot = slots_.emplace_back();
    slot.key = key;
    slot.layer = layer;
    slot.operand = operand;
    slot.format = format;
  }
  std::vector<std::string>& members = slots_[static_cast<std::size_t>(index)].members;
  if (std::find(members.begin(), members.end(), member) == members.end()) members.push_back(member);
  return index;
}

Slot* SlotTable::find(const std::string& key) {
  const auto found =
      std::find_if(slots_.begin(), slots_.end(), [&](const Slot& slot) { return slot.key == key; });
  return found == slots_.end() ? nullptr : &*found;
}

}  // namespace octavo
