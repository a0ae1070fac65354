// The parts of a report page, each as markup.
#pragma once

#include <string>

#include "train/report/facts.h"
#include "train/report/run_record.h"

namespace octavo::report {

std::string overview(const RunRecord& run, const RunFacts& facts);          ///< title and key figures
std::string training_section(const RunRecord& run, const RunFacts& facts);  ///< curves over steps
std::string precision_section(const RunRecord& run);                        ///< per slot over time
std::string gradient_section(const RunRecord& run);                         ///< histograms early and late
std::string plan_section(const RunRecord& run);   ///< layer, product, kernel, format
std::string facts_section(const RunRecord& run);  ///< summary, environment, configuration

}  // namespace octavo::report
