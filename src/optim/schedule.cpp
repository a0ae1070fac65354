// Learning-rate schedules in closed form, so that resuming needs no state.
#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/check.h"

namespace octavo {
namespace {

constexpr const char* names[] = {"constant", "step", "multistep", "cosine"};

double cosine(const Schedule& s, std::int64_t step) {
  const std::int64_t length = s.total_steps - s.warmup_steps;
  const std::int64_t position = std::clamp<std::int64_t>(step - s.warmup_steps, 0, length);
  if (position == length) return s.minimum;
  const double share = static_cast<double>(position) / static_cast<double>(length);
  return s.minimum + (s.base - s.minimum) * (1 + std::cos(std::numbers::pi * share)) / 2;
}

double after_drops(const Schedule& s, std::int64_t drops) {
  return s.base * std::pow(s.gamma, static_cast<double>(drops));
}

}  // namespace

ScheduleType schedule_type(const std::string& name) {
  for (int i = 0; i < 4; ++i) {
    if (name == names[i]) return static_cast<ScheduleType>(i);
  }
  fail(Errc::config, "schedule.type: '", name, "' is unknown; there are constant, step, multistep, cosine");
}

const char* schedule_name(ScheduleType type) { return names[static_cast<int>(type)]; }

void check_schedule(const Schedule& s) {
  require(std::isfinite(s.base) && s.base >= 0, Errc::config, "optimizer.lr: ", s.base,
          " must be finite and >= 0");
  require(s.warmup_steps >= 0, Errc::config, "schedule.warmup: ", s.warmup_steps, " steps; must be >= 0");
  if (s.type == ScheduleType::step || s.type == ScheduleType::multistep) {
    require(s.gamma > 0 && s.gamma <= 1, Errc::config, "schedule.gamma: ", s.gamma,
            " must be above 0 and at most 1");
  }
  if (s.type == ScheduleType::step) {
    require(s.step_size > 0, Errc::config, "schedule.every: ", s.step_size, " steps; must be above 0");
  }
  if (s.type == ScheduleType::multistep) {
    require(!s.milestones.empty() && std::is_sorted(s.milestones.begin(), s.milestones.end()) &&
                s.milestones[0] >= 0,
            Errc::config, "schedule.at: must be ascending, with at least one");
  }
  if (s.type == ScheduleType::cosine) {
    require(s.total_steps > s.warmup_steps, Errc::config, "schedule: cosine over ", s.total_steps,
            " steps leaves nothing after a warm-up of ", s.warmup_steps, " steps");
    require(s.minimum >= 0 && s.minimum <= s.base, Errc::config, "schedule.final: a last rate of ", s.minimum,
            " must lie between 0 and the learning rate ", s.base);
  }
}

double learning_rate(const Schedule& s, std::int64_t step) {
  if (step < s.warmup_steps)
    return s.base * static_cast<double>(step + 1) / static_cast<double>(s.warmup_steps);
  switch (s.type) {
    case ScheduleType::constant:
      return s.base;
    case ScheduleType::step:
      return after_drops(s, step / s.step_size);
    case ScheduleType::multistep:
      return after_drops(
          s, std::upper_bound(s.milestones.begin(), s.milestones.end(), step) - s.milestones.begin());
    case ScheduleType::cosine:
      return cosine(s, step);
  }
  fail(Errc::internal, "schedule type ", static_cast<int>(s.type), " has no formula");
}

}  // namespace octavo
