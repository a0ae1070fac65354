// What the host tells the device before a micro-step and reads after it.
#pragma once

#include "device/plan_memory.h"
#include "train/step_runner.h"

namespace octavo::device {

/// Fills plan.settings; `order`: null in evaluation. maxima_known: those of the weights as they are.
void write_settings(Program& program, PlanMemory& plan, Phase phase, const StepOrder* order,
                    bool maxima_known);

/// Before an update: notes for which factors it tells the maxima of columns.
void note_row_factors(Program& program, const PlanMemory& plan);

/// Where the ranges of slots and the maxima of weights come from: with what the caller does beside, what
/// decides the launches of a step.
std::string describe_passes(const Program& program, const PlanMemory& plan);

/// Errc::data for labels beyond the classes, Errc::numeric for Inf and NaN in gradients or in all else.
void require_labels(const Graph& graph, const PlanMemory& plan, const Batch& batch);
void require_finite(Program& program, const PlanMemory& plan, bool gradients);

/// The weighted loss of the micro-step.
float loss_of(const PlanMemory& plan);

/// Adds what the micro-step counted to the slots.
void merge_report(Program& program, const PlanMemory& plan, bool weights_quantized);

}  // namespace octavo::device
