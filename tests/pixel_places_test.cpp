// Where the rows of a tile lie, against the position of every pixel computed from its number.
#include "pixel_places.h"

#include "support/catch.h"

using namespace octavo::kernels;

namespace {

ConvAxis axis(std::int64_t size) {
  ConvAxis of;
  of.size = size;
  return of;
}

/// Every pixel and those behind it, one by one.
void check(std::int64_t height, std::int64_t width, const PixelSteps& steps, std::int64_t reach) {
  const PixelPlaces places(axis(height), axis(width), steps, reach);
  const std::int64_t pixels = height * width;
  for (std::int64_t n = 0; n < 3; ++n)
    for (std::int64_t p = 0; p < pixels; ++p)
      for (std::int64_t i = 0; i < reach; ++i) {
        const std::int64_t at = n * pixels + p + i, in_image = at % pixels;
        CHECK(places.origin(n, p) + places.from(p)[i] ==
              at / pixels * steps.image + in_image / width * steps.down + in_image % width * steps.right);
      }
}

}  // namespace

TEST_CASE("places of pixels: rows and images that follow each other, with borders, and by strides",
          "[pixel_places]") {
  check(4, 5, {3, 15, 60}, 14);     // one behind the other: a tile reaches into the next image
  check(4, 5, {3, 21, 150}, 14);    // borders on all sides
  check(4, 5, {6, 60, 240}, 14);    // every second pixel of every second row
  check(2, 2, {8, 48, 256}, 14);    // a tile reaches over several images
  check(1, 1, {64, 64, 64}, 6);     // rows of a linear layer
  check(1, 7, {16, 112, 200}, 14);  // even rows, uneven images
}

TEST_CASE("places of pixels: a class without pixels has none", "[pixel_places]") {
  CHECK_NOTHROW(PixelPlaces(axis(0), axis(4), {1, 1, 1}, 14));
}
