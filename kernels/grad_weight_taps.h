// Which pixels a tap of the weight gradient reads inside the image: X and G lie without border between their
// rows, and a tap that leaves a row finds the next one, so that G is masked there.
#pragma once

#include <cstdint>
#include <vector>

#include "conv_s8_tiled.h"

namespace octavo::kernels {

/// Whether X and G lie so: then every tile of rows has one tap, and a sample is never cut into blocks.
bool has_masked_taps(const ConvShape& shape);

/// The masks of all taps of G's quads, and where X is read.
class MaskedTaps {
 public:
  MaskedTaps() = default;
  MaskedTaps(const ConvShape& shape, const View& x, const View& g);

  /// Quads [first, first + quads) of a sample hold all pixels that the tap reads; a mask for each, four bytes
  /// of a column, or null when it reads all of them.
  struct Tap {
    std::int64_t first, quads;
    const std::uint32_t* masks;
  };
  Tap tap(std::int64_t index) const;
  /// Bytes from the pixel of G to that of X, in the planes of a channel.
  std::int64_t x_offset(std::int64_t index) const { return reaches_[static_cast<std::size_t>(index)].x; }
  /// What each tap leaves out of a sample.
  const ConvHoles& holes() const { return holes_; }

 private:
  struct Reach {
    std::int64_t x, first, quads;
    bool whole;
  };
  std::vector<Reach> reaches_;
  std::vector<std::uint32_t> masks_;  // [tap][quads of a sample]
  std::int64_t sample_quads_ = 0;
  ConvHoles holes_;
};

}  // namespace octavo::kernels
