// Learning-rate schedules: pure functions of the step.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace octavo {

enum class ScheduleType { constant, step, multistep, cosine };

/// Errc::config for an unknown name, listing the known ones.
ScheduleType schedule_type(const std::string& name);
const char* schedule_name(ScheduleType type);

/// Everything in optimizer steps, counted from the start of training; callers turn epochs into steps.
struct Schedule {
  ScheduleType type = ScheduleType::constant;
  double base = 0.1;                     ///< learning rate after warm-up
  std::int64_t warmup_steps = 0;         ///< linear: step s has base * (s + 1) / warmup_steps
  std::int64_t total_steps = 0;          ///< cosine: where it reaches `minimum`
  double minimum = 0;                    ///< cosine
  std::int64_t step_size = 0;            ///< step: steps between drops
  std::vector<std::int64_t> milestones;  ///< multistep: first steps with a dropped rate, ascending
  double gamma = 0.1;                    ///< step, multistep: factor of one drop
};

/// Errc::config naming the field that makes no sense.
void check_schedule(const Schedule& schedule);

/// Learning rate of step `step` (0 is the first). With t counted from 0:
///   constant   base
///   step       base * gamma^floor(t / step_size)
///   multistep  base * gamma^(milestones <= t)
///   cosine     minimum + (base - minimum) * (1 + cos(pi * u / T)) / 2 with u = t - warmup_steps,
///              T = total_steps - warmup_steps (Loshchilov & Hutter, SGDR, eq. 5, one cycle); minimum from
///              then on
double learning_rate(const Schedule& schedule, std::int64_t step);

}  // namespace octavo
