// What slots measured over a run, put into the columns of a heat map.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "train/report/heat_map.h"
#include "train/report/run_record.h"

namespace octavo::report {

/// One number of a slot's sample, and how several in one column become one.
struct Quantity {
  enum class Join { mean, largest, last };
  std::function<double(const SlotSample&)> value;
  Join join = Join::mean;
};

/// Borders of columns for these slots: each recorded step begins one, where they are few and far apart, else
/// equal columns. Ends after the last step of the run.
std::vector<double> column_edges(std::span<const SlotRecord* const> slots, std::int64_t last_step);

/// One row per slot that knows the quantity; a column without a sample shows the one before it. Labels say
/// the operand where the slots have different ones.
std::vector<HeatRow> heat_rows(std::span<const SlotRecord* const> slots, const std::vector<double>& edges,
                               const Quantity& quantity);

}  // namespace octavo::report
