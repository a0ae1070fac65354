// Scaling a part of an image: bilinear, antialiased where it shrinks.
#pragma once

#include <cstdint>

#include "octavo/data.h"

namespace octavo {

/// u8 [h, w, c], rows one after the other.
struct ImageView {
  const std::uint8_t* data;
  std::int64_t h, w, c;
};

/// Scales `region` of `in` to `out`, u8 [out_h, out_w, in.c]. A triangle filter as wide as one pixel of the
/// larger raster (Pillow's BILINEAR, PyTorch's antialias=True); beside the region it reads the image, at the
/// image's edges what there is. The same bytes on every machine: sums of floats in a fixed order.
void resize(const ImageView& in, const Region& region, std::int64_t out_h, std::int64_t out_w,
            std::uint8_t* out);

}  // namespace octavo
