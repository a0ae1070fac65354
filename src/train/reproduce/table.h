// A paper's table as a data file (configs/paper/*.yaml): the trainings that it compares and what was
// published.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/yaml.h"

namespace octavo {

/// How well a published figure is attested.
///   printed   stands in the paper or in a text that quotes its table; the citation says which
///   derived   follows from printed figures by arithmetic
///   recalled  remembered, not seen in a text
enum class Attestation : std::uint8_t { none, printed, derived, recalled };

struct PublishedValue {
  Attestation source = Attestation::none;
  /// Percent for a metric, points for a drop. Empty for `recalled`: such a figure is dropped when the file is
  /// read, so that no table can show it.
  std::optional<double> value;
  std::string cite;  ///< the citation in full
};

struct PaperRow {
  std::string name;
  std::string policy;  ///< empty: nothing to run, `unmeasured` says why
  std::string unmeasured;
  std::string config;  ///< absolute path
  std::vector<std::string> overrides;
  std::vector<std::string> method;  ///< overrides that belong to the method: the FP32 baseline trains without
  std::vector<std::int64_t> seeds;  ///< empty: those of the scale
  PublishedValue metric, drop;
  Position position;
};

/// One size of the same comparison: `quick` for two cores, `full` as published.
struct TableScale {
  std::vector<std::string> overrides;
  std::vector<std::int64_t> seeds;
};

struct PaperTable {
  std::string name;  ///< file name without ending
  std::string path;
  std::string title, text;
  double bar = 0;  ///< points of drop that matter: a standard error above half of it leaves a row undecided
  std::vector<std::string> overrides;
  TableScale quick, full;
  std::vector<PaperRow> rows;

  const TableScale& scale(const std::string& scale_name) const { return scale_name == "full" ? full : quick; }
};

/// Errc::config lists every problem with file:line:col.
PaperTable load_paper_table(const std::string& path);

/// The table files of a folder, by name.
std::vector<std::string> paper_table_paths(const std::string& folder);

}  // namespace octavo
