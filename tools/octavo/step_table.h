// The result of `octavo bench CONFIG`, as JSON and as a table.
#pragma once

#include <nlohmann/json.hpp>
#include <ostream>

#include "peaks.h"
#include "step_times.h"

namespace octavo::cli {

/// Rows by layer and pass. With `fp32` (or null) each also has what the same row takes in FP32.
nlohmann::ordered_json rows_json(const StepTimes& times, const StepTimes* fp32, const Peaks& peaks);
/// Their sums by pass; rates and shares are those of the whole time.
nlohmann::ordered_json passes_json(const nlohmann::ordered_json& rows);
nlohmann::ordered_json nodes_json(const StepTimes& times);
/// Milliseconds of a step: its nodes, what lies outside, and what is left.
nlohmann::ordered_json step_json(const StepTimes& times);
nlohmann::ordered_json peaks_json(const Peaks& peaks);

/// Markdown table of the rows, and below it the sums, peaks and memory.
void print_step(std::ostream& out, const nlohmann::ordered_json& result);

}  // namespace octavo::cli
