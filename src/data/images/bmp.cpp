// BMP of 24 or 32 bits through stb_image. What it does not check is checked before: it reads zeros behind the
// end of a file, leaves colours that a palette lacks undefined, and versions differ on a gap before the
// pixels.
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#include <stb/stb_image.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "core/check.h"
#include "data/images/codec.h"

namespace octavo {
namespace {

/// Little-endian; 0 behind the end.
std::int64_t number_at(std::span<const std::uint8_t> bytes, std::size_t at, std::size_t size) {
  std::int64_t value = 0;
  for (std::size_t i = 0; i < size && at + i < bytes.size(); ++i)
    value |= std::int64_t{bytes[at + i]} << (8 * i);
  return value;
}

/// Plain rows of pixels right behind the header, each a multiple of four bytes.
void check_plain(const ImageFile& file, const ImageHeader& header) {
  const std::int64_t header_bytes = number_at(file.bytes, 14, 4), offset = number_at(file.bytes, 10, 4);
  const bool core = header_bytes == 12;
  const std::int64_t bits = number_at(file.bytes, core ? 24 : 28, 2),
                     compression = core ? 0 : number_at(file.bytes, 30, 4);
  require(
      (bits == 24 || bits == 32) && compression == 0 && offset == 14 + header_bytes, Errc::data, file.name,
      ": a BMP file of ", bits, " bits, compression ", compression, ", pixels from byte ", offset,
      " on; 24 or 32 bits, uncompressed and right behind the header can be read: convert it or remove it");
  const std::int64_t end = offset + header.h * ((header.w * bits + 31) / 32 * 4);
  if (end > static_cast<std::int64_t>(file.bytes.size())) fail_damaged(file, "BMP", "it ends early");
}

}  // namespace

DecodedImage decode_bmp(const ImageFile& file, const ChooseShrink& choose) {
  const int size = static_cast<int>(file.bytes.size());  // below largest_image_file
  int w = 0, h = 0, channels = 0;
  if (stbi_info_from_memory(file.bytes.data(), size, &w, &h, &channels) == 0)
    fail_damaged(file, "BMP", stbi_failure_reason());
  const ImageHeader header{std::abs(std::int64_t{h}), w, 1};
  check_image_size(file, header, 7);  // up to four channels beside the RGB
  check_plain(file, header);
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
