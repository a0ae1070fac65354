// BMP through stb_image, which reads zeros behind the end of a file: that all pixels are there is checked
// before.
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#include <stb/stb_image.h>

#include <algorithm>

#include "core/check.h"
#include "data/images/codec.h"

namespace octavo {
namespace {

std::int64_t number_at(std::span<const std::uint8_t> bytes, std::size_t at, std::size_t size) {
  std::int64_t value = 0;
  for (std::size_t i = 0; i < size && at + i < bytes.size(); ++i)
    value |= std::int64_t{bytes[at + i]} << (8 * i);
  return value;
}

/// Where the rows of pixels end: each is a multiple of four bytes.
std::int64_t end_of_pixels(std::span<const std::uint8_t> bytes, std::int64_t h, std::int64_t w) {
  const bool core_header = number_at(bytes, 14, 4) == 12;
  const std::int64_t bits = number_at(bytes, core_header ? 24 : 28, 2);
  return number_at(bytes, 10, 4) + h * ((w * bits + 31) / 32 * 4);
}

}  // namespace

DecodedImage decode_bmp(const ImageFile& file, const ChooseShrink& choose) {
  const int size = static_cast<int>(file.bytes.size());  // below largest_image_file
  int w = 0, h = 0, channels = 0;
  if (stbi_info_from_memory(file.bytes.data(), size, &w, &h, &channels) == 0)
    fail_damaged(file, "BMP", stbi_failure_reason());
  const ImageHeader header{std::abs(h), w, 1};
  check_image_size(file, header, 7);  // up to four channels beside the RGB
  if (end_of_pixels(file.bytes, header.h, header.w) > size) fail_damaged(file, "BMP", "it ends early");
  choose(header);
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(file.bytes.data(), size, &w, &h, &channels, 3), stbi_image_free);
  if (!pixels) fail_damaged(file, "BMP", stbi_failure_reason());
  DecodedImage image{h, w, nullptr, 1};
  const auto bytes = static_cast<std::size_t>(image.h * image.w * 3);
  image.rgb = std::make_unique<std::uint8_t[]>(bytes);
  std::copy_n(pixels.get(), bytes, image.rgb.get());
  return image;
}

}  // namespace octavo
