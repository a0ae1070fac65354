// Weights to integers and into the order of every product that reads them, in one pass: a block of filters is
// quantized into the cache and packed from there.
#pragma once

#include "function_ref.h"
#include "kernels.h"

namespace octavo::kernels {

/// W [k, taps, c], c channels of each of the groups.
struct WeightShape {
  std::int64_t k, taps, c, groups;
  std::int64_t row() const { return taps * c; }
};

/// Filters [first, first + count), of whole groups, cut into blocks by sizes alone; the integers of a block
/// of so many planes stay in the cache.
class WeightBlocks {
 public:
  WeightBlocks(const WeightShape& shape, std::int64_t first, std::int64_t count, int planes);
  std::int64_t size() const { return pieces_ * filter_blocks_; }
  /// Filters count fastest.
  WeightBlock operator[](std::int64_t index) const;
  /// Pieces that make a filter, in order, and blocks of the same piece.
  std::int64_t pieces() const { return pieces_; }
  std::int64_t filter_blocks() const { return filter_blocks_; }
  /// Of each filter a block has a multiple of `unit` weights, which begins at one in W.
  bool whole(std::int64_t unit) const;

 private:
  WeightShape shape_;
  std::int64_t first_, in_group_, blocks_in_group_, filter_blocks_;
  std::int64_t part_, part_range_;  // a piece is `part_` of a range of so many weights, or its rest
  std::int64_t pieces_in_range_, pieces_;
};

/// A product that reads W, and where its packed weights go: planes * kernel->packed_stride() bytes.
struct PackTarget {
  const ConvS8* kernel;
  void* packed;
};

class WeightPass;
struct ChainTile;

constexpr std::size_t most_weight_runs = 2;  // W for forward, and times factors for grad_input

/// Filters as `chain` (h = 1, w taps, x, no steps) with a tail without views quantizes them, for `pass`.
struct WeightRun {
  const WeightPass& pass;
  const Chain& chain;
};

/// Writes weights [begin, end) of W, part of one filter, before the pass reads them, in chunk `chunk` of it;
/// what is `ahead` of them comes next and may be asked for.
using WeightWriter =
    FunctionRef<void(std::int64_t chunk, std::int64_t begin, std::int64_t end, std::int64_t ahead)>;
constexpr std::int64_t most_weight_chunks = 64;

/// begin(), then run() for every part of the filters, then finish(). With a factor per filter, what is
/// quantized is W[k, ...] factor[k].
class WeightPass {
 public:
  WeightPass(const WeightShape& shape, int planes, std::span<const PackTarget> targets,
             const float* factor = nullptr);

  /// Bytes of plain integers that finish() needs: 0 where all targets take W in blocks.
  std::int64_t plain_bytes() const { return whole_ ? planes_ * plane_stride() : 0; }

  void begin(std::int8_t* plain);
  /// The filters [first, first + n) of all `runs`, which have the same x, sizes and planes and are read once,
  /// after `writer` wrote them if there is one.
  static void run(std::span<const WeightRun> runs, std::int64_t first, const Parallel& parallel,
                  const WeightWriter* writer = nullptr);
  static void run(Isa isa, std::span<const WeightRun> runs, std::int64_t first, const Parallel& parallel,
                  const WeightWriter* writer = nullptr);
  void finish(const Parallel& parallel) const;

 private:
  struct Share;  // of one run in one chunk
  std::int64_t plane_stride() const { return (shape_.k * shape_.row() + 63) / 64 * 64; }
  static void run_stretch(std::span<const Share> shares, std::span<const WeightBlock> blocks,
                          const WeightWriter* writer);
  ChainTile run_of(const Share& share, const WeightBlock& block, std::int64_t k) const;
  void quantize(const Share& share, const WeightBlock& block, std::int64_t k, std::int64_t ahead,
                std::int8_t* to) const;
  static void quantize_twice(const Share& one, const Share& two, const WeightBlock& block, std::int64_t k,
                             std::int64_t ahead, std::int64_t to);
  void pack_block(const WeightBlock& block, const std::int8_t* integers, std::int64_t pitch,
                  std::int64_t plane_bytes) const;

  WeightShape shape_;
  int planes_;
  std::span<const PackTarget> targets_;
  const float* factor_;
  bool whole_ = false;  // some target takes W as a whole
  std::int8_t* plain_ = nullptr;
};

/// most[i] = the larger of it and |weights[i] factor|, as bits; a NaN is above all numbers.
void raise_maxima(const float* weights, float factor, std::int64_t count, std::uint32_t* most);

/// Raises max_bits[i] to the bits of the largest |W[k, tap, i] factor[k]| of input channel i of one group; a
/// NaN is above all numbers. `scratch` holds weight_maxima_words(shape).
void weight_maxima(const WeightShape& shape, const float* weights, const float* factor,
                   std::uint32_t* max_bits, std::uint32_t* scratch, const Parallel& parallel);
std::int64_t weight_maxima_words(const WeightShape& shape);

}  // namespace octavo::kernels
