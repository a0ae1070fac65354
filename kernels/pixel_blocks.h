// How the pixels of all samples fall into blocks whose sums fit int32: the contraction of the tiled weight
// gradient, in the order of samples or class by class.
#pragma once

#include <cstdint>
#include <vector>

namespace octavo::kernels {

/// Pixels [4 quad, 4 (quad + quads)) of the samples order[first, first + samples), from high classes down:
/// before sample i the sum so far is taken times 2^shifts[i]. In the end it counts 2^shift, and belongs to
/// the odd or to the even half-octave classes.
struct PixelBlock {
  std::int64_t first, samples, quad, quads;
  int shift;
  bool odd;
};

struct PixelSchedule {
  const PixelBlock* blocks;
  const std::int64_t* order;       // samples
  const std::int64_t* a_offsets;   // of these samples in A, bytes
  const std::int64_t* b_offsets;   // in B
  const std::int32_t* shifts;      // before each; null without classes
  const std::int64_t* part_begin;  // first block of each part, and the end
  int most_octave = 0;             // of any sample
  bool odd = false;                // some sample has an odd class
};

/// Throws std::logic_error for a class above most_sample_class.
void check_classes(const std::uint8_t* classes, std::int64_t samples);

/// Even classes first, each kind from high to low, samples of one class in order. Throws as check_classes().
void sort_by_class(const std::uint8_t* classes, std::int64_t samples, std::int64_t* order);

class PixelBlocks {
 public:
  /// Quads of pixels in one block, so that a block of B stays in the L2 cache; a third more may occur.
  static constexpr std::int64_t block_quads = 2048;

  /// `samples` of `quads` quads each, of which `pixels` pixels are not padding.
  PixelBlocks(std::int64_t samples, std::int64_t quads, std::int64_t pixels);

  /// Blocks without classes; one means that all pixels of a panel of B stay in the L2 cache.
  std::int64_t plain_count() const { return static_cast<std::int64_t>(blocks_.size()); }
  std::int64_t most_blocks(bool classes) const;
  /// Before the first schedule: number of parts, and bytes from sample to sample in A and B.
  void set_parts(std::int64_t parts, std::int64_t a_bytes, std::int64_t b_bytes);

  /// In the order of samples.
  PixelSchedule plain() const;
  /// Class by class; `memory` holds class_bytes(). Throws as check_classes().
  PixelSchedule by_class(const std::uint8_t* classes, void* memory) const;
  std::int64_t class_bytes() const;

 private:
  struct Memory;
  std::int64_t cut(const std::uint8_t* classes, const Memory& memory) const;

  std::int64_t samples_, quads_, pixels_, splits_;
  std::int64_t block_limit_ = 0;  // samples
  std::int64_t parts_ = 1, a_bytes_ = 0, b_bytes_ = 0;
  std::vector<PixelBlock> blocks_;
  std::vector<std::int64_t> order_, a_offsets_, b_offsets_, part_begin_;
};

}  // namespace octavo::kernels
