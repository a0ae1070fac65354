// Curves of a run as points, for the pages that draw them.
#pragma once

#include <string>
#include <vector>

#include "train/report/run_record.h"
#include "train/report/series.h"

namespace octavo::report {

/// A member of all training steps or evaluations, by step.
std::vector<Point> train_points(const RunRecord& run, double TrainPoint::*member, double factor = 1);
std::vector<Point> evaluation_points(const RunRecord& run, double EvalPoint::*member);

/// The same evaluations by the seconds spent in training steps before them.
std::vector<Point> evaluation_points_by_time(const RunRecord& run, double EvalPoint::*member);

/// Wide enough to quieten the batches, narrow enough to keep the shape: a fiftieth of the steps, odd.
std::size_t smoothing_window(std::size_t steps);

std::string title_case(std::string text);  ///< "mean_iou" -> "Mean iou"

}  // namespace octavo::report
