// Image files to pixels: JPEG, PNG and BMP, told apart by their first bytes, whatever their names say.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace octavo {

/// What is known before pixels are decoded.
struct ImageHeader {
  std::int64_t h = 0, w = 0;  // as stored
  int orientation = 1;        // EXIF 2.3, tag 0x0112: 1 to 8
};

/// u8 RGB, rows one after the other. Gray is repeated, alpha dropped, 16 bits rounded to 8, CMYK taken for
/// inverted as Adobe writes it: what Pillow's convert("RGB") gives.
struct DecodedImage {
  std::int64_t h = 0, w = 0;
  std::unique_ptr<std::uint8_t[]> rgb;
  int shrink = 1;  // h and w are those of the file divided by this, rounded up
};

/// Answers 1, 2, 4 or 8: how much smaller an image may be decoded. Only JPEG, whose inverse DCT can do it,
/// makes use of that.
using ChooseShrink = std::function<int(const ImageHeader&)>;

constexpr std::int64_t largest_image_file = 512 << 20;  // bytes
constexpr std::int64_t largest_image_pixels = 1 << 26;

/// Errc::data, naming the file: of another format, damaged, cut off, or too many pixels. `memory`: bytes
/// that decoding may take at most, else Errc::resource.
DecodedImage decode_image(std::span<const std::uint8_t> bytes, const std::string& name, std::int64_t memory,
                          const ChooseShrink& choose);

}  // namespace octavo
