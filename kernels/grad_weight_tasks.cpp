#include "grad_weight_tasks.h"

#include <algorithm>

namespace octavo::kernels {
namespace {

constexpr std::int64_t ceil_div(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit; }

}  // namespace

std::vector<RowTile> make_row_tiles(std::int64_t taps, std::int64_t inputs, std::int64_t most) {
  std::vector<RowTile> row_tiles;
  if (one_tap_tiles(inputs, most)) {
    const std::int64_t pieces = ceil_div(inputs, most);
    for (std::int64_t p = 0; p < pieces; ++p)
      for (std::int64_t tap = 0; tap < taps; ++tap) {
        const std::int64_t first = inputs * p / pieces, last = inputs * (p + 1) / pieces;
        row_tiles.push_back({tap * inputs + first, last - first});
      }
  } else {
    const std::int64_t rows = taps * inputs, tiles = ceil_div(rows, most);
    for (std::int64_t t = 0; t < tiles; ++t)
      row_tiles.push_back({rows * t / tiles, rows * (t + 1) / tiles - rows * t / tiles});
  }
  return row_tiles;
}

std::vector<GradWeightTask> make_tasks(std::int64_t groups, std::int64_t panels, std::int64_t tiles,
                                       std::int64_t blocks, std::int64_t& parts) {
  constexpr std::int64_t wanted_tasks = 32, tiles_per_task = 4;
  const std::int64_t columns = groups * panels;
  const std::int64_t rows =
      std::clamp<std::int64_t>(tiles / tiles_per_task, 1, ceil_div(2 * wanted_tasks, columns));
  parts = std::clamp<std::int64_t>(ceil_div(wanted_tasks, columns * rows), 1, blocks);
  std::vector<GradWeightTask> tasks;
  for (std::int64_t group = 0; group < groups; ++group)
    for (std::int64_t part = 0; part < parts; ++part)
      for (std::int64_t panel = 0; panel < panels; ++panel)
        for (std::int64_t row = 0; row < rows; ++row)
          tasks.push_back({group, panel, tiles * row / rows, tiles * (row + 1) / rows, part});
  return tasks;
}

}  // namespace octavo::kernels
