// The update of one parameter in segments that come in any order: for a pass that goes on with each while it
// is in a cache.
#pragma once

#include <vector>

#include "optim/optimizer.h"

namespace octavo {

/// Values, maxima and squares are those of Optimizer::update_all(). Its lists serve again.
class SegmentUpdate {
 public:
  /// Segments have to begin and end at multiples of so many elements.
  static std::int64_t unit(const ParameterUpdate& update);

  /// After Optimizer::begin_step(); `update`, of parameter `index`, lives until finish(). run() is called for
  /// chunks below `chunks`, each of them by one thread at a time.
  void begin(Optimizer& optimizer, std::size_t index, const ParameterUpdate& update, std::int64_t chunks);
  /// Elements [begin, end), which lie in one row, once each.
  void run(const UpdateStep& step, std::int64_t chunk, std::int64_t begin, std::int64_t end,
           std::int64_t ahead);
  void finish(const kernels::Parallel& parallel);

 private:
  void note_maxima(std::int64_t chunk, std::int64_t begin, std::int64_t end);
  void join_columns(const kernels::Parallel& parallel) const;
  void join_squares(const kernels::Parallel& parallel) const;

  Optimizer* optimizer_ = nullptr;
  std::size_t index_ = 0;
  const ParameterUpdate* update_ = nullptr;
  std::int64_t elements_ = 0, row_ = 1, columns_ = 0, chunks_ = 0;
  std::vector<std::uint32_t> chunk_columns_;  // maxima of each chunk
  std::vector<float> lanes_;                  // of the squares, tile by tile
};

}  // namespace octavo
