// The format of an image file, and its limits.
#include "data/images/decode.h"

#include <algorithm>
#include <array>

#include "core/check.h"
#include "core/memory.h"
#include "data/images/codec.h"

namespace octavo {
namespace {

template <std::size_t count>
bool begins_with(std::span<const std::uint8_t> bytes, const std::array<std::uint8_t, count>& signature) {
  return bytes.size() >= count && std::equal(signature.begin(), signature.end(), bytes.begin());
}

}  // namespace

void check_image_size(const ImageFile& file, const ImageHeader& header, std::int64_t bytes_per_pixel) {
  // Both sides fit 32 bits in either format.
  require(header.h > 0 && header.w > 0 && header.h <= largest_image_pixels / header.w, Errc::data, file.name,
          ": ", header.h, " x ", header.w, " pixels; an image may have ", largest_image_pixels,
          ": scale it down or remove it");
  const std::int64_t bytes = header.h * header.w * bytes_per_pixel;
  require(bytes <= file.memory, Errc::resource, file.name, ": decoding ", header.h, " x ", header.w,
          " pixels takes ", bytes_text(bytes), "; the memory here is ", bytes_text(file.memory));
}

void fail_damaged(const ImageFile& file, const char* format, const char* text) {
  fail(Errc::data, file.name, ": damaged ", format, " file of ", file.bytes.size(), " bytes (", text,
       "); fetch it again or remove it");
}

DecodedImage decode_image(std::span<const std::uint8_t> bytes, const std::string& name, std::int64_t memory,
                          const ChooseShrink& choose) {
  constexpr std::array<std::uint8_t, 3> jpeg{0xFF, 0xD8, 0xFF};
  constexpr std::array<std::uint8_t, 8> png{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  constexpr std::array<std::uint8_t, 2> bmp{'B', 'M'};
  const ImageFile file{bytes, name, memory};
  if (begins_with(bytes, jpeg)) return decode_jpeg(file, choose);
  if (begins_with(bytes, png)) return decode_png(file, choose);
  if (begins_with(bytes, bmp)) return decode_bmp(file, choose);
  fail(Errc::data, name, ": ",
       bytes.empty() ? "an empty file" : "neither JPEG, PNG nor BMP by its first bytes",
       "; convert it, fetch it again or remove it");
}

}  // namespace octavo
