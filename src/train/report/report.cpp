#include "train/report/report.h"

#include "train/file_io.h"
#include "train/report/facts.h"
#include "train/report/page.h"
#include "train/report/sections.h"

namespace octavo::report {

std::string report_page(const RunRecord& run) {
  const RunFacts facts = facts_of(run);
  return page(run.name + " – octavo", overview(run, facts),
              {{"training", "Training", training_section(run, facts)},
               {"precision", "Precision", precision_section(run)},
               {"gradients", "Gradient histograms", gradient_section(run)},
               {"plan", "Plan", plan_section(run)},
               {"facts", "Facts", facts_section(run)}});
}

void write_report(const std::filesystem::path& run, const std::filesystem::path& file) {
  replace_file(system_files(), file, report_page(read_run(run)));
}

}  // namespace octavo::report
