// Pages about runs: one self-contained HTML file, readable without a network and without scripts.
#pragma once

#include <filesystem>
#include <string>

#include "train/report/run_record.h"

namespace octavo::report {

std::string report_page(const RunRecord& run);

/// Reads a run folder and replaces `file` by its page. Errc::checkpoint for a damaged folder, Errc::resource
/// when the file cannot be written.
void write_report(const std::filesystem::path& run, const std::filesystem::path& file);

}  // namespace octavo::report
