// EXIF orientation: how a stored image is turned and mirrored to stand upright.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "octavo/data.h"

namespace octavo {

struct Orientation {
  bool turned = false;                  // rows of the upright image are columns of the stored one
  bool flip_y = false, flip_x = false;  // of the stored image

  Orientation() = default;
  /// A value of EXIF 2.3, tag 0x0112: 1 (upright) to 8.
  explicit Orientation(int exif)
      : turned(exif >= 5),
        flip_y(exif == 3 || exif == 4 || exif == 6 || exif == 7),
        flip_x(exif == 2 || exif == 3 || exif == 7 || exif == 8) {}

  /// A region of the upright image in the stored one of h x w pixels.
  Region stored(Region region, std::int64_t h, std::int64_t w) const {
    if (turned) {
      std::swap(region.y, region.x);
      std::swap(region.h, region.w);
    }
    if (flip_y) region.y = static_cast<double>(h) - region.y - region.h;
    if (flip_x) region.x = static_cast<double>(w) - region.x - region.w;
    return region;
  }

  /// Turns u8 [side, side, 3] upright.
  void turn_square(std::int64_t side, std::uint8_t* rgb) const {
    if (!turned && !flip_y && !flip_x) return;
    const std::vector<std::uint8_t> from(rgb, rgb + side * side * 3);
    for (std::int64_t y = 0; y < side; ++y)
      for (std::int64_t x = 0; x < side; ++x, rgb += 3) {
        std::int64_t stored_y = turned ? x : y, stored_x = turned ? y : x;
        if (flip_y) stored_y = side - 1 - stored_y;
        if (flip_x) stored_x = side - 1 - stored_x;
        std::copy_n(from.data() + (stored_y * side + stored_x) * 3, 3, rgb);
      }
  }
};

}  // namespace octavo
