// Single images: decoding with all that files may hold, damage, scaling, crops.
#include <map>

#include "data/images/codec.h"
#include "data/images/crop.h"
#include "data/images/orientation.h"
#include "data/images/resize.h"
#include "image_support.h"
#include "octavo/error.h"

using namespace octavo;
using namespace data_test;

namespace {

constexpr std::int64_t memory = std::int64_t{1} << 32;

Picture decode(const Bytes& bytes, int shrink = 1) {
  DecodedImage image = decode_image(bytes, "a/b.jpg", memory, [&](const ImageHeader&) { return shrink; });
  const auto size = static_cast<std::size_t>(image.h * image.w * 3);
  return {static_cast<int>(image.h), static_cast<int>(image.w), 3,
          Bytes(image.rgb.get(), image.rgb.get() + size)};
}

/// Text of the Errc::data or other error, or "" when the file decodes.
std::string decode_error(const Bytes& bytes, Errc code = Errc::data, std::int64_t limit = memory) {
  try {
    decode_image(bytes, "a/b.jpg", limit, [](const ImageHeader&) { return 1; });
  } catch (const Error& error) {
    CHECK(error.code() == code);
    CHECK_THAT(error.what(), ContainsSubstring("a/b.jpg"));
    return error.what();
  }
  return {};
}

/// Largest difference of two pictures; channel c of `b` may be another one.
int distance(const Picture& a, const Picture& b, const std::vector<int>& channels = {0, 1, 2}) {
  REQUIRE(a.h == b.h);
  REQUIRE(a.w == b.w);
  int most = 0;
  for (int y = 0; y < a.h; ++y)
    for (int x = 0; x < a.w; ++x)
      for (int c = 0; c < 3; ++c)
        most = std::max(most, std::abs(a.at(y, x, c) - b.at(y, x, channels[static_cast<std::size_t>(c)])));
  return most;
}

Picture scaled(const Picture& in, const Region& region, int h, int w) {
  Picture out{h, w, in.c, Bytes(static_cast<std::size_t>(h * w * in.c))};
  resize({in.pixels.data(), in.h, in.w, in.c}, region, h, w, out.pixels.data());
  return out;
}

Region whole(const Picture& picture) {
  return {0, 0, static_cast<double>(picture.h), static_cast<double>(picture.w)};
}

/// One value by the definition: sums over all pixels in double.
double filtered(const Picture& in, const Region& region, int h, int w, int y, int x, int c) {
  const double scale_y = region.h / h, scale_x = region.w / w;
  double sum = 0, weights = 0;
  for (int j = 0; j < in.h; ++j)
    for (int i = 0; i < in.w; ++i) {
      const double dy = std::abs(j + 0.5 - region.y - (y + 0.5) * scale_y) / std::max(1.0, scale_y);
      const double dx = std::abs(i + 0.5 - region.x - (x + 0.5) * scale_x) / std::max(1.0, scale_x);
      const double weight = std::max(0.0, 1 - dy) * std::max(0.0, 1 - dx);
      sum += weight * in.at(j, i, c);
      weights += weight;
    }
  return sum / weights;
}

}  // namespace

TEST_CASE("JPEG files of every kind become RGB") {
  const Picture rgb = gradient(37, 53);
  CHECK(distance(decode(jpeg_file(rgb)), rgb) <= 6);
  CHECK(decode(jpeg_file(rgb, {.progressive = true})).pixels == decode(jpeg_file(rgb)).pixels);
  const Picture gray = gradient(37, 53, 1);
  CHECK(distance(decode(jpeg_file(gray)), gray, {0, 0, 0}) <= 4);
  Picture cmyk = gradient(37, 53, 4), expected = rgb;
  for (int y = 0; y < 37; ++y)
    for (int x = 0; x < 53; ++x)
      for (int c = 0; c < 3; ++c)
        expected.at(y, x, c) = static_cast<std::uint8_t>(cmyk.at(y, x, c) * cmyk.at(y, x, 3) / 255);
  CHECK(distance(decode(jpeg_file(cmyk)), expected) <= 6);
}

TEST_CASE("PNG files of every kind become RGB") {
  const std::map<int, std::vector<int>> channels{
      {1, {0, 0, 0}}, {2, {0, 0, 0}}, {3, {0, 1, 2}}, {4, {0, 1, 2}}};
  for (const auto& [count, taken] : channels)
    for (int depth : {8, 16})
      for (bool interlaced : {false, true}) {
        CAPTURE(count, depth, interlaced);
        const Picture picture = gradient(19, 23, count);
        CHECK(distance(decode(png_file(picture, {depth, interlaced})), picture, taken) == 0);
      }
}

TEST_CASE("BMP files of 24 and 32 bits become RGB, whichever row comes first") {
  const Picture picture = gradient(19, 23);
  for (int bits : {24, 32})
    for (bool top_down : {false, true}) {
      CAPTURE(bits, top_down);
      CHECK(decode(bmp_file(picture, bits, top_down)).pixels == picture.pixels);
    }
}

TEST_CASE("BMP files with palettes, compression or gaps are refused") {
  const Bytes good = bmp_file(gradient(4, 4), 24);
  for (const auto& [at, value] :
       std::map<std::size_t, std::uint8_t>{{28, 8}, {28, 16}, {30, 1}, {10, 0}, {10, 58}}) {
    Bytes bad = good;
    bad[at] = value;
    bad.resize(bad.size() + 1024);
    CAPTURE(at, int{value});
    CHECK(!decode_error(bad).empty());
  }
  Bytes lowest = good;  // a height of -2^31
  lowest[22] = lowest[23] = lowest[24] = 0, lowest[25] = 0x80;
  CHECK(!decode_error(lowest).empty());
}

TEST_CASE("palettes become RGB") {
  const Picture picture = decode(palette_png_file());
  REQUIRE((picture.h == 1 && picture.w == 16));
  for (int x = 0; x < 16; ++x)
    for (int c = 0; c < 3; ++c) CHECK(picture.at(0, x, c) == x % 4 * 10 * (c + 1));
}

TEST_CASE("JPEG is decoded smaller on request, near to what scaling the whole gives") {
  const Picture picture = gradient(123, 201);
  const Bytes file = jpeg_file(picture);
  for (int shrink : {2, 4, 8}) {
    const Picture small = decode(file, shrink);
    CHECK(small.h == (123 + shrink - 1) / shrink);
    CHECK(small.w == (201 + shrink - 1) / shrink);
    const Region part{0, 0, static_cast<double>(small.h * shrink), static_cast<double>(small.w * shrink)};
    CHECK(distance(small, scaled(decode(file), part, small.h, small.w)) <= 8);
  }
  CHECK(decode(png_file(picture), 8).pixels == picture.pixels);
}

TEST_CASE("EXIF orientation is found in either byte order and nowhere else") {
  for (int value = 1; value <= 8; ++value) {
    const Bytes big = exif_with(value);
    CHECK(exif_orientation(big) == value);
    const Bytes little{
        'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 0x01, 3, 0, 1, 0, 0, 0, static_cast<std::uint8_t>(value),
        0,   0,   0};
    CHECK(exif_orientation(little) == value);
    for (std::size_t size = 0; size < big.size(); ++size) {
      const int found = exif_orientation({big.data(), size});
      CHECK((found == value || found == 1));
    }
    int seen = 0;
    for (const Bytes& file : {jpeg_file(gradient(8, 16), {.orientation = value}),
                              png_file(gradient(8, 16), {.orientation = value})})
      decode_image(file, "x", memory, [&](const ImageHeader& header) {
        seen += header.orientation == value && header.h == 8 && header.w == 16;
        return 1;
      });
    CHECK(seen == 2);
  }
  CHECK(exif_orientation(exif_with(0)) == 1);
  CHECK(exif_orientation(exif_with(9)) == 1);
  // A directory at the end of the address space.
  CHECK(exif_orientation(Bytes{'I', 'I', 42, 0, 255, 255, 255, 255, 1, 0}) == 1);
}

TEST_CASE("orientations turn regions and pixels alike") {
  const int side = 5;
  Picture stored = gradient(side, side);
  for (int value = 1; value <= 8; ++value) {
    const Orientation orientation(value);
    Picture upright = stored;
    orientation.turn_square(side, upright.pixels.data());
    for (int y = 0; y < side; ++y)
      for (int x = 0; x < side; ++x) {
        const Region at = orientation.stored({double(y), double(x), 1, 1}, side, side);
        CHECK(stored.at(int(at.y), int(at.x), 1) == upright.at(y, x, 1));
      }
    const Region part =
        orientation.stored({1, 2, 3, 4}, orientation.turned ? 20 : 10, orientation.turned ? 10 : 20);
    CHECK(part.h == (orientation.turned ? 4 : 3));
  }
  // 6: the camera was held so that the stored left column is the top row.
  Picture upright = stored;
  Orientation(6).turn_square(side, upright.pixels.data());
  CHECK(upright.at(0, 0, 0) == stored.at(side - 1, 0, 0));
  CHECK(upright.at(0, side - 1, 0) == stored.at(0, 0, 0));
}

TEST_CASE("what is no image is refused with its name") {
  CHECK_THAT(decode_error({}), ContainsSubstring("an empty file"));
  CHECK_THAT(decode_error({'G', 'I', 'F', '8', '9', 'a'}), ContainsSubstring("neither JPEG, PNG nor BMP"));
  CHECK_THAT(decode_error({0xFF, 0xD8, 0xFF}), ContainsSubstring("damaged JPEG file of 3 bytes"));
  Bytes header = png_file(gradient(4, 4));
  header.resize(8);
  CHECK_THAT(decode_error(header), ContainsSubstring("damaged PNG file of 8 bytes (it ends early)"));
}

TEST_CASE("sizes are checked before pixels are decoded") {
  Bytes jpeg = jpeg_file(gradient(16, 16));
  for (std::size_t i = 0; i + 8 < jpeg.size(); ++i)
    if (jpeg[i] == 0xFF && jpeg[i + 1] == 0xC0)
      for (std::size_t byte : {5u, 6u, 7u, 8u}) jpeg[i + byte] = 0xF0;
  CHECK_THAT(decode_error(jpeg),
             ContainsSubstring("61680 x 61680 pixels") && ContainsSubstring("scale it down"));
  const Bytes good = jpeg_file(gradient(100, 100)),
              progressive = jpeg_file(gradient(100, 100), {.progressive = true});
  CHECK(decode_error(good, Errc::resource, 30000).empty());
  CHECK_THAT(decode_error(progressive, Errc::resource, 89999), ContainsSubstring("takes 90000 bytes"));
  CHECK_THAT(decode_error(png_file(gradient(100, 100)), Errc::resource, 29999),
             ContainsSubstring("takes 30000 bytes"));
}

TEST_CASE("a progressive file with endless scans is refused") {
  const Bytes file = jpeg_file(gradient(16, 16, 1), {.progressive = true});
  // Its last scan, again and again.
  std::size_t last = 0;
  for (std::size_t i = 0; i + 1 < file.size(); ++i)
    if (file[i] == 0xFF && file[i + 1] == 0xDA) last = i;
  Bytes bomb(file.begin(), file.end() - 2);
  for (int i = 0; i < 5000; ++i)
    bomb.insert(bomb.end(), file.begin() + static_cast<std::ptrdiff_t>(last), file.end() - 2);
  bomb.insert(bomb.end(), {0xFF, 0xD9});
  CHECK(!decode_error(bomb).empty());
}

TEST_CASE("every file that is cut off is an error") {
  for (const Bytes& file : {jpeg_file(gradient(24, 24)), jpeg_file(gradient(24, 24), {.progressive = true}),
                            png_file(gradient(24, 24)), png_file(gradient(24, 24), {.interlaced = true}),
                            bmp_file(gradient(24, 24), 24), bmp_file(gradient(24, 24), 32)})
    for (std::size_t size = 3; size + 2 < file.size(); ++size) {
      CAPTURE(size, file.size());
      CHECK(!decode_error(Bytes(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size))).empty());
    }
}

TEST_CASE("files with changed bytes decode or are refused, and never crash") {
  std::uint64_t state = 1;
  const auto random = [&](std::size_t bound) { return (state = kernels::mix64(state)) % bound; };
  int refused = 0;
  for (const Bytes& file : {jpeg_file(gradient(24, 24)), jpeg_file(gradient(24, 24, 4)),
                            jpeg_file(gradient(24, 24), {95, true, 6}), png_file(gradient(24, 24)),
                            png_file(gradient(24, 24, 4), {16, true, 6}), bmp_file(gradient(24, 24), 24)})
    for (int i = 0; i < 1500; ++i) {
      Bytes bad = file;
      for (std::size_t change = 0; change <= random(4); ++change)
        bad[3 + random(bad.size() - 3)] = static_cast<std::uint8_t>(random(256));
      try {
        decode_image(bad, "x", 1 << 28, [](const ImageHeader&) { return 2; });
      } catch (const Error& error) {
        CHECK((error.code() == Errc::data || error.code() == Errc::resource));
        ++refused;
      }
    }
  CHECK(refused > 1000);
}

TEST_CASE("scaling is the triangle filter, up and down, on any part") {
  const Picture rgb = gradient(31, 45), gray = gradient(31, 45, 1, 2), four = gradient(31, 45, 4, 3);
  const Region parts[] = {
      {0, 0, 31, 45}, {3, 5, 20, 30}, {2.25, 7.5, 11.5, 30.75}, {30, 44, 1, 1}, {0, 0, 1, 45}};
  for (const Picture* in : {&rgb, &gray, &four})
    for (const Region& part : parts)
      for (const auto& [h, w] :
           std::vector<std::pair<int, int>>{{31, 45}, {7, 9}, {60, 50}, {1, 1}, {3, 90}}) {
        const Picture out = scaled(*in, part, h, w);
        for (int y = 0; y < h; y += 2)
          for (int x = 0; x < w; x += 3)
            for (int c = 0; c < in->c; ++c)
              CHECK(std::abs(out.at(y, x, c) - filtered(*in, part, h, w, y, x, c)) < 0.502);
      }
}

TEST_CASE("scaling to the same size changes nothing, and a constant stays constant") {
  const Picture picture = gradient(20, 30);
  CHECK(scaled(picture, whole(picture), 20, 30).pixels == picture.pixels);
  const Picture part = scaled(picture, {4, 6, 10, 10}, 10, 10);
  for (int y = 0; y < 10; ++y) CHECK(part.at(y, 9 - y, 2) == picture.at(4 + y, 15 - y, 2));
  for (const int value : {0, 1, 254, 255}) {
    Picture flat{40, 61, 3, Bytes(40 * 61 * 3, static_cast<std::uint8_t>(value))};
    for (const int side : {1, 7, 40, 100})
      for (const std::uint8_t pixel : scaled(flat, whole(flat), side, side).pixels) CHECK(pixel == value);
  }
}

TEST_CASE("a checkerboard shrinks to gray, not to aliases") {
  Picture board{64, 64, 3, Bytes(64 * 64 * 3)};
  for (int y = 0; y < 64; ++y)
    for (int x = 0; x < 64; ++x)
      for (int c = 0; c < 3; ++c) board.at(y, x, c) = (x + y) % 2 ? 255 : 0;
  for (const std::uint8_t pixel : scaled(board, whole(board), 16, 16).pixels)
    CHECK(std::abs(pixel - 127.5) < 6);
}

TEST_CASE("random regions lie in the image and have the areas and ratios of their definition") {
  for (const auto& [h, w] :
       std::vector<std::pair<int, int>>{{300, 400}, {160, 160}, {1, 1}, {2, 3}, {4000, 3}}) {
    double least = 1, area = 0;
    for (std::uint32_t i = 0; i < 4000; ++i) {
      const Region part = random_region(h, w, kernels::random_key(5, 0, i), 32);
      REQUIRE((part.h >= 1 && part.w >= 1 && part.y >= 0 && part.x >= 0));
      REQUIRE((part.y + part.h <= h && part.x + part.w <= w));
      if (h < 100 || w < 100) continue;
      const double share = part.h * part.w / (h * w), ratio = part.w / part.h;
      REQUIRE((ratio > 0.72 && ratio < 1.37));
      least = std::min(least, share);
      area += share / 4000;
    }
    if (h < 100 || w < 100) continue;
    CHECK(least < 0.09);
    CHECK(least > 0.075);
    // The mean of the accepted draws by integration; it is 0.54 before those that do not fit are dropped.
    CHECK(area == Approx(h == w ? 0.474 : 0.433).margin(0.012));
  }
  // Far from any allowed ratio: the largest central part.
  const Region narrow = random_region(4000, 3, kernels::random_key(5, 0, 1), 32);
  CHECK(narrow.w <= 3);
}

TEST_CASE("the central region is that of scaling and cropping") {
  // 500 x 375 scales to 341 x 256, cropped from column (341 - 224) / 2 = 58.5, to even: 58.
  const Region part = central_region(375, 500, 224, 0.875);
  CHECK(part.y == Approx(16 * 375 / 256.0));
  CHECK(part.h == Approx(224 * 375 / 256.0));
  CHECK(part.x == Approx(58 * 500 / 341.0));
  CHECK(part.w == Approx(224 * 500 / 341.0));
  const Region upright = central_region(500, 375, 224, 0.875);
  CHECK(upright.y == part.x);
  CHECK(upright.w == part.h);
  const Region all = central_region(32, 32, 32, 1);
  CHECK((all.y == 0 && all.x == 0 && all.h == 32 && all.w == 32));
}
