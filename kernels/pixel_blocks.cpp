#include "pixel_blocks.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "conv_axes.h"

namespace octavo::kernels {
namespace {

constexpr std::int64_t ceil_div(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit; }

static_assert(PixelBlocks::block_quads * 4 * 2 <= longest_s8_sum);

/// Parts of about equal work: part p begins at the first block with at least p / parts of the quads before
/// it.
void cut_parts(const PixelBlock* blocks, std::int64_t count, std::int64_t parts, std::int64_t* part_begin) {
  const auto work = [&](std::int64_t block) { return blocks[block].samples * blocks[block].quads; };
  std::int64_t all = 0, before = 0, part = 0;
  for (std::int64_t block = 0; block < count; ++block) all += work(block);
  for (std::int64_t block = 0; block < count; before += work(block++))
    while (part <= parts && before * parts >= all * part) part_begin[part++] = block;
  while (part <= parts) part_begin[part++] = count;
}

}  // namespace

PixelBlocks::PixelBlocks(std::int64_t samples, std::int64_t quads, std::int64_t pixels)
    : samples_(samples), quads_(quads), pixels_(pixels), splits_(ceil_div(quads, block_quads)) {
  const std::int64_t wanted = splits_ > 1 ? samples : ceil_div(samples * quads, block_quads);
  for (std::int64_t i = 0; i < wanted; ++i) {
    const std::int64_t first = samples * i / wanted, last = samples * (i + 1) / wanted;
    if (last == first) continue;
    block_limit_ = std::max(block_limit_, last - first);
    for (std::int64_t s = 0; s < splits_; ++s) {
      const std::int64_t begin = quads * s / splits_, end = quads * (s + 1) / splits_;
      blocks_.push_back({first, last - first, begin, end - begin, 0, false});
    }
  }
}

std::int64_t PixelBlocks::most_blocks(bool classes) const {
  return classes ? samples_ * splits_ : plain_count();
}

void PixelBlocks::set_parts(std::int64_t parts, std::int64_t a_bytes, std::int64_t b_bytes) {
  parts_ = parts, a_bytes_ = a_bytes, b_bytes_ = b_bytes;
  for (std::int64_t n = 0; n < samples_; ++n) {
    order_.push_back(n);
    a_offsets_.push_back(n * a_bytes);
    b_offsets_.push_back(n * b_bytes);
  }
  part_begin_.resize(static_cast<std::size_t>(parts + 1));
  cut_parts(blocks_.data(), plain_count(), parts, part_begin_.data());
}

PixelSchedule PixelBlocks::plain() const {
  return {blocks_.data(), order_.data(), a_offsets_.data(), b_offsets_.data(), nullptr, part_begin_.data()};
}

struct PixelBlocks::Memory {
  std::int64_t *order, *a_offsets, *b_offsets, *part_begin;
  PixelBlock* blocks;
  std::int32_t* shifts;
};

std::int64_t PixelBlocks::class_bytes() const {
  return (3 * samples_ + parts_ + 1) * 8 + most_blocks(true) * static_cast<std::int64_t>(sizeof(PixelBlock)) +
         samples_ * 4;
}

void check_classes(const std::uint8_t* classes, std::int64_t samples) {
  for (std::int64_t n = 0; n < samples; ++n)
    if (classes[n] > most_sample_class)
      throw std::logic_error("grad_weight: sample " + std::to_string(n) + " has class " +
                             std::to_string(classes[n]) + "; the highest is " +
                             std::to_string(most_sample_class));
}

void sort_by_class(const std::uint8_t* classes, std::int64_t samples, std::int64_t* order) {
  std::int64_t ends[most_sample_class + 2] = {};
  const auto rank = [](int c) { return c % 2 * (most_sample_class + 1) / 2 + (most_sample_class - c) / 2; };
  check_classes(classes, samples);
  for (std::int64_t n = 0; n < samples; ++n) ++ends[rank(classes[n]) + 1];
  for (int i = 0; i <= most_sample_class; ++i) ends[i + 1] += ends[i];
  for (std::int64_t n = 0; n < samples; ++n) order[ends[rank(classes[n])]++] = n;
}

/// Blocks and shifts from the sorted samples; answers how many blocks. A sample of a lower class makes the
/// sum of the block so far count more: a block ends before int32 could overflow. Else the blocks of even and
/// of odd classes are about equal.
std::int64_t PixelBlocks::cut(const std::uint8_t* classes, const Memory& memory) const {
  const auto odds = std::count_if(classes, classes + samples_, [](int c) { return c % 2 != 0; });
  const auto limit_of = [&](std::int64_t samples) {
    const std::int64_t wanted = ceil_div(samples, std::max<std::int64_t>(1, block_limit_ * 4 / 3));
    return ceil_div(samples, std::max<std::int64_t>(1, wanted));
  };
  const std::int64_t limits[] = {limit_of(samples_ - odds), limit_of(odds)};
  std::int64_t blocks = 0, terms = 0;  // of the block, at its lowest class
  PixelBlock block{};
  const auto close = [&] {
    for (std::int64_t s = 0; block.samples > 0 && s < splits_; ++s) {
      block.quad = quads_ * s / splits_, block.quads = quads_ * (s + 1) / splits_ - block.quad;
      memory.blocks[blocks++] = block;
    }
  };
  for (std::int64_t i = 0; i < samples_; ++i) {
    const int c = classes[memory.order[i]], octave = c / 2, down = block.shift - octave;
    const bool fits = block.samples > 0 && block.odd == (c % 2 != 0) && block.samples < limits[c % 2] &&
                      (terms << down) + pixels_ <= longest_s8_sum;
    if (!fits) {
      close();
      block = {i, 0, 0, 0, octave, c % 2 != 0};
      terms = 0;
    }
    memory.shifts[i] = block.shift - octave;
    terms = (terms << memory.shifts[i]) + pixels_;
    block.shift = octave;
    ++block.samples;
  }
  close();
  return blocks;
}

PixelSchedule PixelBlocks::by_class(const std::uint8_t* classes, void* memory) const {
  auto* at = static_cast<std::int64_t*>(memory);
  Memory m{};
  m.order = at, m.a_offsets = m.order + samples_, m.b_offsets = m.a_offsets + samples_;
  m.part_begin = m.b_offsets + samples_;
  m.blocks = reinterpret_cast<PixelBlock*>(m.part_begin + parts_ + 1);
  m.shifts = reinterpret_cast<std::int32_t*>(m.blocks + most_blocks(true));
  sort_by_class(classes, samples_, m.order);
  for (std::int64_t i = 0; i < samples_; ++i) {
    m.a_offsets[i] = m.order[i] * a_bytes_;
    m.b_offsets[i] = m.order[i] * b_bytes_;
  }
  const std::int64_t count = cut(classes, m);
  cut_parts(m.blocks, count, parts_, m.part_begin);
  PixelSchedule schedule{m.blocks, m.order, m.a_offsets, m.b_offsets, m.shifts, m.part_begin};
  for (std::int64_t n = 0; n < samples_; ++n) {
    schedule.most_octave = std::max(schedule.most_octave, classes[n] / 2);
    schedule.odd = schedule.odd || classes[n] % 2 != 0;
  }
  return schedule;
}

}  // namespace octavo::kernels
