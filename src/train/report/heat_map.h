// Slots (rows) over training steps (columns), values as colours.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "train/report/series.h"
#include "train/report/text.h"

namespace octavo::report {

/// From a value to one of the page's colour classes: "s0" to "s15" from pale to dark, or "d0" to "d16" with
/// the neutral "d8".
struct ColourScale {
  enum class Kind {
    rising,     ///< dark where the value is high
    falling,    ///< dark where it is low
    diverging,  ///< by logarithm: neutral at `middle`, one hue below, another above
  };
  Kind kind = Kind::rising;
  Range range;
  bool logarithmic = false;
  double middle = 1;

  std::string colour(double value) const;
  std::string legend(Unit unit) const;  ///< markup: the colours in order between the values of both ends
  /// The same for a few values, one swatch each.
  std::string legend(const std::set<double>& values, Unit unit) const;

 private:
  double measure(double value) const;
  int level(double value) const;
};

struct HeatRow {
  std::string label, name;     ///< beside the map, where it is cut to fit; in the tooltip
  std::vector<double> values;  ///< per column; NaN: not known
};

/// Smallest and largest finite value; low > high when there is none.
Range value_range(const std::vector<HeatRow>& rows);
Range positive_range(const std::vector<HeatRow>& rows);  ///< of the values above 0

struct HeatMap {
  std::string title, note;
  std::vector<double> edges;  ///< steps at the borders of the columns: one more than columns
  std::vector<HeatRow> rows;
  ColourScale scale;
  Unit unit = Unit::plain;
  bool curve = false;  ///< median and range over the rows above the map
  bool wide = false;   ///< the page's width instead of half of it
};

std::string heat_map(const HeatMap& map);  ///< a <figure>

}  // namespace octavo::report
