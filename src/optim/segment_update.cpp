#include "optim/segment_update.h"

#include <algorithm>
#include <atomic>

#include "optim/gradient_norm.h"
#include "weight_pass.h"

namespace octavo {
namespace {

void raise(std::uint32_t& most, std::uint32_t bits) {
  const std::atomic_ref<std::uint32_t> shared(most);
  std::uint32_t before = shared.load(std::memory_order_relaxed);
  while (before < bits && !shared.compare_exchange_weak(before, bits, std::memory_order_relaxed)) {
  }
}

}  // namespace

std::int64_t SegmentUpdate::unit(const ParameterUpdate& update) {
  return update.squares != nullptr ? square_tile : 1;
}

void SegmentUpdate::begin(Optimizer& optimizer, std::size_t index, const ParameterUpdate& update,
                          std::int64_t chunks) {
  const Shape& shape = optimizer.parameters()[index].shape;
  optimizer_ = &optimizer, index_ = index, update_ = &update, chunks_ = chunks;
  elements_ = shape.elements(), row_ = elements_ / shape[0];
  columns_ = update.row_factor != nullptr ? shape.back() : 0;
  update.maxima->rows.assign(static_cast<std::size_t>(shape[0]), 0);
  update.maxima->columns.assign(static_cast<std::size_t>(columns_), 0);
  chunk_columns_.assign(static_cast<std::size_t>(chunks * columns_), 0);
  const auto lanes = static_cast<std::size_t>(elements_ / square_tile * square_lanes);
  if (update.squares != nullptr && lanes_.size() < lanes) lanes_.resize(lanes);
}

void SegmentUpdate::run(const UpdateStep& step, std::int64_t chunk, std::int64_t begin, std::int64_t end,
                        std::int64_t ahead) {
  if (update_->squares != nullptr)
    for (std::int64_t at = begin; at < end; at += square_tile)
      sum_lanes(update_->gradient + at, square_tile, lanes_.data() + at / square_tile * square_lanes);
  ParameterUpdate update = *update_;
  update.ahead = ahead;
  optimizer_->update_range(index_, update, step, begin, end);
  note_maxima(chunk, begin, end);
}

// Several chunks have segments of a row.
void SegmentUpdate::note_maxima(std::int64_t chunk, std::int64_t begin, std::int64_t end) {
  const std::int64_t row = begin / row_;
  const float* const values = update_->value;
  raise(update_->maxima->rows[static_cast<std::size_t>(row)],
        kernels::largest_magnitude(values + begin, end - begin));
  if (columns_ == 0) return;
  std::uint32_t* const columns = chunk_columns_.data() + chunk * columns_;
  for (std::int64_t at = begin, count = 0; at < end; at += count) {
    count = std::min(columns_ - at % columns_, end - at);
    kernels::raise_maxima(values + at, update_->row_factor[row], count, columns + at % columns_);
  }
}

void SegmentUpdate::finish(const kernels::Parallel& parallel) {
  if (columns_ > 0) join_columns(parallel);
  if (update_->squares != nullptr) join_squares(parallel);
}

void SegmentUpdate::join_columns(const kernels::Parallel& parallel) const {
  constexpr std::int64_t together = 1024;
  std::uint32_t* const all = update_->maxima->columns.data();
  parallel((columns_ + together - 1) / together, [&](std::int64_t part) {
    const std::int64_t end = std::min(columns_, (part + 1) * together);
    for (std::int64_t chunk = 0; chunk < chunks_; ++chunk) {
      const std::uint32_t* const of_chunk = chunk_columns_.data() + chunk * columns_;
      for (std::int64_t i = part * together; i < end; ++i) all[i] = std::max(all[i], of_chunk[i]);
    }
  });
}

// As add_squares() adds a chunk's.
void SegmentUpdate::join_squares(const kernels::Parallel& parallel) const {
  parallel((elements_ + square_chunk - 1) / square_chunk, [&](std::int64_t chunk) {
    const std::int64_t begin = chunk * square_chunk, size = std::min(square_chunk, elements_ - begin);
    update_->squares[chunk] =
        add_lanes(0, lanes_.data() + begin / square_tile * square_lanes, size / square_tile * square_lanes);
  });
}

}  // namespace octavo
