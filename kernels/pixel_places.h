// Where the pixels that a tile of the integer convolution reads or writes lie, known when the plan is made:
// tiles are short, and writing addresses for each would fill the queue of stores that their results wait in.
#pragma once

#include "conv_axes.h"

namespace octavo::kernels {

/// Distances between pixels of a class: right, down, to the next image.
struct PixelSteps {
  std::int64_t right, down, image;
};

/// The pixels of a class (ConvAxis h, w) counted through all images: pixel p of image n and those behind it
/// lie at origin(n, p) + from(p)[i], i < `reach`.
class PixelPlaces {
 public:
  PixelPlaces() = default;
  PixelPlaces(const ConvAxis& h, const ConvAxis& w, const PixelSteps& steps, std::int64_t reach)
      : steps_(steps), pixels_(h.size * w.size) {
    if (pixels_ == 0) return;
    even_ = steps.down == w.size * steps.right && steps.image == h.size * steps.down;
    const std::int64_t count = even_ ? reach : pixels_ - 1 + reach;
    for (std::int64_t p = 0; p < count; ++p)
      places_.push_back(p / pixels_ * steps.image + p % pixels_ / w.size * steps.down +
                        p % w.size * steps.right);
  }

  std::int64_t origin(std::int64_t n, std::int64_t p) const {
    return even_ ? (n * pixels_ + p) * steps_.right : n * steps_.image;
  }
  const std::int64_t* from(std::int64_t p) const { return places_.data() + (even_ ? 0 : p); }

 private:
  PixelSteps steps_{};
  std::int64_t pixels_ = 0;
  bool even_ = false;  // all pixels lie as far from each other: one tile shows it
  std::vector<std::int64_t> places_;
};

}  // namespace octavo::kernels
